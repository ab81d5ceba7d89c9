//! `resptap capture` on a network card of a virtual machine (`scripts/zc-vm`): a real redis-server's traffic, as a mirror port shows
//! it, with one queue and with several, by AF_XDP without copying; held against what the server counted.
//!
//! That needs QEMU, redis-server, ethtool and, for several queues, root, and takes a while: a plain `cargo test` ignores it.
//! `cargo test --test vm -- --include-ignored` runs it. Where the machine lacks something the tests say that they were skipped and
//! why, which is why they have a harness that can: not run is not passed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Output};

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use serde_json::Value;
use tempfile::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_resptap");

/// What `scripts/zc-vm` exits with where it can't run on this machine.
const LACKING: i32 = 3;

/// What the jobs have in common.
const PRELUDE: &str = r#"
set -euo pipefail
cd /tmp/share

fail() { echo "FAILED: $*"; exit 1; }
wait_for() {
    local what=$1 tries
    shift
    for tries in $(seq 300); do
        if "$@"; then return; fi
        sleep 0.1
    done
    cat said
    fail "$what: not so after 30 seconds"
}
quietly() { redis-cli -s /tmp/redis.sock "$@"; }
answers() { quietly ping >/dev/null 2>&1; }
ip netns exec srv redis-server --port 6379 --protected-mode no --save '' --appendonly no --dir /tmp --unixsocket /tmp/redis.sock \
    >/dev/null &
wait_for redis-server answers

begins() { grep -q capturing said || { kill -0 $capture || fail "it ended: $(cat said)"; false; }; }
# capture NAME [OPTION]...
capture() {
    name=$1
    shift
    ${bound:-} ./resptap -v capture --interface t1 --summary "$name.json" --sink "jsonl:/tmp/$name.jsonl" "$@" 2>said &
    capture=$!
    wait_for "the beginning of the capture" begins
}
traffic() {
    quietly info all >"$name.before"
    ip netns exec cli redis-benchmark -h 10.77.0.2 -q -n 1000 -c 20 -t set,get >/dev/null
    ip netns exec cli redis-benchmark -h 10.77.0.2 -q -n 4800 -c 20 -P 16 -t set,get >/dev/null
    sleep 0.5
    quietly info all >"$name.after"
}
finish() {
    kill -INT $capture
    wait $capture || fail "it ended with $?: $(cat said)"
    cp said "$name.said"
    wc -l <"/tmp/$name.jsonl" >"$name.records"
}
killed() {
    kill -KILL $capture
    wait $capture || true
}
# Which of the kernel's functions are called meanwhile: with zero-copy the driver takes memory from the socket's pool, without it
# packets are copied there.
trace() {
    cd /sys/kernel/tracing
    echo xp_alloc_batch __xsk_rcv >set_ftrace_filter
    echo function >current_tracer
    echo >trace
    cd - >/dev/null
}
traced() { grep -o 'xp_alloc_batch\|__xsk_rcv' /sys/kernel/tracing/trace | sort | uniq >"$name.traced"; }
"#;

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts").join(name)
}

/// All that a command said.
fn said(output: &Output) -> String {
    [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text)).concat()
}

/// A folder that a guest has run a job in.
struct Ran(TempDir);

/// Runs a job in a guest with these options of `zc-vm run`. `Err`: why it was not run, or how it failed.
fn run(options: &str, job: &str) -> Result<Ran, Result<Completion, Failed>> {
    let outcome = |output: &Output| match output.status.code() {
        Some(0) => Ok(()),
        Some(LACKING) => {
            let reason = said(output).lines().last().unwrap_or_default().trim_start_matches("zc-vm: ").to_owned();
            Err(Ok(Completion::ignored_with(format!("skipped: {reason}"))))
        }
        _ => Err(Err(Failed::from(format!("{}\n{}", output.status, said(output))))),
    };
    outcome(&Command::new(script("zc-vm")).arg("setup").output().expect("scripts/zc-vm starts"))?;
    let share = tempfile::tempdir().expect("a folder");
    fs::copy(PROGRAM, share.path().join("resptap")).expect("a copy of the program");
    fs::write(share.path().join("job"), format!("{PRELUDE}\n{job}")).expect("a job");
    let mut command = Command::new(script("zc-vm"));
    command.arg("run").args(options.split(' ')).arg(share.path()).arg("job");
    outcome(&command.output().expect("scripts/zc-vm starts"))?;
    Ok(Ran(share))
}

impl Ran {
    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    fn summary(&self, name: &str) -> Value {
        serde_json::from_str(&self.text(&format!("{name}.json"))).expect("a summary is JSON")
    }

