//! The ring of blocks that the kernel fills with frames (`TPACKET_V3`, see packet(7) and the kernel's `packet_mmap.rst`), and
//! the walk through them.
//!
//! A block belongs to the kernel or to us, as its status says. One of ours is read frame by frame in place; it goes back when
//! [`Ring::advance`] comes to its end, so the frames of a block live until then.

use std::mem::size_of;
use std::sync::atomic::{AtomicU32, Ordering};

use libc::{sockaddr_ll, tpacket_block_desc, tpacket_hdr_v1, tpacket3_hdr};
use memmap2::MmapRaw;

use crate::capture::{Frame, LinkType};
use crate::limits::RING_BLOCK_BYTES;
use crate::units::Timestamp;

/// Where the sender's address stands behind a frame's header.
const ADDRESS_AT: usize = size_of::<tpacket3_hdr>().next_multiple_of(libc::TPACKET_ALIGNMENT);
/// Bytes of a VLAN tag.
const TAG_BYTES: usize = 4;
/// Bytes before it: the addresses.
const ADDRESSES_BYTES: usize = 12;
/// Room before each frame (`PACKET_RESERVE`), into which the addresses move when a tag is put behind them.
pub(super) const RESERVED_BYTES: u32 = libc::TPACKET_ALIGNMENT as u32;
const _: () = assert!(RESERVED_BYTES as usize >= TAG_BYTES);
/// 802.1Q, if the kernel does not say which tag it was.
const ETHERTYPE_VLAN: u16 = 0x8100;

/// The ring, and how far it has been read.
#[derive(Debug)]
pub(super) struct Ring {
    memory: MmapRaw,
    link: LinkType,
    /// Frames that this host sends are left out: on loopback each comes back as one that is received.
    leaves_out_sent: bool,
    blocks: usize,
    /// The block that is read, or waited for.
    block: usize,
    /// Whether it is ours.
    is_ours: bool,
    /// Frames of it that are left.
    left: u32,
    /// Where in the memory the next one is.
    at: usize,
    /// Frames that it is done with.
    taken: u64,
    /// Blocks that were given back.
    given: u64,
}

impl Ring {
    /// A ring in memory that was mapped from its socket, and that holds as many blocks as fit.
    pub(super) fn new(memory: MmapRaw, link: LinkType, leaves_out_sent: bool) -> Ring {
        let blocks = memory.len() / RING_BLOCK_BYTES;
        assert!(blocks > 0, "a ring has blocks");
        Ring { memory, link, leaves_out_sent, blocks, block: 0, is_ours: false, left: 0, at: 0, taken: 0, given: 0 }
    }

    /// The time of the next frame, if there is one. Gives a block back that has been read: its frames are gone then.
    pub(super) fn advance(&mut self) -> Option<Timestamp> {
        loop {
            if let Some(at) = self.next_in_block() {
                return Some(at);
            }
            if self.is_ours {
                self.status().store(libc::TP_STATUS_KERNEL, Ordering::Release);
                self.is_ours = false;
                self.given += 1;
                self.block = (self.block + 1) % self.blocks;
            }
            if !self.is_handed_over(self.block) {
                return None;
            }
            self.is_ours = true;
            // SAFETY: the block is ours until its status is stored, and begins with its descriptor.
            let description = unsafe { &(*self.description()).hdr.bh1 };
            let tpacket_hdr_v1 { num_pkts, offset_to_first_pkt, .. } = *description;
            self.left = num_pkts;
            self.at = self.block * RING_BLOCK_BYTES + offset_to_first_pkt as usize;
        }
    }

    /// The time of the next frame of the block that is read.
    pub(super) fn next_in_block(&mut self) -> Option<Timestamp> {
        while self.left > 0 {
            let header = self.header();
            if !(self.leaves_out_sent && self.is_sent()) {
                return Some(Timestamp(u64::from(header.tp_sec) * 1_000_000_000 + u64::from(header.tp_nsec)));
            }
            self.step();
        }
        None
    }

