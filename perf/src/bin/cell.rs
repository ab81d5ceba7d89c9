//! One scene, judged: how much of it resptap pairs, and what surrounds the first wrong pair.
//!
//! `cargo run --release -p resptap-perf --bin cell -- --client window:16 --mix mixed --loss 1 --seed 7 --resync strict --dump`

use std::process::ExitCode;

use clap::Parser;

use resptap::redis::pairing::Resync;
use resptap_perf::judge::{Verdict, Wrong, judge_capture};
use resptap_perf::mirror::capture;
use resptap_perf::random::MILLISECOND;
use resptap_perf::scenario::{Client, Mix, Scenario};
use resptap_perf::surroundings::surroundings;
use resptap_perf::world::{EPOCH, World};

/// Simulates one scene, runs it through resptap and compares every pair with the truth.
#[derive(Parser, Debug)]
struct Arguments {
    /// How clients ask: serial, batch:N, window:N, multiplexed:N, impatient, switching, locked:N
    #[arg(long, default_value = "serial")]
    client: Client,
    /// What they ask: gets, mixed, modes
    #[arg(long, default_value = "mixed")]
    mix: Mix,
    /// Everything by chance, as the model test draws it from a seed; other options are ignored
    #[arg(long)]
    draw: Option<u64>,
    /// Where chance begins
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// So many scenes, with the seeds that follow
    #[arg(long, default_value_t = 1)]
    scenes: u64,
    /// Percent of the packets of both directions that the mirror loses
    #[arg(long, default_value_t = 0.0)]
    loss: f64,
    /// Milliseconds by which requests are captured late
    #[arg(long, default_value_t = 0)]
    skew: u64,
    /// Percent of the packets after which the capture begins
    #[arg(long, default_value_t = 0.0)]
    begins: f64,
    /// RESP3, with pushes
    #[arg(long)]
    resp3: bool,
    /// The server holds small replies back (Nagle)
    #[arg(long)]
    nagle: bool,
    /// Connections
    #[arg(long, default_value_t = 2)]
    connections: u32,
    /// Requests of each connection
    #[arg(long, default_value_t = 2000)]
    requests: u32,
    /// What resptap may assume: strict, assume, trust
    #[arg(long, default_value = "strict")]
    resync: Resync,
    /// What surrounds the first wrong pair (or, with none, the first request that stayed without its reply)
    #[arg(long)]
    dump: bool,
    /// The scenario itself
    #[arg(long)]
    show: bool,
}

impl Arguments {
    fn scenario(&self, seed: u64) -> Scenario {
        if let Some(draw) = self.draw {
            return Scenario::draw(draw + seed - self.seed);
        }
        let mut scenario = Scenario::new(self.client, self.mix, seed).losing(self.loss / 100.0);
        scenario.traffic.resp3 = self.resp3;
        scenario.traffic.connections = self.connections;
        scenario.traffic.requests = self.requests;
        scenario.server.nagle = self.nagle;
        scenario.mirror.skew[0] = self.skew * MILLISECOND;
        scenario.mirror.begins = self.begins / 100.0;
        scenario
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let mut all = Verdict::default();
    let mut dumps = arguments.dump;
    for seed in arguments.seed..arguments.seed + arguments.scenes {
        let scenario = arguments.scenario(seed);
        if arguments.show {
            println!("{scenario:#?}");
        }
        let world = World::run(&scenario);
        let sights = capture(&world);
        let verdict = judge_capture(&world, &sights, arguments.resync, dumps);
        if dumps && (verdict.wrong > 0 || arguments.scenes == 1) {
            println!("{}", surroundings(&world, &sights, &verdict));
            dumps = false;
        }
        all.add(verdict);
    }
    report(&all);
    if all.wrong > 0 || !all.breaches.is_empty() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn report(verdict: &Verdict) {
    let Verdict { answered, untouched, paired, paired_untouched, wrong, joined_after, .. } = verdict;
    println!(
        "{answered} answered, {untouched} untouched by loss; {paired} paired, {paired_untouched} of the untouched:"
    );
    println!("{:.2} % of the untouched, {wrong} wrong", verdict.share());
    let latest = joined_after.iter().flatten().max();
    let never = joined_after.iter().filter(|joined| joined.is_none()).count();
    println!("first pair after at most {} replies; {never} connections without a pair", latest.unwrap_or(&0));
    for breach in &verdict.breaches {
        println!("BREACH of {breach}");
    }
    for counter in resptap::counters::Counter::ALL {
        let (section, name) = counter.place();
        if verdict.counters[*counter] > 0 && ["requests", "replies"].contains(&section) {
            println!("{section}.{name} {}", verdict.counters[*counter]);
        }
    }
    for Wrong { seed, link, exchange, at, what } in &verdict.wrongs {
        println!("WRONG in scene {seed} at {} connection {link} request {exchange:?}: {what}", at - EPOCH);
    }
}
