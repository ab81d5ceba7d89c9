//! Capture files as a whole: formats, compression, faults.

use std::fs::File;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::process::{Command, Stdio};

use super::super::LinkType;
use super::super::write::PcapWriter;
use super::bytes::Order;
use super::testing::{
    Files, MICROSECONDS, MODIFIED, NANOSECONDS, Owned, RawPcap, RawPcapng, drain, ethernet, frames_of, open_mapped,
    read, read_both_ways,
};
use super::*;
use crate::units::Timestamp;

const SECOND: u64 = 1_000_000_000;
const ORDERS: [Order; 2] = [Order::Little, Order::Big];

/// A pcap file with frames of 0 to 200 bytes, longer than the test's buffer.
pub(super) fn small_pcap() -> (Vec<u8>, Vec<Owned>) {
    let mut file = RawPcap::new(Order::Little, NANOSECONDS, 65535, 1);
    let mut frames = Vec::new();
    for (i, length) in [60, 0, 1, 200, 63, 64, 65].into_iter().enumerate() {
        let data: Vec<u8> = (0..length).collect();
        file = file.packet((5, i as u32), &data);
        frames.push(ethernet(5 * SECOND + i as u64, &data));
    }
    (file.bytes, frames)
}

/// A pcapng file with everything in it, and the frames of it that can be read.
pub(super) fn small_pcapng() -> (Vec<u8>, Vec<Owned>) {
    let file = RawPcapng::new(Order::Big)
        .interface(1, 0, &[])
        .interface(105, 0, &[])
        .interface(101, 96, &[(2, b"eth7"), (9, &[9])])
        .packet(0, 1_000_001, b"first, in microseconds")
        .block(0x0bad, b"custom")
        .packet(1, 5, b"wireless")
        .packet_cut(2, 2 * SECOND + 7, b"raw", 1500)
        .section(Order::Little)
        .interface(276, 0, &[(9, &[0x80 | 0x14]), (14, &100i64.to_le_bytes())])
        .packet(0, 3 << 19, b"binary fractions, and a second section")
        .obsolete_packet(0, 1 << 20, b"obsolete")
        .simple_packet(6, b"simple");
    let frames = vec![
        ethernet(SECOND + 1000, b"first, in microseconds"),
        Owned { at: 2 * SECOND + 7, wire_len: 1500, link: LinkType::RawIp, bytes: b"raw".to_vec() },
        Owned {
            link: LinkType::LinuxSll2,
            ..ethernet(101 * SECOND + SECOND / 2, b"binary fractions, and a second section")
        },
        Owned { link: LinkType::LinuxSll2, ..ethernet(101 * SECOND, b"obsolete") },
        Owned { link: LinkType::LinuxSll2, ..ethernet(101 * SECOND, b"simple") },
    ];
    (file.bytes, frames)
}