    /// The next frame of the block that is read, if there is one.
    ///
    /// # Safety
    /// It must not be used any more when [`Ring::advance`] is called the next time, nor when the ring is gone.
    pub(super) unsafe fn next_frame<'r>(&mut self) -> Option<Frame<'r>> {
        let at = self.next_in_block()?;
        let header = self.header();
        let status = header.tp_status;
        let (mut start, mut length) = (self.at + usize::from(header.tp_mac), header.tp_snaplen as usize);
        let mut wire_len = header.tp_len;
        if status & libc::TP_STATUS_VLAN_VALID != 0 && self.link == LinkType::Ethernet && length >= ADDRESSES_BYTES {
            let kind = match status & libc::TP_STATUS_VLAN_TPID_VALID {
                0 => ETHERTYPE_VLAN,
                _ => header.hv1.tp_vlan_tpid,
            };
            let [[a, b], [c, d]] = [kind.to_be_bytes(), (header.hv1.tp_vlan_tci as u16).to_be_bytes()];
            start = self.put_back([a, b, c, d], start);
            length += TAG_BYTES;
            wire_len += TAG_BYTES as u32;
        }
        debug_assert!(start + length <= (self.block + 1) * RING_BLOCK_BYTES, "a frame lies in its block");
        // SAFETY: the kernel has written the frame there, in a block that is ours until the frame is not used any more.
        let bytes = unsafe { std::slice::from_raw_parts(self.memory.as_ptr().add(start), length) };
        let link = self.link;
        self.step();
        Some(Frame { bytes, wire_len, at, link })
    }

    /// Puts a tag that the kernel took out back behind the addresses of the frame that begins at `start`; answers where it
    /// begins now.
    fn put_back(&mut self, tag: [u8; TAG_BYTES], start: usize) -> usize {
        let begin = start - TAG_BYTES;
        // SAFETY: before each frame room was reserved, and the block is ours. No frame that was handed out reaches here.
        unsafe {
            let memory = self.memory.as_mut_ptr();
            std::ptr::copy(memory.add(start), memory.add(begin), ADDRESSES_BYTES);
            std::ptr::copy_nonoverlapping(tag.as_ptr(), memory.add(begin + ADDRESSES_BYTES), TAG_BYTES);
        }
        begin
    }

    /// Frames that were handed out, or left out.
    pub(super) fn taken(&self) -> u64 {
        self.taken
    }

    /// How full it is. From the block that is read, or waited for, blocks are ours up to the first that is not.
    pub(super) fn filled(&self) -> f64 {
        let (mut ours, mut not) = (0, self.blocks + 1);
        while ours + 1 < not {
            let middle = ours.midpoint(not);
            if self.is_handed_over((self.block + middle - 1) % self.blocks) {
                ours = middle;
            } else {
                not = middle;
            }
        }
        ours as f64 / self.blocks as f64
    }

    /// How often it has been read to its end.
    pub(super) fn turned(&self) -> f64 {
        self.given as f64 / self.blocks as f64
    }

    fn step(&mut self) {
        self.left -= 1;
        self.taken += 1;
        self.at += self.header().tp_next_offset as usize;
    }

    /// The header of the next frame; there must be one.
    fn header(&self) -> &tpacket3_hdr {
        debug_assert!(self.is_ours);
        // SAFETY: the kernel has written a header there, aligned, in a block that is ours.
        unsafe { &*self.memory.as_ptr().add(self.at).cast() }
    }

    /// Whether this host sends the next frame.
    fn is_sent(&self) -> bool {
        // SAFETY: behind a header the kernel has written an address, aligned.
        let address: &sockaddr_ll = unsafe { &*self.memory.as_ptr().add(self.at + ADDRESS_AT).cast() };
        address.sll_pkttype == libc::PACKET_OUTGOING
    }

    fn description(&self) -> *mut tpacket_block_desc {
        self.description_of(self.block)
    }

    fn description_of(&self, block: usize) -> *mut tpacket_block_desc {
        self.memory.as_mut_ptr().wrapping_add(block * RING_BLOCK_BYTES).cast()
    }

    /// Whose the block is.
    fn status(&self) -> &AtomicU32 {
        self.status_of(self.block)
    }

    fn status_of(&self, block: usize) -> &AtomicU32 {
        // SAFETY: the status is aligned, lives as long as the memory, and both sides access it as one word.
        unsafe { AtomicU32::from_ptr(&raw mut (*self.description_of(block)).hdr.bh1.block_status) }
    }

    /// Whether the kernel has handed a block over.
    fn is_handed_over(&self, block: usize) -> bool {
        self.status_of(block).load(Ordering::Acquire) & libc::TP_STATUS_USER != 0
    }
}

#[cfg(test)]
#[expect(clippy::cast_ptr_alignment, reason = "blocks are aligned, and so is what lies in them")]
pub(super) mod testing {
    //! Blocks as the kernel writes them.

    use super::*;

