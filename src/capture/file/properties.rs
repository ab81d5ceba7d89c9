//! Our reader against an independent one, and mapped against buffered, on generated and on damaged files.

use std::fs::File;
use std::path::Path;

use pcap_parser::traits::PcapNGPacketBlock;
use pcap_parser::{Block, PcapBlockOwned, PcapError};
use proptest::prelude::*;

use super::bytes::Order;
use super::testing::{Files, MICROSECONDS, RawPcap, RawPcapng, frames_of, read, read_both_ways};
use super::tests::{gzip, small_pcap, small_pcapng, zstd};

/// A packet as the oracle sees it: captured bytes, wire length, time if it has one of its own.
type Packet = (Vec<u8>, u32, Option<u64>);

/// The packets of a capture, by the oracle; those of wireless interfaces left out.
fn oracle(path: &Path) -> Vec<Packet> {
    let mut reader = pcap_parser::create_reader(1 << 20, File::open(path).unwrap()).unwrap();
    let mut packets = Vec::new();
    let mut interfaces: Vec<(bool, u64)> = Vec::new();
    loop {
        match reader.next() {
            Ok((used, block)) => {
                match block {
                    PcapBlockOwned::Legacy(packet) => {
                        let at = packet.ts_sec as u64 * 1_000_000_000 + packet.ts_usec as u64 * 1000;
                        packets.push((packet.data[..packet.caplen as usize].to_vec(), packet.origlen, Some(at)));
                    }
                    PcapBlockOwned::NG(Block::SectionHeader(_)) => interfaces.clear(),
                    PcapBlockOwned::NG(Block::InterfaceDescription(interface)) => {
                        interfaces.push((interface.linktype.0 == 105, interface.ts_resolution().unwrap()));
                    }
                    PcapBlockOwned::NG(Block::EnhancedPacket(packet)) => {
                        let (wireless, ticks_per_second) = interfaces[packet.if_id as usize];
                        let ticks = (packet.ts_high as u128) << 32 | packet.ts_low as u128;
                        let at = u64::try_from(ticks * 1_000_000_000 / ticks_per_second as u128).unwrap_or(u64::MAX);
                        if !wireless {
                            packets.push((packet.packet_data().to_vec(), packet.origlen, Some(at)));
                        }
                    }
                    PcapBlockOwned::NG(Block::SimplePacket(packet)) => {
                        packets.push((packet.packet_data().to_vec(), packet.origlen, None));
                    }
                    _ => {}
                }
                reader.consume(used);
            }
            Err(PcapError::Eof) => return packets,
            Err(PcapError::Incomplete(_)) => reader.refill().unwrap(),
            Err(error) => panic!("{error}"),
        }
    }
}

#[derive(Clone, Debug)]
enum Part {
    Section(bool),
    Interface(bool, u8),
    Packet(u32, u64, Vec<u8>),
    Simple(Vec<u8>),
    Other(Vec<u8>),
}

fn data() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..150)
}

fn parts() -> impl Strategy<Value = Vec<Part>> {
    let part = prop_oneof![
        1 => any::<bool>().prop_map(Part::Section),
        2 => (any::<bool>(), 0u8..20).prop_map(|(wireless, resolution)| Part::Interface(wireless, resolution)),
        8 => (any::<u32>(), any::<u64>(), data()).prop_map(|(id, ticks, data)| Part::Packet(id, ticks, data)),
        1 => data().prop_map(Part::Simple),
        1 => data().prop_map(Part::Other),
    ];
    prop::collection::vec(part, 0..30)
}

/// A valid pcapng file of these parts. The first interface of a section is one that can be read, for simple packets.
fn assemble(parts: Vec<Part>) -> Vec<u8> {
    let mut file = RawPcapng::new(Order::Little).interface(1, 0, &[]);
    let mut interfaces = 1;
    for part in parts {
        file = match part {
            Part::Section(big) => {
                interfaces = 1;
                file.section(if big { Order::Big } else { Order::Little }).interface(1, 0, &[])
            }
            Part::Interface(wireless, resolution) => {
                interfaces += 1;
                file.interface(if wireless { 105 } else { 113 }, 0, &[(9, &[resolution])])
            }
            Part::Packet(id, ticks, data) => file.packet(id % interfaces, ticks, &data),
            Part::Simple(data) => file.simple_packet(data.len() as u32, &data),
            Part::Other(data) => file.block(0x8000_0bad, &data),
        };
    }
    file.bytes
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn pcap_and_pcapng_are_read_as_an_independent_reader_reads_them(
        parts in parts(),
        packets in prop::collection::vec((any::<u32>(), 0u32..1_000_000, data()), 0..30),
        big in any::<bool>(),
    ) {
        let files = Files::new();
        let order = if big { Order::Big } else { Order::Little };
        let mut pcap = RawPcap::new(order, MICROSECONDS, 65535, 1);
        for (seconds, fraction, data) in &packets {
            pcap = pcap.packet((*seconds, *fraction), data);
        }
        for bytes in [pcap.bytes, assemble(parts)] {
            let path = files.write("a", &bytes);
            let expected = oracle(&path);
            let ours: Vec<Packet> = frames_of(&path)
                .into_iter()
                .zip(&expected)
                .map(|(frame, (_, _, at))| (frame.bytes, frame.wire_len, at.map(|_| frame.at)))
                .collect();
            prop_assert_eq!(frames_of(&path).len(), expected.len());
            prop_assert_eq!(ours, expected);
        }
    }

    #[test]
    fn damage_never_panics_and_reads_the_same_mapped_and_buffered(
        pick in 0usize..2,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12),
        cut in any::<prop::sample::Index>(),
    ) {
        let files = Files::new();
        let (mut bytes, _) = if pick == 0 { small_pcap() } else { small_pcapng() };
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        read_both_ways(&files.write("whole", &bytes));
        read_both_ways(&files.write("cut", &bytes[..cut.index(bytes.len())]));
        for compressed in [gzip(&bytes), zstd(&bytes)] {
            let plain = read(&files.write("plain", &bytes), false).0;
            prop_assert_eq!(read(&files.write("compressed", &compressed), true).0, plain);
        }
    }

    #[test]
    fn damaged_compression_never_panics(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        of_zstd in any::<bool>(),
    ) {
        let files = Files::new();
        let (bytes, _) = small_pcapng();
        let mut compressed = if of_zstd { zstd(&bytes) } else { gzip(&bytes) };
        for (at, byte) in changes {
            let at = at.index(compressed.len());
            compressed[at] = byte;
        }
        read(&files.write("a", &compressed), true);
    }
}