pub(super) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub(super) fn zstd(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = ::zstd::Encoder::new(Vec::new(), 1).unwrap();
    encoder.include_checksum(true).unwrap();
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn pcap_is_read_in_both_byte_orders_and_all_its_variants() {
    let files = Files::new();
    for order in ORDERS {
        for (magic, unit) in [(MICROSECONDS, 1000), (NANOSECONDS, 1), (MODIFIED, 1000)] {
            let file = RawPcap::new(order, magic, 65535, 1).packet((1_700_000_000, 999_999), b"one").record(
                (4_294_967_295, 1),
                3,
                70_000,
                b"two",
            );
            let expected = [
                ethernet(1_700_000_000 * SECOND + 999_999 * unit, b"one"),
                Owned { wire_len: 70_000, ..ethernet(4_294_967_295 * SECOND + unit, b"two") },
            ];
            assert_eq!(frames_of(&files.write("a", &file.bytes)), expected, "{order:?} {magic:x}");
        }
    }
}

#[test]
fn pcap_link_types_are_told_by_number_whatever_is_said_of_check_sequences() {
    let files = Files::new();
    let known = [
        (0, LinkType::Null),
        (1, LinkType::Ethernet),
        (0x5400_0001, LinkType::Ethernet),
        (108, LinkType::Loop),
        (101, LinkType::RawIp),
        (12, LinkType::RawIp),
        (14, LinkType::RawIp),
        (228, LinkType::RawIp),
        (229, LinkType::RawIp),
        (113, LinkType::LinuxSll),
        (276, LinkType::LinuxSll2),
    ];
    for (number, link) in known {
        let file = RawPcap::new(Order::Big, MICROSECONDS, 0, number).packet((0, 0), b"x");
        assert_eq!(frames_of(&files.write("a", &file.bytes))[0].link, link, "{number}");
    }
    let (frames, error) = read_both_ways(&files.write("b", &RawPcap::new(Order::Little, MICROSECONDS, 0, 105).bytes));
    let error = error.unwrap();
    assert!(frames.is_empty() && matches!(error.fault, Fault::LinkType { number: 105 }));
    assert!(error.to_string().contains("link type 105 (IEEE 802.11) is not supported"), "{error}");
}

#[test]
fn impossible_fractions_and_lengths_of_pcap_are_tolerated() {
    let files = Files::new();
    let file = RawPcap::new(Order::Little, MICROSECONDS, 4, 1)
        .packet((7, u32::MAX), b"longer than the snap length")
        .record((8, 1_000_000), 3, 2, b"abc");
    let expected = [
        ethernet(7 * SECOND + 999_999_000, b"longer than the snap length"),
        ethernet(8 * SECOND + 999_999_000, b"abc"),
    ];
    assert_eq!(frames_of(&files.write("a", &file.bytes)), expected);
    let file = RawPcap::new(Order::Little, NANOSECONDS, 4, 1).packet((7, u32::MAX), b"");
    assert_eq!(frames_of(&files.write("b", &file.bytes)), [ethernet(7 * SECOND + 999_999_999, b"")]);
}

#[test]
fn an_absurd_captured_length_is_an_error_with_its_place_and_the_frames_before_it_are_read() {
    let files = Files::new();
    // The declared snap length raises the bound, but not for ever.
    for (snap_len, limit) in [(0, 262_144), (300_000, 300_000), (u32::MAX, 16 << 20)] {
        let file = RawPcap::new(Order::Little, MICROSECONDS, snap_len, 1).packet((1, 0), b"good").record(
            (2, 0),
            limit + 1,
            limit + 1,
            b"bad",
        );
        let (frames, error) = read_both_ways(&files.write("a", &file.bytes));
        assert_eq!(frames, [ethernet(SECOND, b"good")]);
        let error = error.unwrap();
        let expected = format!("at byte 44: {} bytes, where at most {limit} are possible", limit + 1);
        assert!(error.to_string().contains(&expected), "{error}");
        assert!(!error.is_cut_short());

        let file = RawPcap::new(Order::Little, MICROSECONDS, snap_len, 1).record((2, 0), limit, limit, b"bad");
        let (_, error) = read_both_ways(&files.write("b", &file.bytes));
        let Fault::CutShort { offset: 24, needed, available: 19 } = error.unwrap().fault else { panic!() };
        assert_eq!(needed, limit as u64 + 16, "the longest frame is believed, and waited for without being allocated");
    }
}

#[test]
fn a_frame_longer_than_the_buffer_makes_it_grow() {
    let files = Files::new();
    let long: Vec<u8> = (0..200_000u32).map(|i| i as u8).collect();
    let file = RawPcap::new(Order::Little, MICROSECONDS, 0, 1).packet((1, 0), b"a").packet((2, 0), &long);
    assert_eq!(frames_of(&files.write("a", &file.bytes)), [ethernet(SECOND, b"a"), ethernet(2 * SECOND, &long)]);
}

#[test]
fn pcapng_is_read_with_its_sections_interfaces_and_kinds_of_packets() {
    let files = Files::new();
    let (bytes, expected) = small_pcapng();
    let path = files.write("a", &bytes);
    assert_eq!(frames_of(&path), expected);
    for mmap in [true, false] {
        let mut source = FileSource::open(&path, OpenOptions { mmap }).unwrap();
        drain(&mut source);
        let facts = source.facts();
        assert_eq!((facts.format, facts.interfaces, facts.untimed), ("pcapng", 4, 1));
        assert_eq!(facts.resolution, TimeResolution::PowerOfTen(9), "finer than 2^-20");
        assert_eq!(facts.unreadable, [Unreadable { number: 105, name: "IEEE 802.11", packets: 1 }]);
        assert_eq!((facts.size_bytes, source.position()), (Some(bytes.len() as u64), bytes.len() as u64));
    }
}

#[test]
fn pcapng_times_follow_their_interfaces_resolution_and_offset() {
    let files = Files::new();
    let big = u64::MAX;
    let cases: [(u8, i64, u64, u64); 13] = [
        (0, 0, 5, 5 * SECOND),
        (3, 0, 5001, 5 * SECOND + 1_000_000),
        (6, -1, 5_000_001, 4 * SECOND + 1000),
        (9, 3, 5, 3 * SECOND + 5),
        (12, 0, 5_000_999, 5000),
        (28, 0, big, 1),
        (29, 0, big, 0),
        (127, 1, big, SECOND),
        (0, 0, big, u64::MAX),
        (9, i64::MIN, 5, 0),
        (9, i64::MAX, 5, i64::MAX as u64 + 5),
        (0x80 | 0x0a, 0, 1536, SECOND + SECOND / 2),
        (0xff, 0, big, 0),
    ];
    for (resolution, offset, ticks, expected) in cases {
        let file = RawPcapng::new(Order::Little)
            .interface(1, 0, &[(14, &offset.to_le_bytes()), (9, &[resolution])])
            .packet(0, ticks, b"x");
        let frames = frames_of(&files.write("a", &file.bytes));
        assert_eq!(frames[0].at, expected, "resolution {resolution} offset {offset} ticks {ticks}");
    }
}

#[test]
fn a_simple_packet_is_as_long_as_its_snap_length_and_block_allow() {
    let files = Files::new();
    let file = RawPcapng::new(Order::Little)
        .interface(1, 4, &[])
        .simple_packet(10, b"abcd")
        .section(Order::Big)
        .interface(1, 0, &[])
        .simple_packet(3, b"xyz")
        .simple_packet(1000, b"cut!");
    let expected = [
        Owned { wire_len: 10, ..ethernet(0, b"abcd") },
        ethernet(0, b"xyz"),
        Owned { wire_len: 1000, ..ethernet(0, b"cut!") },
    ];
    let path = files.write("a", &file.bytes);
    assert_eq!(frames_of(&path), expected);
    for mmap in [true, false] {
        let mut source = FileSource::open(&path, OpenOptions { mmap }).unwrap();
        drain(&mut source);
        assert_eq!(source.facts().untimed, 3, "each is counted once, streamed too");
    }
}

#[test]
fn a_pcapng_file_without_any_readable_interface_is_an_error_that_names_the_link_type() {
    let files = Files::new();
    let file = RawPcapng::new(Order::Little).interface(9, 0, &[]).interface(127, 0, &[]).packet(1, 0, b"x");
    let (frames, error) = read_both_ways(&files.write("a", &file.bytes));
    assert!(frames.is_empty());
    assert!(error.unwrap().to_string().contains("127 (IEEE 802.11 with radiotap header)"));
    // Nothing but headers is a capture that found nothing.
    assert!(frames_of(&files.write("b", &RawPcapng::new(Order::Big).bytes)).is_empty());
}

#[test]
fn damaged_pcapng_blocks_are_errors_with_their_place() {
    let files = Files::new();
    let start = || RawPcapng::new(Order::Little).interface(1, 0, &[]).packet(0, 1, b"good");
    let at = start().bytes.len();
    let patched = |length: u32| {
        let mut file = start().block(0x0bad, b"custom");
        file.bytes[at + 4..at + 8].copy_from_slice(&length.to_le_bytes());
        file.bytes
    };
    let mut long_packet = start().packet(0, 2, b"bad");
    long_packet.bytes[at + 20..at + 24].copy_from_slice(&4000u32.to_le_bytes());
    let mut no_order = start().section(Order::Little);
    no_order.bytes[at + 8] = 0;
    let mut version = start().section(Order::Little);
    version.bytes[at + 12] = 2;
    let cases: [(Vec<u8>, &str); 11] = [
        (patched(0xffff_fff0), "absurd length of a block at byte 96: 4294967280 bytes"),
        (patched(8), "absurd length of a block at byte 96: 8 bytes, where at least 12"),
        (patched(18), "not a multiple of 4"),
        (patched(16), "two lengths differ"),
        (patched(1 << 20), "cut short: the packet at byte 96 takes 1048576 bytes, but only 20 are there"),
        (long_packet.bytes, "absurd length of a packet at byte 96: 4000 bytes, where at most 16"),
        (start().packet(1, 2, b"bad").bytes, "a packet of an interface"),
        (start().section(Order::Little).simple_packet(1, b"x").bytes, "a packet of an interface"),
        (start().block(6, b"").bytes, "absurd length of a packet block at byte 96: 12 bytes, where at least 32"),
        (no_order.bytes, "without its byte-order magic"),
        (version.bytes, "pcapng version 2.0 at byte 96"),
    ];
    assert_eq!(at, 96, "the offsets above");
    for (bytes, message) in cases {
        let (frames, error) = read_both_ways(&files.write("a", &bytes));
        assert_eq!(frames, [ethernet(1000, b"good")], "{message}");
        let error = error.unwrap().to_string();
        assert!(error.contains(message), "{error:?} does not say {message:?}");
    }
}

#[test]
fn interface_options_that_run_over_their_block_are_left_unread() {
    let files = Files::new();
    let mut file = RawPcapng::new(Order::Little).interface(1, 0, &[(9, &[9])]);
    let option = file.bytes.len() - 4 - 4 - 8;
    assert_eq!(file.bytes[option], 9, "the option's code");
    file.bytes[option + 2..option + 4].copy_from_slice(&u16::MAX.to_le_bytes());
    let file = file.packet(0, 1, b"x");
    assert_eq!(frames_of(&files.write("a", &file.bytes))[0].at, 1000, "microseconds, the default");
}

#[test]
fn compressed_captures_are_told_by_their_first_bytes_and_read_over_all_members() {
    let files = Files::new();
    for (bytes, frames) in [small_pcap(), small_pcapng()] {
        let (head, tail) = bytes.split_at(bytes.len() / 2);
        let skippable = [0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3];
        let cases = [
            (gzip(&bytes), Compression::Gzip),
            ([gzip(head), gzip(b""), gzip(tail)].concat(), Compression::Gzip),
            (zstd(&bytes), Compression::Zstd),
            ([zstd(head), zstd(tail)].concat(), Compression::Zstd),
            ([skippable.to_vec(), zstd(&bytes)].concat(), Compression::Zstd),
        ];
        for (compressed, compression) in cases {
            let path = files.write("no-telling-name", &compressed);
            let mut source = FileSource::open(&path, OpenOptions { mmap: true }).unwrap();
            assert!(source.mapping().is_none());
            let (read, error) = drain(&mut source);
            assert!(error.is_none(), "{}", error.unwrap());
            assert_eq!(read, frames);
            assert_eq!(source.facts().compression, compression);
            let size = compressed.len() as u64;
            assert_eq!((source.facts().size_bytes, source.position()), (Some(size), size));
        }
    }
}

#[test]
fn damaged_and_cut_short_compression_gives_what_is_before_it_and_then_an_error() {
    let files = Files::new();
    let mut state = 1u64;
    let noise = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    };
    let data: Vec<u8> = (0..900_000).map(noise).collect();
    let mut file = RawPcap::new(Order::Little, MICROSECONDS, 0, 1);
    for (i, packet) in data.chunks(1000).enumerate() {
        file = file.packet((i as u32, 0), packet);
    }
    let (all, _) = read(&files.write("plain", &file.bytes), false);
    assert_eq!(all.len(), 900);
    for (compressed, name) in [(gzip(&file.bytes), "gzip"), (zstd(&file.bytes), "zstd")] {
        let (frames, error) = read(&files.write("a", &compressed[..compressed.len() / 2]), true);
        let error = error.unwrap();
        assert!(error.is_cut_short() && error.to_string().contains(name), "{error}");
        assert!(frames.len() > 100 && all.starts_with(&frames), "{name}: {} frames", frames.len());

        // The checksum is what tells of damage for sure: zstd's last four bytes, gzip's last but four.
        let mut damaged = compressed;
        let checksum = damaged.len() - if name == "gzip" { 8 } else { 4 };
        damaged[checksum] ^= 1;
        let (frames, error) = read(&files.write("b", &damaged), true);
        let error = error.unwrap();
        assert!(matches!(error.fault, Fault::Compression { .. }) && !error.is_cut_short(), "{name}: {error}");
        assert_eq!(frames, all, "{name}");
    }
    let (_, error) = read(&files.write("c", &gzip(b"")), true);
    assert!(matches!(error.unwrap().fault, Fault::Empty));
}

