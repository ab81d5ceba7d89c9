//! The XDP program on an interface: loaded with what it is to keep, attached by a link that ends with this process however it
//! ends, and asked what it counted.
//!
//! The object is compiled from `program/tap.bpf.c` by `scripts/xdp-program`; what both sides know is repeated here.

use std::error::Error;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use aya::maps::{Array, MapData, PerCpuArray, XskMap};
use aya::programs::{ProgramError, Xdp};
use aya::{Ebpf, EbpfLoader, include_bytes_aligned};
use memmap2::{MmapOptions, MmapRaw};

use crate::capture::Others;
use crate::capture::spread::Spread;

static OBJECT: &[u8] = include_bytes_aligned!("program/tap.bpf.o");

/// Bytes before a frame that is kept.
pub(super) const STAMP_BYTES: usize = size_of::<Stamp>();

/// What stands before a frame that is kept: `struct stamp` of the program.
#[repr(C)]
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Stamp {
    at_ns: u64,
    check: u64,
}

impl Stamp {
    /// The time, if it is a stamp.
    #[inline]
    pub(super) fn at_ns(self) -> Option<u64> {
        (self.check == !self.at_ns && self.at_ns > 0).then_some(self.at_ns)
    }
}

/// Where in the kernel a program sees frames.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Hook {
    /// In the driver.
    Driver,
    /// Behind it, which every driver allows.
    Generic,
}

/// What became of a frame: `enum verdict` of the program.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// A segment of TCP of the observed ports: kept.
    Kept,
    /// A fragment: kept.
    Fragment,
    /// Kept because the program did not decide.
    Undecided,
    /// Not kept: no IP packet.
    NotIp,
    /// Not kept: no TCP.
    NotTcp,
    /// Not kept: of other ports.
    OtherPort,
    /// Not kept: it ends within its headers, or they are none.
    Broken,
    /// To be kept, but its queue had no socket.
    NoSocket,
    /// Not instead of the others: it was kept without the time at which it was received.
    Unstamped,
    /// Not kept: of a connection that is left out.
    Shed,
}

impl Verdict {
    /// All of them, in the program's order, with their names in the summary.
    pub const ALL: [(Verdict, &str); 10] = [
        (Verdict::Kept, "kept"),
        (Verdict::Fragment, "fragments"),
        (Verdict::Undecided, "undecided"),
        (Verdict::NotIp, "not_ip"),
        (Verdict::NotTcp, "not_tcp"),
        (Verdict::OtherPort, "other_port"),
        (Verdict::Broken, "broken"),
        (Verdict::NoSocket, "no_socket"),
        (Verdict::Unstamped, "unstamped"),
        (Verdict::Shed, "shed"),
    ];
}

const VERDICTS: u32 = Verdict::ALL.len() as u32;

/// How many frames of a queue became what.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Verdicts([u64; VERDICTS as usize]);

impl std::ops::Index<Verdict> for Verdicts {
    type Output = u64;

    fn index(&self, verdict: Verdict) -> &u64 {
        &self.0[verdict as usize]
    }
}

impl Verdicts {
    /// Frames that were handed to the queue's socket.
    pub fn redirected(&self) -> u64 {
        self[Verdict::Kept] + self[Verdict::Fragment] + self[Verdict::Undecided]
    }
}

/// The program, loaded; attached or not.
#[derive(Debug)]
pub(super) struct Program {
    bpf: Ebpf,
    number: i32,
    workers: u32,
    /// For each socket, the part below which its connections are left out: the program's own memory.
    shed: MmapRaw,
    link: Mutex<Option<OwnedFd>>,
}

