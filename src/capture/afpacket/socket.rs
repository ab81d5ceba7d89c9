//! The system calls of a packet socket (packet(7)), each as a safe function. Nothing here knows what they are for.

use std::ffi::CString;
use std::io;
use std::mem::{size_of, zeroed};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

/// A packet socket.
#[derive(Debug)]
pub(super) struct Socket(OwnedFd);

/// What a socket is bound to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Bound {
    /// Number of the interface; -1 if it is gone.
    pub(super) interface: i32,
    /// Kind of its link layer (`ARPHRD_…`).
    pub(super) hardware: u16,
}

impl Socket {
    /// A socket that receives nothing yet.
    pub(super) fn new() -> io::Result<Socket> {
        // SAFETY: no memory is passed.
        let fd = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
        checked(fd)?;
        // SAFETY: the descriptor is open, and nobody else's.
        Ok(Socket(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Sets an option of packet sockets, or of all (`level`). `T` is plain numbers, as the option wants them.
    pub(super) fn set<T>(&self, level: i32, option: i32, value: &T) -> io::Result<()> {
        let length = size_of::<T>() as libc::socklen_t;
        // SAFETY: the kernel reads that many bytes of a value that lives.
        checked(unsafe {
            libc::setsockopt(self.0.as_raw_fd(), level, option, std::ptr::from_ref(value).cast(), length)
        })
    }

    /// Asks for an option into `value`, which is plain numbers.
    pub(super) fn get<T>(&self, level: i32, option: i32, value: &mut T) -> io::Result<()> {
        let mut length = size_of::<T>() as libc::socklen_t;
        // SAFETY: the kernel writes at most that many bytes over a value of numbers, which may have any bits.
        checked(unsafe {
            libc::getsockopt(self.0.as_raw_fd(), level, option, std::ptr::from_mut(value).cast(), &raw mut length)
        })
    }

    /// Binds to an interface, for frames of a protocol; 0: none.
    pub(super) fn bind(&self, interface: i32, protocol: u16) -> io::Result<()> {
        // SAFETY: an address of zeroes is one.
        let mut address: libc::sockaddr_ll = unsafe { zeroed() };
        address.sll_family = libc::AF_PACKET as u16;
        address.sll_protocol = protocol.to_be();
        address.sll_ifindex = interface;
        let length = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
        // SAFETY: the kernel reads the address, which lives.
        checked(unsafe { libc::bind(self.0.as_raw_fd(), (&raw const address).cast(), length) })
    }

    /// What it is bound to.
    pub(super) fn bound(&self) -> io::Result<Bound> {
        // SAFETY: an address of zeroes is one.
        let mut address: libc::sockaddr_ll = unsafe { zeroed() };
        let mut length = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
        // SAFETY: the kernel writes at most an address over the one that is given.
        checked(unsafe { libc::getsockname(self.0.as_raw_fd(), (&raw mut address).cast(), &raw mut length) })?;
        Ok(Bound { interface: address.sll_ifindex, hardware: address.sll_hatype })
    }

    /// The error that waits to be told, if there is one; it is told once.
    pub(super) fn take_error(&self) -> Option<io::Error> {
        let mut error: i32 = 0;
        match self.get(libc::SOL_SOCKET, libc::SO_ERROR, &mut error) {
            Ok(()) => (error != 0).then(|| io::Error::from_raw_os_error(error)),
            Err(error) => Some(error),
        }
    }
}

impl AsRawFd for Socket {
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        self.0.as_raw_fd()
    }
}

#[cfg(test)]
impl From<OwnedFd> for Socket {
    fn from(fd: OwnedFd) -> Socket {
        Socket(fd)
    }
}

/// Waits until one of the sockets has something to read or to tell, at most so long. A signal ends it early.
pub(super) fn wait<'a>(sockets: impl Iterator<Item = &'a Socket>, most: Duration) {
    let asked = |socket: &Socket| libc::pollfd { fd: socket.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    let mut asked: arrayvec::ArrayVec<libc::pollfd, { crate::limits::TAPS_MAX }> = sockets.map(asked).collect();
    let milliseconds = i32::try_from(most.as_millis()).unwrap_or(i32::MAX);
    // SAFETY: the kernel writes into as many entries as there are. What it found is not asked for: whoever waited looks.
    unsafe { libc::poll(asked.as_mut_ptr(), asked.len() as libc::nfds_t, milliseconds) };
}

/// The number of an interface of this network namespace.
pub(super) fn number_of(interface: &str) -> Option<i32> {
    let name = CString::new(interface).ok()?;
    // SAFETY: the name ends with a zero, and lives.
    let number = unsafe { libc::if_nametoindex(name.as_ptr()) };
    i32::try_from(number).ok().filter(|&number| number > 0)
}

/// The names of all interfaces of this network namespace.
pub(super) fn names() -> Vec<String> {
    let mut names = Vec::new();
    // SAFETY: no memory is passed.
    let list = unsafe { libc::if_nameindex() };
    if list.is_null() {
        return names;
    }
    let mut at = list;
    loop {
        // SAFETY: the list ends with an entry of zeroes, beyond which this does not go.
        let entry = unsafe { &*at };
        if entry.if_index == 0 || entry.if_name.is_null() {
            break;
        }
        // SAFETY: the name ends with a zero, and lives as long as the list.
        let name = unsafe { std::ffi::CStr::from_ptr(entry.if_name) };
        names.push(name.to_string_lossy().into_owned());
        at = at.wrapping_add(1);
    }
    // SAFETY: the list came from `if_nameindex`, and nothing refers to it any more.
    unsafe { libc::if_freenameindex(list) };
    names
}

fn checked(result: i32) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_among_the_interfaces_and_has_a_number() {
        assert!(names().contains(&"lo".to_owned()), "{:?}", names());
        assert!(number_of("lo").is_some());
        assert_eq!((number_of("no-such-if"), number_of(""), number_of("l\0o")), (None, None, None));
    }
}