#[test]
fn what_is_no_capture_file_is_refused_with_the_reason() {
    let files = Files::new();
    let fault = |path: &Path| {
        let (frames, error) = read_both_ways(path);
        assert!(frames.is_empty());
        error.unwrap()
    };
    let missing = fault(&files.path().join("missing"));
    assert!(matches!(missing.fault, Fault::Missing) && missing.to_string().contains("missing: there is no such file"));
    assert!(matches!(fault(files.path()).fault, Fault::Directory));
    assert!(matches!(fault(&files.write("empty", b"")).fault, Fault::Empty));
    for (bytes, expected) in [
        (&b"hello, world"[..], "starts with 68 65 6c 6c; pcap and pcapng are read"),
        (b"hi", "starts with 68 69;"),
        (b"\xfd7zXZ\0", "this looks like xz: decompress it first"),
        (b"snoop\0\0\0", "this looks like snoop: convert it"),
        (b"\xd4\xc3\xb2\xa1\x09\0\x04\0................", "pcap version 9.4"),
    ] {
        let error = fault(&files.write("other", bytes)).to_string();
        assert!(error.contains(expected), "{error:?} does not say {expected:?}");
    }
}

#[test]
fn an_input_that_fails_to_be_read_is_named_with_the_reason() {
    // A process's own memory can be opened; its page at address 0 can't be read.
    let error = FileSource::open(Path::new("/proc/self/mem"), OpenOptions { mmap: true }).unwrap_err();
    assert!(matches!(error.fault, Fault::Read { offset: 0, .. }), "{error}");
}