impl Program {
    /// Loads it for an interface with so many queues, whose frames it spreads over the workers.
    pub(super) fn load(number: i32, queues: u32, ports: &[u16], others: Others, spread: Spread) -> io::Result<Program> {
        // `enum xdp_action` of linux/bpf.h.
        let action: u32 = match others {
            Others::Drop => 1,
            Others::Pass => 2,
        };
        let mut loader = EbpfLoader::new();
        loader.override_global("others", &action, true);
        loader.override_global("workers", &spread.workers, true);
        loader.override_global("secret", &spread.secret, true);
        let sockets = queues * spread.workers;
        loader.map_max_entries("sockets", sockets).map_max_entries("shed", sockets);
        loader.map_max_entries("counts", queues * VERDICTS);
        let mut bpf = loader.load(OBJECT).map_err(|error| os_error(&error))?;
        let mut bits = [0u8; 8192];
        for port in ports {
            bits[usize::from(port >> 3)] |= 1 << (port & 7);
        }
        let mut map: Array<&mut MapData, [u8; 8192]> = map(bpf.map_mut("ports"))?;
        map.set(0, bits, 0).map_err(|error| os_error(&error))?;
        let shed = mapped(bpf.map("shed"), sockets as usize * size_of::<u64>())?;
        let program = bpf.program_mut("resptap_tap").ok_or(io::ErrorKind::NotFound)?;
        let program: &mut Xdp = program.try_into().map_err(|error| os_error(&error))?;
        program.load().map_err(|error| refused(&error))?;
        Ok(Program { bpf, number, workers: spread.workers, shed, link: Mutex::new(None) })
    }

    /// A worker's frames of a queue go to this socket.
    pub(super) fn set_socket(&mut self, queue: u32, worker: u32, socket: RawFd) -> io::Result<()> {
        let mut sockets: XskMap<&mut MapData> = map(self.bpf.map_mut("sockets"))?;
        sockets.set(queue * self.workers + worker, socket, 0).map_err(|error| os_error(&error))
    }

    /// Attaches it.
    pub(super) fn attach(&self, hook: Hook) -> io::Result<()> {
        let program = self.bpf.program("resptap_tap").ok_or(io::ErrorKind::NotFound)?;
        let program: &Xdp = program.try_into().map_err(|error| os_error(&error))?;
        let program = program.fd().map_err(|error| os_error(&error))?;
        *self.link() = Some(create_link(program.as_fd(), self.number, hook)?);
        Ok(())
    }

    /// Takes it off the interface; what it counted stays.
    pub(super) fn detach(&self) {
        self.link().take();
    }

    fn link(&self) -> std::sync::MutexGuard<'_, Option<OwnedFd>> {
        self.link.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Of the frames that go to a worker's socket on a queue, those of connections of the parts below this one are left out.
    #[expect(clippy::cast_ptr_alignment, reason = "a mapping begins with a page")]
    pub(super) fn leave_out(&self, queue: u32, worker: u32, below: usize) {
        let place = (queue * self.workers + worker) as usize;
        assert!((place + 1) * size_of::<u64>() <= self.shed.len(), "there is one for each socket");
        // SAFETY: the number lies in the mapping, which is aligned, and the program reads it as one word.
        let number = unsafe { AtomicU64::from_ptr(self.shed.as_mut_ptr().cast::<u64>().add(place)) };
        number.store(below as u64, Ordering::Relaxed);
    }

    /// How many frames of a queue became that so far.
    pub(super) fn count(&self, queue: u32, verdict: Verdict) -> io::Result<u64> {
        let counts: PerCpuArray<&MapData, u64> = map(self.bpf.map("counts"))?;
        let of_cores = counts.get(&(queue * VERDICTS + verdict as u32), 0).map_err(|error| os_error(&error))?;
        Ok(of_cores.iter().sum())
    }

    /// What became of a queue's frames so far.
    pub(super) fn verdicts(&self, queue: u32) -> io::Result<Verdicts> {
        let mut verdicts = Verdicts::default();
        for (verdict, _) in Verdict::ALL {
            verdicts.0[verdict as usize] = self.count(queue, verdict)?;
        }
        Ok(verdicts)
    }
}

/// A map of the object, as what it is.
fn map<'b, M, T>(found: Option<M>) -> io::Result<T>
where
    M: 'b,
    T: TryFrom<M, Error = aya::maps::MapError>,
{
    let found = found.ok_or(io::ErrorKind::NotFound)?;
    T::try_from(found).map_err(|error| os_error(&error))
}

