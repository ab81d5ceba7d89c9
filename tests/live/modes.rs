//! Every mode of a real server's connections, held against what its client says: `scripts/modes` walks through them and
//! notes of each request its bytes and exactly what it got for it. The capture is read as it is, and cut anew at random.

use std::collections::BTreeMap;

use super::*;

static MODES: LazyLock<Session> = LazyLock::new(|| {
    let shell = format!("exec '{}' --host $REDIS_HOST --port $REDIS_PORT --report \"$1\"", script("modes").display());
    Session::new(&[], &shell)
});

/// Numbers without pattern, the same in each run (the generator `SplitMix64`).
struct Random(u64);

impl Random {
    /// From 1 to `most`.
    fn up_to(&mut self, most: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut value = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        1 + ((value ^ (value >> 31)) % most as u64) as usize
    }
}

const PCAP_HEADER_BYTES: usize = 24;
const RECORD_HEADER_BYTES: usize = 16;
const ETHERNET_BYTES: usize = 14;

/// The capture with its segments cut into pieces of up to `most` bytes: as a path of smaller segments would have carried it.
fn cut(capture: &[u8], most: usize, random: &mut Random) -> Vec<u8> {
    let number = |bytes: &[u8]| usize::from(u16::from_be_bytes([bytes[0], bytes[1]]));
    let (header, mut rest) = capture.split_at(PCAP_HEADER_BYTES);
    assert_eq!(header[..4], 0xa1b2_c3d4_u32.to_le_bytes(), "tcpdump writes pcap in this machine's byte order");
    let mut out = header.to_vec();
    while !rest.is_empty() {
        let (record, behind) = rest.split_at(RECORD_HEADER_BYTES);
        let length = u32::from_le_bytes(record[8..12].try_into().unwrap()) as usize;
        let (frame, behind) = behind.split_at(length);
        rest = behind;
        let ip = &frame[ETHERNET_BYTES..];
        assert_eq!(ip[0] >> 4, 4, "the walk is over IPv4");
        let ip_header = usize::from(ip[0] & 15) * 4;
        let tcp_header = usize::from(ip[ip_header + 12] >> 4) * 4;
        let headers = ETHERNET_BYTES + ip_header + tcp_header;
        let payload = &frame[headers..ETHERNET_BYTES + number(&ip[2..])];
        let mut at = 0;
        while at < payload.len() || at == 0 {
            let end = payload.len().min(at + random.up_to(most));
            let mut piece = frame[..headers].to_vec();
            let total = u16::try_from(headers - ETHERNET_BYTES + end - at).expect("less than it was");
            piece[ETHERNET_BYTES + 2..ETHERNET_BYTES + 4].copy_from_slice(&total.to_be_bytes());
            let tcp = ETHERNET_BYTES + ip_header;
            let seq = u32::from_be_bytes(piece[tcp + 4..tcp + 8].try_into().unwrap()).wrapping_add(at as u32);
            piece[tcp + 4..tcp + 8].copy_from_slice(&seq.to_be_bytes());
            if end < payload.len() {
                piece[tcp + 13] &= !0b1001; // PSH and FIN belong to the last one.
            }
            piece.extend_from_slice(&payload[at..end]);
            out.extend_from_slice(&record[..8]);
            out.extend_from_slice(&[(piece.len() as u32).to_le_bytes(); 2].concat());
            out.extend_from_slice(&piece);
            at = end.max(1);
        }
    }
    out
}

/// What is wrong with a record, if anything is; `index`: which of its connection's requests it must be.
fn fault(record: &Value, truth: &Value, exec_id: Option<&Value>) -> Option<&'static str> {
    let redis = &record["redis"];
    let said = |name: &str| truth[name].as_bool().unwrap_or(false);
    let flagged = |name: &str| redis["flags"].as_array().is_some_and(|flags| flags.iter().any(|flag| flag == name));
    let hidden = text(record, "/redis/request").contains("(redacted)");
    let checks = [
        ("pairing", redis["pairing"] == truth["pairing"]),
        ("request", said("vague") || hidden || redis["request"] == truth["request"]),
        ("bytes", said("vague") || record["source"]["bytes"] == truth["bytes"]),
        ("malformed", flagged("malformed") == said("vague")),
        ("blocking", flagged("blocking") == said("blocking")),
        ("not_executed", flagged("not_executed") == said("not_executed")),
        ("parent", redis.get("parent") == exec_id),
    ];
    if let Some((what, _)) = checks.into_iter().find(|(_, holds)| !holds) {
        return Some(what);
    }
    if said("not_executed") {
        return (redis["response"] != "QUEUED").then_some("the reply of what is not executed");
    }
    let Some(reply) = truth.get("reply") else {
        return redis.get("reply").is_some().then_some("a reply where there is none");
    };
    let checks = [
        ("kind", redis["reply"] == reply["kind"]),
        ("reply bytes", reply.get("bytes").is_none_or(|bytes| *bytes == record["destination"]["bytes"])),
        (
            "reply",
            match reply["shown"].as_str() {
                // An item of EXEC's array.
                None => true,
                Some(shown) if reply["kind"] == "error" => {
                    redis["error_code"] == shown.split(' ').next().unwrap_or_default()
                }
                Some(shown) => hidden || redis["response"] == shown,
            },
        ),
    ];
    checks.into_iter().find(|(_, holds)| !holds).map(|(what, _)| what)
}

