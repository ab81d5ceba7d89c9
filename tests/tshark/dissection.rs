//! The requests that tshark finds, from its PDML.

use std::fs::File;
use std::io::BufWriter;
use std::path::Path;
use std::process::Command;

use resptap::capture::LinkType;
use resptap::capture::write::PcapWriter;
use resptap::units::Timestamp;

use crate::common::encapsulate::{LABELS_PSEUDO_WIRE, LABELS_PSEUDO_WIRE_BARE};
use crate::common::versions::Owned;

/// A request as tshark tells it.
#[derive(Debug)]
pub(crate) struct Dissected {
    /// The frame at which it was whole, counted from 1.
    pub(crate) frame: u32,
    /// Of the client.
    pub(crate) port: u16,
    pub(crate) words: Vec<Vec<u8>>,
}

/// Writes a capture for tshark.
fn write(frames: &[Owned], file: &Path) {
    let out = BufWriter::new(File::create(file).unwrap());
    let mut writer = PcapWriter::new(out, LinkType::Ethernet, true).unwrap();
    for frame in frames {
        writer.frame(Timestamp(frame.at), &frame.bytes, frame.wire_len).unwrap();
    }
    writer.finish().unwrap();
}

/// Has tshark dissect the frames; answers the requests in its order. `reorders`: it is to put segments in order, which is not
/// its default. From a lost one on it then waits for that for ever.
pub(crate) fn dissect(frames: &[Owned], file: &Path, reorders: bool) -> Vec<Dissected> {
    write(frames, file);
    let mut command = Command::new("tshark");
    command.arg("-r").arg(file).args(["-T", "pdml", "-J", "tcp resp", "-Y", "resp && tcp.dstport == 6379"]);
    command.args(["-d", "tcp.port==6379,resp", "-o", "tcp.desegment_tcp_streams:TRUE"]);
    command.arg("-o").arg(format!("tcp.reassemble_out_of_order:{}", if reorders { "TRUE" } else { "FALSE" }));
    command.args(["-o", "udp.ignore_ipv6_zero_checksum:TRUE", "-d", "udp.port==8472,vxlan"]);
    for (labels, kind) in [(LABELS_PSEUDO_WIRE, "pwethcw"), (LABELS_PSEUDO_WIRE_BARE, "pwethnocw")] {
        command.arg("-d").arg(format!("mpls.label=={}-{},{kind}", labels.start, labels.end - 1));
    }
    let output = command.output().expect("tshark, which scripts/setup installs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    parse(&String::from_utf8_lossy(&output.stdout))
}

/// An array that is being read.
#[derive(Default)]
struct Array {
    declared: Option<usize>,
    words: Vec<Vec<u8>>,
    /// tshark says that its rest is elsewhere.
    is_partial: bool,
}

/// PDML has a line for each field that begins, and one for each that ends and has fields within.
fn parse(pdml: &str) -> Vec<Dissected> {
    let mut dissected = Vec::new();
    let (mut frame, mut port) = (0, 0);
    let mut open: Vec<&str> = Vec::new();
    let mut array: Option<Array> = None;
    for line in pdml.lines().map(str::trim) {
        if line == "</field>" {
            let closed = open.pop();
            let is_outermost = closed == Some("resp.array") && !open.contains(&"resp.array");
            if let Some(array) = array.take_if(|_| is_outermost)
                && !array.is_partial
                && array.declared == Some(array.words.len())
                && !array.words.is_empty()
            {
                dissected.push(Dissected { frame, port, words: array.words });
            }
            continue;
        }
        if !line.starts_with("<field ") {
            continue;
        }
        let name = attribute(line, "name").unwrap_or_default();
        let number = || attribute(line, "show").and_then(|text| text.parse().ok());
        match (name, &mut array) {
            ("num", _) => frame = number().expect("a frame's number"),
            ("tcp.srcport", _) => port = number().map(|port: u32| port as u16).expect("a port"),
            ("resp.array", array @ None) => *array = Some(Array::default()),
            ("resp.array.length", Some(array)) => array.declared = number().map(|length: u32| length as usize),
            ("resp.bulk_string", Some(array)) => array.words.push(Vec::new()),
            ("resp.bulk_string.value", Some(array)) => {
                let word = array.words.last_mut().expect("a value is one of a string");
                *word = bytes(attribute(line, "value").unwrap_or_default());
            }
            // An array in an array is no request either.
            ("resp.array" | "resp.partial" | "resp.reassembled_in_next_frame", Some(array)) => array.is_partial = true,
            _ => {}
        }
        if !line.ends_with("/>") {
            open.push(name);
        }
    }
    dissected
}

fn attribute<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = line.split_once(&format!(" {name}=\""))?;
    rest.split_once('"').map(|(value, _)| value)
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len() / 2).map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).expect("hex")).collect()
}