    /// Holds a capture's summary against INFO of before and after: every count equal, nothing missed, every request paired.
    fn assert_all_seen(&self, name: &str) -> Value {
        let file = |what: &str| self.path(&format!("{name}.{what}"));
        let mut compare = Command::new(script("compare-counts"));
        compare.arg("--before").arg(file("before")).arg("--after").arg(file("after"));
        let output = compare.arg(file("json")).output().expect("compare-counts starts");
        assert!(output.status.success(), "{name}: {}", said(&output));
        let summary = self.summary(name);
        let (packets, requests) = (&summary["packets"], &summary["requests"]);
        assert_eq!(sum(&packets["seen"]), sum(&packets["analysed"]) + sum(&packets["skipped"]), "{name}: {packets}");
        assert_eq!(sum(&packets["capture_drops"]) + sum(&packets["gaps"]), 0, "{name}: {packets}");
        assert!(sum(&requests["total"]) >= 11_600 && requests["exact"] == requests["total"], "{name}: {requests}");
        // An emulated processor may be too slow to write them all.
        let written: u64 = self.text(&format!("{name}.records")).trim().parse().expect("a count");
        let dropped = sum(&summary["records"]["dropped"]);
        assert_eq!(written + dropped, sum(&requests["total"]), "{name}: {}", summary["records"]);
        summary
    }
}

fn sum(counts: &Value) -> u64 {
    match counts {
        Value::Object(fields) => fields.values().map(sum).sum(),
        number => number.as_u64().unwrap_or_else(|| panic!("not a count: {number}")),
    }
}

/// A job that must succeed, and what must be so after it.
fn test(name: &str, options: &'static str, job: &'static str, check: fn(&Ran)) -> Trial {
    let run = move || match run(options, job) {
        Ok(ran) => {
            check(&ran);
            Ok(Completion::Completed)
        }
        Err(outcome) => outcome,
    };
    Trial::ignorable_test(name, run).with_ignored_flag(true)
}

const ONE_QUEUE: &str = "
    capture copies --mode af-packet; traffic; finish
    trace; capture zero-copy --mode auto; traffic; traced; finish
    ./resptap check --interface t1 >check
";

fn one_queue(ran: &Ran) {
    let summary = ran.assert_all_seen("copies");
    assert_eq!(summary["input"]["interfaces"][0]["mode"], "af-packet", "{}", summary["input"]);
    // The kernel's word for how the socket is bound, and its functions for what it does.
    let summary = ran.assert_all_seen("zero-copy");
    assert_eq!(summary["input"]["interfaces"][0]["mode"], "zero-copy", "{}", summary["input"]);
    assert_eq!(ran.text("zero-copy.traced").trim(), "xp_alloc_batch");
    let check = ran.text("check");
    assert!(check.contains("AF_XDP without copying (zero-copy); driver virtio_net"), "{check}");
    assert!(check.contains("ok    RSS           one queue"), "{check}");
}

const FOUR_QUEUES: &str = "
    sysctl -qw vm.nr_hugepages=128
    settings() { ethtool -x t1 >$1; }
    settings before; ./resptap check --interface t1 >check
    trace; capture symmetric --mode zero-copy --rss symmetric; settings during; traffic; traced; finish; settings after
    capture killed --mode zero-copy --rss symmetric; killed; settings left; ./resptap check --interface t1 >left.check
    capture steered --mode zero-copy; settings next; traffic; finish
    capture killed --mode zero-copy --rss symmetric; killed
    ./resptap check --interface t1 --restore >restored.check; settings restored
";

