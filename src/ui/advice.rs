//! What to do about a capture that shows nothing, or not all: in words for people who know Redis or networks, not both.
//!
//! Pure: from counters to paragraphs. Advice names the cause that the counters prove, and a command or an option that
//! helps; where all is well there is none.

use crate::counters::{Counter, Counters};
use crate::export::summary::shed_share;

use super::format::{bytes, count, counted};
use super::survey::{PortSeen, Survey};

/// What was looked for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Observed<'a> {
    /// The server ports, ascending.
    pub ports: &'a [u16],
    /// What else is in the capture, if nothing was found.
    pub survey: Option<&'a Survey>,
}

/// Ranges of ports that are named.
const RANGES_NAMED: usize = 3;

impl Observed<'_> {
    /// Whether no port was named, but all were looked at.
    fn is_any(&self) -> bool {
        self.ports.len() > usize::from(u16::MAX)
    }

    /// The ports in words: `port 6379`, `ports 6379, 7000-7005`.
    pub fn named(&self) -> String {
        if self.is_any() {
            return "any port".to_owned();
        }
        let mut ranges: Vec<(u16, u16)> = Vec::new();
        for &port in self.ports {
            match ranges.last_mut() {
                Some((_, last)) if u32::from(*last) + 1 == u32::from(port) => *last = port,
                _ => ranges.push((port, port)),
            }
        }
        match ranges[..] {
            [(first, last)] if first == last => format!("port {first}"),
            _ if ranges.is_empty() || ranges.len() > RANGES_NAMED => "the ports of --port".to_owned(),
            _ => {
                let named = ranges
                    .iter()
                    .map(|&(first, last)| if first == last { first.to_string() } else { format!("{first}-{last}") });
                format!("ports {}", named.collect::<Vec<_>>().join(", "))
            }
        }
    }
}

/// Paragraphs, most important first.
pub fn advice(counters: &Counters, observed: Observed<'_>) -> Vec<String> {
    if counters[Counter::Requests] == 0 {
        return vec![nothing_found(counters, observed)];
    }
    let advice = [
        missed(counters),
        shed(counters),
        dropped(counters),
        unwritten(counters),
        cut_off(counters),
        gaps(counters),
        midstream(counters),
        one_sided(counters),
        tls(counters),
        not_redis(counters, observed),
        other_link_type(counters),
    ];
    advice.into_iter().flatten().collect()
}

fn nothing_found(counters: &Counters, observed: Observed<'_>) -> String {
    if counters[Counter::FramesSeen] == 0 {
        return "The capture holds no packets. Was the right interface captured (ip -s link shows where packets arrive), with the right \
                filter, and was there traffic meanwhile?"
            .to_owned();
    }
    if counters[Counter::SkipCutOff] == counters[Counter::FramesSeen] {
        return "Every packet is cut off before its headers end (snap length): capture whole packets, with tcpdump -s 0."
            .to_owned();
    }
    if counters[Counter::FramesAnalysed] == 0 {
        return format!("No packet is to or from {}. {}", observed.named(), why_none_is_analysed(counters, observed));
    }
    if observed.is_any() {
        return nothing_recognised(counters);
    }
    if let Some(encrypted) = observed.ports.iter().find_map(|&port| encrypted(port, observed.survey)) {
        return format!(
            "Port {} carries encrypted traffic (TLS), whose content can't be seen. {DECRYPTED}",
            encrypted.port
        );
    }
    if counters[Counter::OpaqueTls] > 0 {
        return format!(
            "All of it on {} is encrypted traffic (TLS), whose content can't be seen. {DECRYPTED}",
            observed.named()
        );
    }
    if counters[Counter::OpaqueClusterBus] > 0 {
        return format!(
            "On {} only the nodes of a cluster talk to each other (the cluster bus). Clients use another port, usually the \
             bus's less 10000: name that with --port.",
            observed.named()
        );
    }
    if counters[Counter::Replies] > 0 {
        return format!("Only replies were captured, no requests. {BOTH_DIRECTIONS}");
    }
    if let Some(advice) = cut_off(counters) {
        return advice;
    }
    if counters.sum("replies", "malformed") + counters[Counter::RequestBytesSkipped] == 0 {
        return format!(
            "The connections to {} carry no data in this capture: they were opened and closed, or idle. Capture while the \
             clients work.",
            observed.named()
        );
    }
    format!(
        "The data on {} is not Redis's protocol, or no request was whole. Is another program listening there, or is the \
         traffic encrypted or compressed? The server's port goes to --port.",
        observed.named()
    )
}