    /// What the kernel says of a frame.
    #[derive(Clone, Copy, Default)]
    pub(in crate::capture) struct Written<'a> {
        pub(in crate::capture) at: u64,
        pub(in crate::capture) bytes: &'a [u8],
        /// Tag and its kind; the kind 0: the kernel does not say.
        pub(in crate::capture) vlan: Option<(u16, u16)>,
        pub(in crate::capture) is_sent: bool,
        /// Bytes that were not captured.
        pub(in crate::capture) cut: u32,
    }

    /// Memory of so many blocks that are all the kernel's.
    pub(in crate::capture) fn ring(blocks: usize, link: LinkType, leaves_out_sent: bool) -> Ring {
        let memory = memmap2::MmapOptions::new().len(blocks * RING_BLOCK_BYTES).map_anon().unwrap();
        Ring::new(memory.into(), link, leaves_out_sent)
    }

    impl Ring {
        /// Whether a block is the kernel's.
        pub(in crate::capture) fn is_kernels(&self, block: usize) -> bool {
            let status = self.memory.as_ptr().wrapping_add(block * RING_BLOCK_BYTES + 8).cast::<u32>();
            // SAFETY: the status stands there.
            unsafe { *status == libc::TP_STATUS_KERNEL }
        }

        /// Does what the kernel does when a block has filled or its time is over.
        pub(in crate::capture) fn fill(&self, block: usize, frames: &[Written<'_>]) {
            assert!(self.is_kernels(block));
            let base = self.memory.as_mut_ptr().wrapping_add(block * RING_BLOCK_BYTES);
            let first = size_of::<tpacket_block_desc>().next_multiple_of(8);
            let mut offset = first;
            for (place, frame) in frames.iter().enumerate() {
                let mac = (ADDRESS_AT + size_of::<sockaddr_ll>() + RESERVED_BYTES as usize).next_multiple_of(16) + 2;
                let next = (mac + frame.bytes.len()).next_multiple_of(16);
                // SAFETY: headers of zeroes are some, and the block has room for the test's few frames.
                unsafe {
                    let mut header: tpacket3_hdr = std::mem::zeroed();
                    let mut address: sockaddr_ll = std::mem::zeroed();
                    header.tp_sec = (frame.at / 1_000_000_000) as u32;
                    header.tp_nsec = (frame.at % 1_000_000_000) as u32;
                    header.tp_mac = mac as u16;
                    header.tp_snaplen = frame.bytes.len() as u32;
                    header.tp_len = header.tp_snaplen + frame.cut;
                    header.tp_next_offset = if place + 1 < frames.len() { next as u32 } else { 0 };
                    if let Some((tag, kind)) = frame.vlan {
                        header.tp_status |= libc::TP_STATUS_VLAN_VALID;
                        header.hv1.tp_vlan_tci = u32::from(tag);
                        if kind != 0 {
                            header.tp_status |= libc::TP_STATUS_VLAN_TPID_VALID;
                            header.hv1.tp_vlan_tpid = kind;
                        }
                    }
                    address.sll_pkttype = if frame.is_sent { libc::PACKET_OUTGOING } else { 0 };
                    base.add(offset).cast::<tpacket3_hdr>().write(header);
                    base.add(offset + ADDRESS_AT).cast::<sockaddr_ll>().write(address);
                    std::ptr::copy_nonoverlapping(frame.bytes.as_ptr(), base.add(offset + mac), frame.bytes.len());
                }
                offset += next;
            }
            // SAFETY: the block begins with its descriptor.
            unsafe {
                let description = &mut (*base.cast::<tpacket_block_desc>()).hdr.bh1;
                description.num_pkts = frames.len() as u32;
                description.offset_to_first_pkt = first as u32;
                description.block_status = libc::TP_STATUS_USER;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::testing::{Written, ring};
    use super::*;

    const FRAME: &[u8] = b"destinsourceXXpayload";

    fn all(ring: &mut Ring) -> Vec<(u64, Vec<u8>, u32)> {
        let mut frames = Vec::new();
        while ring.advance().is_some() {
            // SAFETY: the frame is copied at once.
            while let Some(frame) = unsafe { ring.next_frame() } {
                frames.push((frame.at.0, frame.bytes.to_vec(), frame.wire_len));
            }
        }
        frames
    }

    #[test]
    fn frames_come_in_order_around_the_ring_and_blocks_go_back_when_they_have_been_read() {
        let mut ring = ring(2, LinkType::Ethernet, false);
        assert_eq!(ring.advance(), None);
        let mut expected = Vec::new();
        for round in 0..5u64 {
            let block = round as usize % 2;
            let names: Vec<String> = (0..3).map(|n| format!("frame {n} of round {round}")).collect();
            let time = |n: usize| 7_000_000_000 * round + n as u64;
            let frames: Vec<Written<'_>> = (0..3)
                .map(|n| Written { at: time(n), bytes: names[n].as_bytes(), cut: n as u32, ..Written::default() })
                .collect();
            ring.fill(block, &frames);
            assert_eq!(ring.advance(), Some(Timestamp(7_000_000_000 * round)));
            let done = all(&mut ring);
            expected = (0..3).map(|n| (time(n), names[n].clone().into_bytes(), (names[n].len() + n) as u32)).collect();
            assert_eq!(done, expected);
            assert!(ring.is_kernels(block), "block {block} was not given back");
        }
        assert_eq!(expected.len(), 3);
    }

    #[test]
    fn it_is_as_full_as_blocks_have_been_handed_over() {
        let mut ring = ring(7, LinkType::Ethernet, false);
        let mut turned = 0;
        for come in [1, 0, 3, 7, 2, 5] {
            for place in 0..come {
                ring.fill((turned + place) % 7, &[Written { at: 1, bytes: FRAME, ..Written::default() }]);
            }
            let told = |ring: &Ring| (ring.filled(), ring.turned());
            assert_eq!(told(&ring), (come as f64 / 7.0, turned as f64 / 7.0));
            assert_eq!(all(&mut ring).len(), come);
            turned += come;
            assert_eq!(told(&ring), (0.0, turned as f64 / 7.0));
        }
    }

    #[test]
    fn a_block_is_kept_while_its_frames_may_be_used() {
        let mut ring = ring(2, LinkType::Ethernet, false);
        ring.fill(0, &[Written { at: 1, bytes: FRAME, ..Written::default() }]);
        ring.advance();
        // SAFETY: the frame is not used when the ring advances.
        let frame = unsafe { ring.next_frame() }.unwrap();
        // SAFETY: there is none.
        assert!(unsafe { ring.next_frame() }.is_none());
        assert!(!ring.is_kernels(0));
        assert_eq!(frame.bytes, FRAME);
        assert_eq!(ring.advance(), None);
        assert!(ring.is_kernels(0));
    }

    #[test]
    fn a_tag_that_the_kernel_took_out_stands_behind_the_addresses_again() {
        let mut tagged = ring(1, LinkType::Ethernet, false);
        let frame = Written { at: 1, bytes: FRAME, ..Written::default() };
        tagged.fill(
            0,
            &[Written { vlan: Some((0x600c, 0x88a8)), ..frame }, Written { vlan: Some((12, 0)), ..frame }, frame],
        );
        let frames: Vec<Vec<u8>> = all(&mut tagged).into_iter().map(|(_, bytes, _)| bytes).collect();
        assert_eq!(frames[0], b"destinsource\x88\xa8\x60\x0cXXpayload");
        assert_eq!(frames[1], b"destinsource\x81\x00\x00\x0cXXpayload");
        assert_eq!(frames[2], FRAME);
        tagged.fill(0, &[Written { vlan: Some((12, 0)), cut: 5, ..frame }]);
        assert_eq!(all(&mut tagged)[0].2, FRAME.len() as u32 + 5 + 4, "the tag was on the wire, too");
        let mut raw = ring(1, LinkType::RawIp, false);
        raw.fill(0, &[Written { vlan: Some((12, 0)), ..frame }]);
        assert_eq!(all(&mut raw)[0].1, FRAME, "without a link header there is no place for a tag");
    }

    #[test]
    fn what_loopback_sends_is_left_out_as_it_comes_back() {
        for (leaves_out, expected) in [(true, vec![2, 5]), (false, vec![1, 2, 3, 4, 5, 6])] {
            let mut ring = ring(2, LinkType::Ethernet, leaves_out);
            let frame = |at| Written { at, bytes: FRAME, ..Written::default() };
            let sent = |at| Written { is_sent: true, ..frame(at) };
            ring.fill(0, &[sent(1), frame(2), sent(3)]);
            ring.fill(1, &[sent(4), frame(5), sent(6)]);
            let times: Vec<u64> = all(&mut ring).into_iter().map(|(at, ..)| at).collect();
            assert_eq!(times, expected);
            assert!(ring.is_kernels(0) && ring.is_kernels(1));
        }
    }
}