#[test]
fn a_file_cut_at_any_byte_gives_every_whole_frame_and_then_says_so() {
    let files = Files::new();
    for (bytes, frames) in [small_pcap(), small_pcapng()] {
        let mut complete = 0;
        for cut in 0..bytes.len() {
            let (read, error) = read_both_ways(&files.write("a", &bytes[..cut]));
            assert!(frames.starts_with(&read), "cut at {cut}");
            // Only the frames' own ends may add a frame, one at a time.
            assert!(read.len() == complete || read.len() == complete + 1, "cut at {cut}");
            complete = read.len();
            match error {
                None => {}
                Some(error) if error.is_cut_short() => {}
                Some(error) => assert!(cut < 4, "cut at {cut}: {error}"),
            }
        }
        assert_eq!(complete, frames.len() - 1);
    }
}

#[test]
fn frames_of_a_mapped_file_are_slices_of_its_mapping() {
    let files = Files::new();
    let (bytes, frames) = small_pcap();
    let mut source = open_mapped(&files.write("a", &bytes));
    let mapping = source.mapping().unwrap();
    assert_eq!(&mapping[..], bytes);
    let mut places = Vec::new();
    let polled =
        source.poll(100, &mut |frame| places.push((mapping.offset_of(frame.bytes), frame.bytes.len()))).unwrap();
    assert_eq!(polled, Polled::Frames(frames.len()));
    mapping.release(0..mapping.len());
    for ((offset, length), frame) in places.into_iter().zip(frames) {
        let offset = offset.expect("it lies in the mapping");
        assert_eq!(mapping[offset..offset + length], frame.bytes, "read again after the pages were given back");
    }
    assert_eq!(mapping.offset_of(&bytes), None);
}