/// With `--port any`.
fn nothing_recognised(counters: &Counters) -> String {
    let connections = |counter: Counter| counted(counters[counter], "connection");
    format!(
        "Redis's protocol was not recognised on any port: {} of TLS, {} of other protocols, {} that ended before it could be \
         told. It is recognised by what both sides say, of connections from before the capture by two commands and their \
         replies. If you know the server's port, name it with --port: then all on it is taken for Redis's.",
        connections(Counter::OpaqueTls),
        connections(Counter::OpaqueOther),
        connections(Counter::ConnectionsUndecided)
    )
}

fn encrypted(port: u16, survey: Option<&Survey>) -> Option<&PortSeen> {
    survey?.port(port).filter(|seen| seen.tls > 0 && seen.redis == 0)
}

fn why_none_is_analysed(counters: &Counters, observed: Observed<'_>) -> String {
    if counters[Counter::SkipOtherPort] > 0 {
        return other_ports(observed.survey);
    }
    if counters[Counter::SkipTooDeep] > 0 {
        return "Its packets are wrapped in more tunnels (MPLS, VXLAN, Geneve, GRE, ERSPAN, IP in IP) or tags than are looked \
                into: capture where fewer are around them."
            .to_owned();
    }
    if counters[Counter::SkipFragment] > 0 {
        return "There are fragments of IP packets of which the others are missing: a filter of ports, such as tcpdump's `port \
                6379`, keeps only the first one of each packet. Add `or ip[6:2] & 0x3fff != 0 or ip6[6] = 44` to it."
            .to_owned();
    }
    "The capture has no TCP at all, not within tunnels either (MPLS, VXLAN, Geneve, GRE, ERSPAN and IP in IP are looked into). If \
     another kind of tunnel or encryption is around the packets, capture where it ends; otherwise check what is mirrored."
        .to_owned()
}

fn other_ports(survey: Option<&Survey>) -> String {
    let Some(survey) = survey.filter(|survey| !survey.ports.is_empty()) else {
        return "There is TCP of other ports: if the server listens on another port, name it with --port, or have it found with \
                --port any."
            .to_owned();
    };
    let redis: Vec<String> =
        survey.ports.iter().filter(|seen| seen.redis > 0).map(|seen| seen.port.to_string()).collect();
    if !redis.is_empty() {
        let ports = redis.join(",");
        let carry = if redis.len() == 1 { "a port carries" } else { "ports carry" };
        return format!("But {carry} Redis requests: try --port {ports}.");
    }
    let seen: Vec<String> =
        survey.ports.iter().map(|seen| format!("{} ({})", seen.port, counted(seen.packets, "packet"))).collect();
    format!(
        "Ports in this capture, busiest first: {}. If a Redis server listens on one of them, name it with --port; none of \
         them begins a packet as Redis clients do.",
        seen.join(", ")
    )
}

const DECRYPTED: &str = "Capture where it is decrypted: between the TLS proxy and the server, or on a plain-text port of \
                         the server.";

const BOTH_DIRECTIONS: &str = "A mirror port must copy both directions (received and transmitted). A passive tap has an \
                               interface for each: name both with resptap capture --interface A --interface B, or merge \
                               two captures by time with mergecap -w both.pcap A B.";

fn missed(counters: &Counters) -> Option<String> {
    let packets = counters[Counter::CaptureDropsNic];
    (packets > 0).then(|| {
        format!(
            "The network card missed {}: the host did not take them out of its rings in time. Give it larger rings, or more \
             queues; resptap check --interface IF tells the commands.",
            counted(packets, "packet")
        )
    })
}

fn shed(counters: &Counters) -> Option<String> {
    let share = shed_share(counters);
    (share > 0.0).then(|| {
        format!(
            "There was more traffic than this capture could carry. So that what it shows is whole, {:.0} % of the packets, of \
             connections chosen by a hash, were left out. Counts are those of the others: multiplied by {:.2} they are those of all. \
             Give it more --workers, cores of its own (--cpus), or less to do.",
            share * 100.0,
            1.0 / (1.0 - share)
        )
    })
}