/// The memory of a map that is one array of so many bytes.
fn mapped(found: Option<&aya::maps::Map>, bytes: usize) -> io::Result<MmapRaw> {
    let Some(aya::maps::Map::Array(array)) = found else { return Err(io::ErrorKind::NotFound.into()) };
    MmapOptions::new().len(bytes).map_raw(array.fd().as_fd().as_raw_fd())
}

/// The arguments of `BPF_LINK_CREATE` (`union bpf_attr` of linux/bpf.h, `link_create`).
#[repr(C)]
struct LinkCreate {
    program: u32,
    interface: u32,
    kind: u32,
    flags: u32,
}

/// Attaches a program by a link, which the kernel undoes when its descriptor is closed, also by SIGKILL. Not by way of aya: where
/// the kernel has no such links, that attaches by netlink, which would outlive this process.
fn create_link(program: BorrowedFd<'_>, interface: i32, hook: Hook) -> io::Result<OwnedFd> {
    const BPF_LINK_CREATE: libc::c_int = 28;
    const BPF_XDP: u32 = 37;
    const XDP_FLAGS_SKB_MODE: u32 = 2;
    const XDP_FLAGS_DRV_MODE: u32 = 4;
    let flags = match hook {
        Hook::Driver => XDP_FLAGS_DRV_MODE,
        Hook::Generic => XDP_FLAGS_SKB_MODE,
    };
    let attributes = LinkCreate {
        program: program.as_raw_fd().cast_unsigned(),
        interface: interface.cast_unsigned(),
        kind: BPF_XDP,
        flags,
    };
    // SAFETY: the kernel reads that many bytes of the attributes, which live.
    let fd = unsafe { libc::syscall(libc::SYS_bpf, BPF_LINK_CREATE, &raw const attributes, size_of::<LinkCreate>()) };
    match i32::try_from(fd) {
        // SAFETY: the descriptor is open, and nobody else's.
        Ok(fd) if fd >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Why the kernel did not take the program: where its verifier has objections, the last of what it says.
fn refused(error: &ProgramError) -> io::Error {
    match error {
        ProgramError::LoadError { io_error, verifier_log } if io_error.raw_os_error() == Some(libc::EACCES) => {
            let said = verifier_log.to_string();
            let last = said.lines().rev().filter(|line| !line.trim().is_empty()).take(4);
            let last: Vec<&str> = last.collect::<Vec<_>>().into_iter().rev().collect();
            io::Error::other(format!("this kernel's verifier refuses it: {}", last.join(" / ")))
        }
        _ => os_error(error),
    }
}

/// The system's error behind one of aya; without one, what aya says.
fn os_error(error: &(dyn Error + 'static)) -> io::Error {
    let mut at = Some(error);
    while let Some(error) = at {
        if let Some(number) = error.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error) {
            return io::Error::from_raw_os_error(number);
        }
        at = error.source();
    }
    io::Error::other(format!("{error} ({error:?})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[ignore = "needs root: scripts/test runs it"]
    fn the_kernels_verifier_takes_the_program() {
        Program::load(1, 2, &[6379], Others::Pass, Spread { workers: 3, secret: 7 }).unwrap();
    }

    #[test]
    #[ignore = "needs root: scripts/test runs it"]
    fn each_socket_has_its_own_part_below_which_connections_are_left_out() {
        let program = Program::load(1, 2, &[6379], Others::Pass, Spread { workers: 3, secret: 7 }).unwrap();
        for (queue, worker, below) in [(0, 0, 9), (0, 2, 8), (1, 0, 7), (1, 2, 255)] {
            program.leave_out(queue, worker, below);
        }
        let shed: Array<&MapData, u64> = map(program.bpf.map("shed")).unwrap();
        let told: Vec<u64> = shed.iter().map(|below| below.unwrap()).collect();
        assert_eq!(told, [9, 0, 8, 7, 0, 255]);
    }

    #[test]
    fn a_stamp_is_told_from_what_else_is_there() {
        assert_eq!(Stamp { at_ns: 7, check: !7 }.at_ns(), Some(7));
        for (at_ns, check) in [(0, 0), (0, !0), (7, 7), (7, !6)] {
            assert_eq!(Stamp { at_ns, check }.at_ns(), None);
        }
    }
}