#[test]
fn a_file_that_somebody_writes_to_is_read_through_a_buffer() {
    let files = Files::new();
    let (bytes, frames) = small_pcap();
    let path = files.write("a", &bytes);
    let writer = File::options().append(true).open(&path).unwrap();
    let mut source = FileSource::open(&path, OpenOptions { mmap: true }).unwrap();
    assert!(source.mapping().is_none());
    // What would kill a process that had mapped the file only cuts it short for us.
    writer.set_len(bytes.len() as u64 - 1).unwrap();
    let (read, error) = drain(&mut source);
    assert!(error.unwrap().is_cut_short());
    assert_eq!(read, frames[..frames.len() - 1]);
    drop(writer);
    open_mapped(&path);
}

#[test]
fn a_pipe_is_streamed_though_it_brings_a_byte_at_a_time() {
    let (bytes, frames) = small_pcapng();
    let (reader, mut writer) = std::io::pipe().unwrap();
    let path = format!("/proc/self/fd/{}", reader.as_raw_fd());
    let trickle = std::thread::spawn(move || {
        for byte in bytes {
            writer.write_all(&[byte]).unwrap();
        }
    });
    let mut source = FileSource::open(Path::new(&path), OpenOptions { mmap: true }).unwrap();
    drop(reader);
    assert_eq!((source.mapping().is_none(), source.facts().size_bytes), (true, None));
    let (read, error) = drain(&mut source);
    assert!(error.is_none());
    assert_eq!(read, frames);
    trickle.join().unwrap();
}