fn four_queues(ran: &Ran) {
    let busy = |summary: &Value| {
        let queues = summary["input"]["interfaces"][0]["queues"].as_array().expect("queues").iter();
        let workers = summary["workers"].as_array().expect("workers").iter();
        let (queues, workers) =
            (queues.map(|queue| sum(&queue["packets"])), workers.map(|worker| sum(&worker["requests"]["total"])));
        (queues.filter(|count| *count > 0).count(), workers.filter(|count| *count > 0).count())
    };
    for name in ["steered", "symmetric"] {
        let summary = ran.assert_all_seen(name);
        assert_eq!(summary["input"]["interfaces"][0]["mode"], "zero-copy", "{}", summary["input"]);
        assert_eq!(busy(&summary), (4, 4), "{name}: {}", summary["input"]);
        assert_eq!(summary["input"]["interfaces"][0]["queues"][3]["huge_pages"], true, "{name}: {}", summary["input"]);
    }
    assert_eq!(ran.text("symmetric.traced").trim(), "xp_alloc_batch");
    let rss = |name: &str| ran.summary(name)["input"]["interfaces"][0]["rss"].clone();
    assert_eq!((rss("steered"), rss("symmetric")), ("not symmetric".into(), "a symmetric key".into()));
    for (name, has_own) in [("steered", false), ("symmetric", true)] {
        assert_eq!(ran.text(&format!("{name}.said")).contains("each with a queue of its own"), has_own, "{name}");
    }
    // As ethtool has it: changed for the capture, and for no longer, however it ends.
    let [before, during, after, left, next, restored] =
        ["before", "during", "after", "left", "next", "restored"].map(|name| ran.text(name));
    for changed in [&during, &left] {
        assert!(changed.contains("6d:5a:6d:5a") && !before.contains("6d:5a:6d:5a"), "{changed}");
    }
    assert_eq!([&after, &next, &restored], [&before; 3]);
    assert!(ran.text("steered.said").contains("put back how packets were spread"));
    for (name, expected) in [
        ("check", "warn  RSS           not symmetric"),
        ("left.check", "-> resptap check --interface t1 --restore"),
        ("restored.check", "ok    restore       how packets are spread"),
    ] {
        assert!(ran.text(name).contains(expected), "{}", ran.text(name));
    }
}

// First from a core of the other node: where the memory is does not come from where the program runs.
const TWO_NODES: &str = "
    seen() { cp /proc/$capture/numa_maps $name.maps; }
    cores() { grep -H Cpus_allowed_list /proc/$capture/task/*/status >$name.cores; }
    for mode in zero-copy af-packet; do
        bound='taskset -c 0'; capture far-$mode --mode $mode; traffic; seen; finish
    done
    bound=''; capture near --mode zero-copy; traffic; cores; seen; finish
    capture told --mode zero-copy --cpus 0; traffic; cores; finish
";

fn two_nodes(ran: &Ran) {
    for name in ["far-zero-copy", "far-af-packet", "near", "told"] {
        let summary = ran.assert_all_seen(name);
        let nic = &summary["input"]["interfaces"][0]["nic"];
        assert_eq!(nic["missed"], 0, "{name}: {nic}");
        assert_eq!(nic["queues"][0]["queue"], 0, "virtio_net tells of its queues: {nic}");
        assert!(ran.text(&format!("{name}.said")).contains("memory for packets is of the card's NUMA node, 1"));
    }
    // Shared memory without a file, as UMEM is made, and a packet socket's ring.
    for (name, what, least) in
        [("far-zero-copy", "/dev/zero", 32_768), ("near", "/dev/zero", 32_768), ("far-af-packet", "socket:", 16_384)]
    {
        let maps = ran.text(&format!("{name}.maps"));
        let memory: Vec<&str> = maps.lines().filter(|line| line.contains(what)).collect();
        let pages = |node: &str| {
            let found = memory.iter().flat_map(|line| line.split(' ')).filter_map(|field| field.strip_prefix(node));
            found.map(|pages| pages.parse::<u64>().expect("a count")).sum::<u64>()
        };
        assert!(pages("N1=") >= least && pages("N0=") == 0, "{name}: {memory:#?}");
    }
    let cores = |name: &str| {
        let told = ran.text(&format!("{name}.cores"));
        told.lines().map(|line| line.rsplit('\t').next().unwrap_or_default().to_owned()).collect::<Vec<_>>()
    };
    let said = |name: &str| ran.text(&format!("{name}.said"));
    assert!(said("near").contains("workers run on cores 1, of 1 near t1"), "{}", said("near"));
    assert!(
        cores("near").contains(&"1".to_owned()) && cores("near").contains(&"0-1".to_owned()),
        "{:?}",
        cores("near")
    );
    assert!(cores("told").contains(&"0".to_owned()) && !cores("told").contains(&"1".to_owned()), "{:?}", cores("told"));
    assert!(said("far-zero-copy").contains("workers run on any core: 0 of the 1"), "{}", said("far-zero-copy"));
}

fn main() -> ExitCode {
    // A guest takes all the cores there are.
    let arguments = Arguments { test_threads: Some(1), ..Arguments::from_args() };
    let tests = vec![
        test(
            "a_card_with_one_queue_shows_every_request_in_copies_and_without_copying",
            "--queues 1",
            ONE_QUEUE,
            one_queue,
        ),
        test("memory_and_workers_are_near_a_card_of_one_of_two_nodes", "--nodes", TWO_NODES, two_nodes),
        test(
            "a_card_with_four_queues_is_symmetric_for_a_capture_and_no_longer",
            "--queues 4",
            FOUR_QUEUES,
            four_queues,
        ),
    ];
    libtest_mimic::run(&arguments, tests).exit_code()
}