/// Holds every record against the walk's account.
fn hold(reading: &Reading, account: &Value, how: &str) {
    let mut records: BTreeMap<(u64, usize), Value> = BTreeMap::new();
    for record in reading.parsed() {
        let index = text(&record, "/event/id").rsplit('-').next().and_then(|index| index.parse().ok());
        let place = (number(&record, "/source/port"), index.expect("a number"));
        assert!(records.insert(place, record).is_none(), "{how}: two records of {place:?}");
    }
    let mut held = 0;
    for connection in account["connections"].as_array().expect("connections") {
        let port = number(connection, "/port");
        for (index, truth) in connection["requests"].as_array().expect("requests").iter().enumerate() {
            let record = records.get(&(port, index)).unwrap_or_else(|| panic!("{how}: no record of {truth}"));
            let exec = truth.get("parent").map(|parent| {
                let at = usize::try_from(parent.as_u64().expect("a number")).expect("a small one");
                &records[&(port, at)]["event"]["id"]
            });
            if let Some(what) = fault(record, truth, exec) {
                panic!("{how}: {what} differs\nthe client says {truth}\nthe record says {record}");
            }
            held += 1;
        }
    }
    assert_eq!(held, records.len(), "{how}: records of requests that were never sent");
    let replies = &reading.summary["replies"];
    let unsolicited = |name: &str| replies["unsolicited"][name].as_u64();
    assert_eq!(unsolicited("push"), account["pushes"].as_u64(), "{how}: {replies}");
    assert_eq!(unsolicited("monitor"), account["monitor_lines"].as_u64(), "{how}: {replies}");
    assert_eq!(unsolicited("no_request"), account["unasked"].as_u64(), "{how}: {replies}");
    assert_eq!(sum(&replies["discarded"]), 0, "{how}: {replies}");
    assert_eq!(number(&reading.summary, "/requests/contradictions"), 0, "{how}");
}

const FULL: [&str; 4] = ["--payload", "full", "--payload-bytes", "16384"];

#[test]
#[ignore = "needs root, redis-server and tcpdump: scripts/test runs it"]
fn every_mode_of_a_connection_pairs_as_its_client_says_however_it_is_cut() {
    let account = MODES.account();
    let requests: usize =
        account["connections"].as_array().unwrap().iter().map(|c| c["requests"].as_array().unwrap().len()).sum();
    assert!(requests > 2000, "only {requests} requests");
    hold(&Reading::of(&MODES.capture(), &FULL), &account, "as it was captured");
    let capture = fs::read(MODES.capture()).expect("the capture");
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("cut.pcap");
    for (seed, most) in [(1, 1), (2, 3), (3, 9), (4, 50), (5, 50), (6, 1000)] {
        fs::write(&path, cut(&capture, most, &mut Random(seed))).expect("the cut capture");
        let reading = Reading::of(&path, &[&FULL[..], &["--workers", ["1", "3"][seed as usize % 2]]].concat());
        hold(&reading, &account, &format!("in pieces of up to {most} bytes, seed {seed}"));
    }
}

#[test]
#[ignore = "needs root, redis-server and tcpdump: scripts/test runs it"]
fn a_pair_that_is_shifted_by_one_is_noticed() {
    let account = MODES.account();
    let mut reading = Reading::of(&MODES.capture(), &FULL);
    let place = reading.records.iter().position(|line| line.contains("\"ECHO token-")).expect("an ECHO");
    reading.records[place] = reading.records[place].replace("\"response\":\"token-", "\"response\":\"taken-");
    let held = std::panic::catch_unwind(|| hold(&reading, &account, "shifted"));
    assert!(held.is_err());
}