fn dropped(counters: &Counters) -> Option<String> {
    let packets = counters[Counter::CaptureDropsRing] + counters[Counter::CaptureDropsMemory];
    (packets > 0).then(|| {
        format!(
            "The kernel dropped {} before the capture could read them. Give it more --workers, cores of its own (--cpus), or less \
             to do: fewer --sink records, or a faster disk for them.",
            counted(packets, "packet")
        )
    })
}

fn unwritten(counters: &Counters) -> Option<String> {
    let records = counters[Counter::RecordsDropped];
    (records > 0).then(|| {
        format!(
            "{} were not written: what --sink writes to was too slow, and live traffic does not wait. They are in all counts and \
             latencies. Write to a faster disk or reader, or less: --slower-than, --errors, --command and --sample choose.",
            counted(records, "transaction")
        )
    })
}

fn gaps(counters: &Counters) -> Option<String> {
    let missing = counters[Counter::GapBytesMirror] + counters[Counter::GapBytesNetwork];
    if counters[Counter::Gaps] == 0 || counters[Counter::RequestsOneSided] == counters[Counter::Requests] {
        return None;
    }
    Some(format!(
        "The capture lost packets: {} are missing, in {}. What they hid can't be paired for certain and counts as lost. If \
         tcpdump spoke of packets \"dropped by kernel\", give it a larger buffer (-B 65536) and a faster disk; otherwise \
         look at the drop counters of the mirror port: it can't carry more than its own speed.",
        bytes(missing),
        counted(counters[Counter::Gaps], "place")
    ))
}

fn midstream(counters: &Counters) -> Option<String> {
    let connections = counters[Counter::ConnectionsMidstream];
    if connections == 0 || counters[Counter::RequestsLost] == 0 {
        return None;
    }
    Some(format!(
        "{} already open when the capture began. Requests may have been under way that it does not show, so which reply \
         is whose is not known until the kinds of replies, the client's way of waiting or a pause of --resync-silence (2s \
         unless given) tell (see --resync), and until then requests count as lost. Nothing is if the capture begins before \
         the clients connect, or if they connect anew while it runs.",
        match connections {
            1 => "1 connection was".to_owned(),
            n => format!("{} connections were", count(n)),
        }
    ))
}

fn cut_off(counters: &Counters) -> Option<String> {
    let cut = counters[Counter::GapBytesCut];
    if cut == 0 || counters[Counter::RequestsLost] + counters[Counter::RequestBytesSkipped] == 0 {
        return None;
    }
    Some(format!(
        "The capture keeps only the beginning of each packet (its snap length): {} are cut off, and with them requests and \
         replies. Capture whole packets: tcpdump -s 0, which is its default.",
        bytes(cut)
    ))
}

fn one_sided(counters: &Counters) -> Option<String> {
    let requests = counters[Counter::RequestsOneSided];
    if requests > 0 {
        let requests = counted(requests, "request");
        return Some(format!("Of connections with {requests} only the clients' side was captured. {BOTH_DIRECTIONS}"));
    }
    let connections = counters[Counter::OneSidedServer];
    (connections > 0).then(|| {
        let connections = counted(connections, "connection");
        format!("Of {connections} only the server's side was captured: replies, and no requests. {BOTH_DIRECTIONS}")
    })
}

fn tls(counters: &Counters) -> Option<String> {
    let connections = counters[Counter::OpaqueTls];
    (connections > 0).then(|| {
        format!("Encrypted (TLS): {}, whose content can't be seen. {DECRYPTED}", counted(connections, "connection"))
    })
}

fn not_redis(counters: &Counters, observed: Observed<'_>) -> Option<String> {
    (counters[Counter::Malformed] > 0).then(|| {
        format!(
            "Some of the data on {} breaks Redis's protocol: another protocol on that port, or encryption (TLS).",
            observed.named()
        )
    })
}

fn other_link_type(counters: &Counters) -> Option<String> {
    (counters[Counter::SkipLinkType] > 0).then(|| {
        "Some interfaces of the capture have a link type that is not read; capture on an Ethernet interface, or on \"any\"."
            .to_owned()
    })
}

#[cfg(test)]
mod tests;
