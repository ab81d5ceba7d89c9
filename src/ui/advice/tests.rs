//! The right words for each trouble, and none without.

use super::*;

fn counters(counted: &[(Counter, u64)]) -> Counters {
    let mut counters = Counters::default();
    for &(counter, n) in counted {
        counters[counter] = n;
    }
    counters
}

fn seen(port: u16, redis: u64, tls: u64) -> PortSeen {
    PortSeen { port, packets: 12, redis, tls }
}

#[track_caller]
fn says(counted: &[(Counter, u64)], survey: Option<&[PortSeen]>, words: &[&str]) {
    let survey = survey.map(|ports| Survey { ports: ports.to_vec() });
    let observed = Observed { ports: &[6379], survey: survey.as_ref() };
    let advice = advice(&counters(counted), observed);
    assert_eq!(advice.len(), usize::from(!words.is_empty()), "{advice:?}");
    for word in words {
        assert!(advice[0].contains(word), "{word:?} in {advice:?}");
    }
}

#[test]
fn a_healthy_capture_needs_no_advice() {
    says(&[(Counter::Requests, 9), (Counter::RequestsExact, 9), (Counter::SkipOtherPort, 3)], None, &[]);
    let proved = [(Counter::Requests, 9), (Counter::RequestsResynced, 9), (Counter::ConnectionsMidstream, 1)];
    says(&proved, None, &[]);
}

#[test]
fn an_empty_capture_is_called_empty() {
    says(&[], None, &["holds no packets", "ip -s link"]);
}

#[test]
fn another_port_is_named_with_the_option() {
    let others = [(Counter::FramesSeen, 24), (Counter::SkipOtherPort, 24)];
    let both = [seen(6380, 3, 0), seen(7000, 1, 0), seen(22, 0, 0)];
    says(&others, Some(&both[..1]), &["No packet is to or from port 6379", "--port 6380."]);
    says(&others, Some(&both), &["--port 6380,7000."]);
    says(&others, Some(&both[2..]), &["busiest first: 22 (12 packets)", "--port"]);
    says(&others, None, &["name it with --port", "--port any"]);
}

#[test]
fn captures_without_tcp_or_without_headers_are_told_apart() {
    says(&[(Counter::FramesSeen, 5), (Counter::SkipNotTcp, 5)], None, &["no TCP at all", "VXLAN"]);
    says(&[(Counter::FramesSeen, 5), (Counter::SkipTooDeep, 5)], None, &["more tunnels"]);
    says(&[(Counter::FramesSeen, 5), (Counter::SkipFragment, 5)], None, &["fragments", "ip[6:2] & 0x3fff != 0"]);
    says(&[(Counter::FramesSeen, 5), (Counter::SkipCutOff, 5)], None, &["Every packet is cut off", "tcpdump -s 0"]);
}

#[test]
fn what_is_spoken_on_the_port_instead_is_told() {
    let analysed = [(Counter::FramesSeen, 9), (Counter::FramesAnalysed, 9)];
    says(&analysed, None, &["carry no data"]);
    let malformed = [&analysed[..], &[(Counter::Malformed, 2)]].concat();
    says(&malformed, None, &["is not Redis's protocol"]);
    says(&malformed, Some(&[seen(6379, 0, 3)]), &["Port 6379 carries encrypted traffic (TLS)"]);
    says(&[&analysed[..], &[(Counter::OpaqueTls, 2)]].concat(), None, &["port 6379 is encrypted", "decrypted"]);
    says(&[&analysed[..], &[(Counter::OpaqueClusterBus, 2)]].concat(), None, &["cluster bus", "--port"]);
    says(&[(Counter::Requests, 9), (Counter::OpaqueTls, 2)], None, &["(TLS): 2 connections", "decrypted"]);
    says(&[&analysed[..], &[(Counter::Replies, 4)]].concat(), None, &["Only replies", "mergecap"]);
}

#[test]
fn where_all_ports_were_looked_at_it_is_told_what_they_spoke() {
    let ports: Vec<u16> = (0..=u16::MAX).collect();
    let observed = Observed { ports: &ports, survey: None };
    assert_eq!(observed.named(), "any port");
    let of = |counted: &[(Counter, u64)]| {
        let mut advice = advice(&counters(counted), observed);
        assert_eq!(advice.len(), 1, "{advice:?}");
        advice.remove(0)
    };
    let analysed = [(Counter::FramesSeen, 9), (Counter::FramesAnalysed, 9)];
    let others = [(Counter::OpaqueTls, 2), (Counter::OpaqueOther, 1), (Counter::ConnectionsUndecided, 3)];
    let told = of(&[&analysed[..], &others].concat());
    assert!(told.contains("2 connections of TLS, 1 connection of other protocols, 3 connections that ended"), "{told}");
    assert!(told.contains("name it with --port"), "{told}");
    assert!(of(&[(Counter::FramesSeen, 5), (Counter::SkipNotTcp, 5)]).contains("no TCP at all"));
}

#[test]
fn losses_are_explained_with_their_cure() {
    let lost = [(Counter::Requests, 9), (Counter::RequestsLost, 2)];
    let gap = [(Counter::Gaps, 1), (Counter::GapBytesMirror, 2000), (Counter::GapBytesNetwork, 48)];
    says(&[&lost[..], &gap].concat(), None, &["2.0 KiB are missing, in 1 place.", "-B 65536"]);
    says(&[&lost[..], &[(Counter::GapBytesCut, 512)]].concat(), None, &["512 B are cut off", "tcpdump -s 0"]);
    let midstream = [&lost[..], &[(Counter::ConnectionsMidstream, 2)]].concat();
    let missed = [(Counter::Requests, 9), (Counter::CaptureDropsNic, 4_000)];
    says(&missed, None, &["The network card missed 4,000 packets", "larger rings", "resptap check"]);
    let shed = [(Counter::Requests, 9), (Counter::FramesSeen, 300), (Counter::FramesShed, 100)];
    says(&shed, None, &["25 % of the packets", "multiplied by 1.33", "--workers"]);
    says(&midstream, None, &["2 connections were already open", "--resync-silence"]);
    says(&[(Counter::Requests, 9), (Counter::RequestsOneSided, 9), (Counter::Gaps, 1)], None, &["9 requests", "both"]);
    says(&[(Counter::Requests, 9), (Counter::OneSidedServer, 2)], None, &["Of 2 connections", "no requests", "both"]);
}

#[test]
fn cut_off_values_that_hinder_no_pairing_are_no_trouble() {
    says(&[(Counter::Requests, 9), (Counter::RequestsExact, 9), (Counter::GapBytesCut, 512)], None, &[]);
}

#[test]
fn ports_are_named_in_ranges() {
    let named = |ports: &[u16]| Observed { ports, survey: None }.named();
    assert_eq!(named(&[6379]), "port 6379");
    assert_eq!(named(&[6379, 7000, 7001, 7002]), "ports 6379, 7000-7002");
    assert_eq!(named(&[65534, 65535]), "ports 65534-65535");
    assert_eq!(named(&[1, 3, 5, 7]), "the ports of --port");
    assert_eq!(named(&[]), "the ports of --port");
}