/// Starts itself again with a capture on standard input.
#[test]
fn standard_input_is_read_plain_and_compressed() {
    const CHILD: &str = "RESPTAP_TEST_READS_STANDARD_INPUT";
    let (bytes, frames) = small_pcap();
    if std::env::var_os(CHILD).is_some() {
        let (read, error) = read(Path::new("-"), true);
        assert!(error.is_none());
        assert_eq!(read, frames);
        return;
    }
    let name = std::thread::current().name().expect("tests are threads of their name").to_owned();
    for input in [bytes.clone(), gzip(&bytes), zstd(&bytes)] {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", &name])
            .env(CHILD, "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(&input).unwrap();
        let output = child.wait_with_output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && text.contains("1 passed"), "{text}");
    }
}

#[test]
fn what_the_writer_writes_is_read_back() {
    let files = Files::new();
    for (nanoseconds, at) in [(true, 17 * SECOND + 123_456_789), (false, 17 * SECOND + 123_456_000)] {
        for link in [LinkType::Ethernet, LinkType::RawIp, LinkType::LinuxSll2] {
            let mut writer = PcapWriter::new(Vec::new(), link, nanoseconds).unwrap();
            writer.frame(Timestamp(17 * SECOND + 123_456_789), b"frame", 99).unwrap();
            assert!(writer.frame(Timestamp(u64::MAX), b"", 0).is_err(), "pcap ends in 2106");
            let path = files.write("a", &writer.finish().unwrap());
            let expected = [Owned { at, wire_len: 99, link, bytes: b"frame".to_vec() }];
            assert_eq!(frames_of(&path), expected);
            let facts = FileSource::open(&path, OpenOptions { mmap: true }).unwrap().facts();
            let unit = if nanoseconds { "nanoseconds" } else { "microseconds" };
            assert_eq!((facts.format, facts.resolution.to_string().as_str()), ("pcap", unit));
        }
    }
}

#[test]
fn a_source_and_its_mapping_can_be_sent_to_other_threads() {
    fn is_send<T: Send>() {}
    fn is_sync<T: Sync>() {}
    is_send::<FileSource>();
    is_send::<Arc<Mapping>>();
    is_sync::<Mapping>();
    is_send::<FileError>();
}
