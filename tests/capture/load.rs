//! A capture that is busy: what is dropped before it, and what becomes of it when its interface goes.

use super::*;

#[test]
#[ignore = "needs root, redis-server and python3: scripts/test runs it"]
fn what_the_driver_drops_of_each_queue_is_told_and_added_to_nothing() {
    let bed = Bed::up(&[]);
    let capture = bed.capture("tap", "--interface t1 --mode copy");
    // So that its rings become full.
    capture.signal("STOP");
    bed.client("redis-benchmark -h 10.77.0.2 -q -n 30000 -c 50 -t set,get >/dev/null");
    capture.signal("CONT");
    capture.end();
    let summary = bed.summary();
    let interface = &summary["input"]["interfaces"][0];
    let (nic, queues) = (&interface["nic"], interface["queues"].as_array().expect("queues"));
    let drops = |queue: &Value| sum(&queue["ring_full"]) + sum(&queue["dropped"]);
    assert!(queues.iter().map(drops).sum::<u64>() > 10_000, "{interface}");
    for (place, queue) in queues.iter().enumerate() {
        let told = serde_json::json!({"queue": queue["queue"], "dropped": drops(queue)});
        assert_eq!(nic["queues"][place], told, "{interface}");
    }
    assert_eq!(sum(&nic["dropped"]), queues.iter().map(drops).sum::<u64>(), "{interface}");
    assert_eq!((&nic["missed"], &summary["packets"]["capture_drops"]["nic"]), (&0.into(), &0.into()));
    let drops = &summary["packets"]["capture_drops"];
    assert_eq!(sum(&interface["drops"]), sum(drops), "none is counted twice: {drops}");
}

#[test]
#[ignore = "needs root, redis-server and python3: scripts/test runs it"]
fn an_interface_that_is_removed_under_load_ends_it_with_what_had_come_whole_and_rightly_paired() {
    for (mode, workers) in MODES.into_iter().flat_map(|mode| [(mode, 1), (mode, 2)]) {
        let bed = Bed::up(&[]);
        let how = format!("--interface t1 --mode {mode} --workers {workers} --payload full");
        let capture = bed.capture("tap", &how);
        // Each reply says which request it is for.
        let mut load = bed.inside("cli", "redis-benchmark");
        load.args(["-h", "10.77.0.2", "-q", "-n", "10000000", "-c", "50", "-P", "16", "-r", "1000000000"]);
        let mut load = load.args(["echo", "__rand_int__"]).stdout(Stdio::null()).spawn().expect("it starts");
        wait_for("packets", || {
            let output = success(bed.inside("tap", "cat").arg("/sys/class/net/t1/statistics/rx_packets"));
            String::from_utf8_lossy(&output.stdout).trim().parse::<u64>().expect("a count") > 20_000
        });
        bed.ip("tap", "link del t1");
        let (status, said) = capture.ended();
        load.kill().expect("it runs");
        load.wait().expect("it ends");
        assert_eq!(status.code(), Some(1), "{how}: {said}");
        assert_eq!(said.matches("t1 is gone: the interface was removed").count(), 1, "{how}: {said}");
        let summary = bed.summary();
        let (packets, requests) = (&summary["packets"], &summary["requests"]);
        assert_eq!(sum(&packets["seen"]), sum(&packets["analysed"]) + sum(&packets["skipped"]), "{how}: {packets}");
        let decided = ["exact", "resynced", "no_reply", "timed_out", "lost", "unanswered", "one_sided"];
        let decided: u64 = decided.iter().map(|name| sum(&requests[name])).sum();
        assert_eq!((sum(&requests["total"]), sum(&requests["pending"])), (decided, 0), "{how}: {requests}");
        // Each line is a whole record, and there is one for each request.
        let records = bed.records();
        assert_eq!(records.len() as u64 + sum(&summary["records"]["dropped"]), decided, "{how}");
        let paired = records.iter().filter(|record| {
            matches!(record["redis"]["pairing"].as_str(), Some("exact" | "resynced")) && record["method"] == "ECHO"
        });
        let mut rightly = 0;
        for record in paired {
            let redis = &record["redis"];
            let asked = redis["request"].as_str().and_then(|request| request.rsplit(' ').next()).expect("a request");
            assert_eq!(redis["response"].as_str(), Some(asked), "{how}: {record}");
            rightly += 1;
        }
        assert!(rightly > 1_000, "{how}: {requests}");
    }
}
