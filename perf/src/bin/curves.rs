//! Curves: loss against the share of transactions that are paired, by kind of client, mix of commands and `--resync`, as
//! Markdown tables; then whatever may be drawn by chance. Fails if a pair is wrong where none may be.
//!
//! `scripts/pairing-curves` builds and runs it.

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use clap::Parser;

use resptap::redis::pairing::Resync;
use resptap_perf::judge::{Verdict, judge_capture};
use resptap_perf::mirror::capture;
use resptap_perf::scenario::{Client, Mix, Scenario};
use resptap_perf::world::World;

/// Percent of the packets of both directions that the mirror loses.
const LOSSES: [f64; 6] = [0.01, 0.1, 0.3, 1.0, 3.0, 10.0];
const RESYNCS: [(Resync, &str); 2] = [(Resync::Strict, "strict"), (Resync::Assume, "assume")];
const CLIENTS: [(&str, Client); 7] = [
    ("serial", Client::Serial),
    ("batches of 16", Client::Batch(16)),
    ("batches of 100", Client::Batch(100)),
    ("window of 16", Client::Window(16)),
    ("8 threads", Client::Multiplexed(8)),
    ("40 threads", Client::Multiplexed(40)),
    ("impatient", Client::Impatient),
];
const ADVERSARIES: [(&str, Client, bool); 5] = [
    ("serial, then a window of 2 at the gap", Client::Switching, false),
    ("phase-locked window of 1", Client::Locked(1), false),
    ("phase-locked window of 4", Client::Locked(4), false),
    ("window of 2, Nagle at the server", Client::Window(2), true),
    ("batches of 2, Nagle at the server", Client::Batch(2), true),
];
const MIXES: [(&str, Mix); 2] = [("mixed", Mix::Mixed), ("GET only", Mix::Gets)];
/// Transactions of a scene: what one connection brings between two rests.
const SCENE: u32 = 4000;

/// Prints how much of what loss did not touch is paired, and whether rightly.
#[derive(Parser, Debug)]
struct Arguments {
    /// Transactions of each cell of the table
    #[arg(long, default_value_t = 20_000)]
    transactions: u32,
    /// Scenes drawn by chance, of about 1,500 transactions each
    #[arg(long, default_value_t = 500)]
    draws: u64,
    /// Where chance begins
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

/// What is measured: a scenario with several seeds, judged both ways.
struct Cell {
    scenario: Scenario,
    scenes: u64,
    verdicts: [Verdict; 2],
}

impl Cell {
    fn new(scenario: Scenario, transactions: u32) -> Cell {
        Cell { scenario, scenes: u64::from(transactions.div_ceil(SCENE)), verdicts: Default::default() }
    }

    fn run(&mut self) {
        for scene in 0..self.scenes {
            let world = World::run(&Scenario { seed: self.scenario.seed + scene, ..self.scenario });
            let sights = capture(&world);
            for (verdict, (resync, _)) in self.verdicts.iter_mut().zip(RESYNCS) {
                verdict.add(judge_capture(&world, &sights, resync, false));
            }
        }
    }
}

/// Does all of it, on all cores.
fn run(cells: Vec<Cell>) -> Vec<Cell> {
    let cells: Vec<Mutex<Cell>> = cells.into_iter().map(Mutex::new).collect();
    let next = AtomicUsize::new(0);
    let work = || {
        while let Some(cell) = cells.get(next.fetch_add(1, Ordering::Relaxed)) {
            cell.lock().expect("nobody else has it").run();
        }
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
    cells.into_iter().map(|cell| cell.into_inner().expect("all threads have ended well")).collect()
}

/// Prints a table: a row for each of `rows`, mix and way, a column for each loss. Answers how many transactions were judged
/// (each way counts), and how many pairs were wrong.
fn table(title: &str, rows: &[(&str, Client, bool)], arguments: &Arguments) -> (u64, u64) {
    let mut cells = Vec::new();
    for &(_, client, nagle) in rows {
        for (_, mix) in MIXES {
            for loss in LOSSES {
                let mut scenario = Scenario::new(client, mix, arguments.seed).losing(loss / 100.0);
                scenario.server.nagle = nagle;
                cells.push(Cell::new(scenario, arguments.transactions));
            }
        }
    }
    let cells = run(cells);
    let mut cells = cells.chunks(LOSSES.len());
    println!("\n### {title}\n");
    let columns: Vec<String> = LOSSES.iter().map(|loss| format!("{loss} %")).collect();
    println!("| client | commands | `--resync` | {} | wrong pairs |", columns.join(" | "));
    println!("|---|---|---|{}--:|", "--:|".repeat(LOSSES.len()));
    let (mut judged, mut wrong) = (0, 0);
    for (name, ..) in rows {
        for (mix, _) in MIXES {
            let of_row = cells.next().unwrap_or_default();
            for (way, (_, resync)) in RESYNCS.iter().enumerate() {
                let verdicts: Vec<&Verdict> = of_row.iter().map(|cell| &cell.verdicts[way]).collect();
                let shares: Vec<String> = verdicts.iter().map(|verdict| format!("{:.1}", verdict.share())).collect();
                let wrong_here: u64 = verdicts.iter().map(|verdict| verdict.wrong).sum();
                println!("| {name} | {mix} | {resync} | {} | {wrong_here} |", shares.join(" | "));
                judged += verdicts.iter().map(|verdict| verdict.answered).sum::<u64>();
                wrong += wrong_here;
                for verdict in verdicts {
                    breaches(verdict);
                }
            }
        }
    }
    (judged, wrong)
}

/// A broken law is a bug of resptap's, whoever the client is.
fn breaches(verdict: &Verdict) {
    assert!(verdict.breaches.is_empty(), "{:?}", verdict.breaches);
}

/// Replies that are seen before the first pair, of a connection that is joined in the middle.
fn joins(arguments: &Arguments) {
    println!("\n### Replies until the first pair, joined in the middle (mixed commands, nothing lost, `assume`)\n");
    println!("| client | median | most | connections without a pair |\n|---|--:|--:|--:|");
    let cells = CLIENTS.map(|(_, client)| {
        let mut scenario = Scenario::new(client, Mix::Mixed, arguments.seed);
        scenario.mirror.begins = 0.3;
        Cell::new(scenario, arguments.transactions)
    });
    for (cell, (name, _)) in run(cells.into()).iter().zip(CLIENTS) {
        let all = &cell.verdicts[1].joined_after;
        let mut joined: Vec<u64> = all.iter().flatten().copied().collect();
        joined.sort_unstable();
        let text = |at: Option<&u64>| at.map_or("-".to_owned(), u64::to_string);
        let (median, most) = (text(joined.get(joined.len() / 2)), text(joined.last()));
        println!("| {name} | {median} | {most} | {} of {} |", all.len() - joined.len(), all.len());
    }
}

/// Scenes by chance: judged transactions and wrong pairs.
fn drawn(arguments: &Arguments) -> (u64, u64) {
    let draws = (0..arguments.draws).map(|draw| Cell::new(Scenario::draw(arguments.seed + draw), 1));
    let (mut judged, mut wrong) = (0, 0);
    for cell in run(draws.collect()) {
        for verdict in &cell.verdicts {
            breaches(verdict);
            judged += verdict.answered;
            wrong += verdict.wrong;
            for wrong in &verdict.wrongs {
                println!("wrong: cell --draw {} --dump: {}", wrong.seed, wrong.what);
            }
        }
    }
    (judged, wrong)
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let rows = CLIENTS.map(|(name, client)| (name, client, false));
    let usual = table("Share of what loss did not touch that is paired, in percent, by packet loss", &rows, &arguments);
    joins(&arguments);
    let adversaries = table("The same for clients and servers made to fool an assumption", &ADVERSARIES, &arguments);
    let drawn = drawn(&arguments);
    println!("\n### In all\n\n| | transactions judged | wrong pairs |\n|---|--:|--:|");
    for (name, (judged, wrong)) in
        [("the first table", usual), ("the adversaries", adversaries), ("scenes by chance", drawn)]
    {
        println!("| {name} | {judged} | {wrong} |");
    }
    if usual.1 + drawn.1 == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
