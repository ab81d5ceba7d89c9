//! The system calls of a packet socket (packet(7)), each as a safe function. Nothing here knows what they are for.

use std::io;
use std::mem::{size_of, zeroed};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// A packet socket.
#[derive(Debug)]
pub(in crate::capture) struct Socket(OwnedFd);

/// What a socket is bound to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::capture) struct Bound {
    /// Number of the interface; -1 if it is gone.
    pub(in crate::capture) interface: i32,
    /// Kind of its link layer (`ARPHRD_…`).
    pub(in crate::capture) hardware: u16,
}

impl Socket {
    /// A socket that receives nothing yet.
    pub(in crate::capture) fn new() -> io::Result<Socket> {
        // SAFETY: no memory is passed.
        let fd = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
        checked(fd)?;
        // SAFETY: the descriptor is open, and nobody else's.
        Ok(Socket(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Sets an option of packet sockets, or of all (`level`). `T` is plain numbers, as the option wants them.
    pub(in crate::capture) fn set<T>(&self, level: i32, option: i32, value: &T) -> io::Result<()> {
        let length = size_of::<T>() as libc::socklen_t;
        // SAFETY: the kernel reads that many bytes of a value that lives.
        checked(unsafe {
            libc::setsockopt(self.0.as_raw_fd(), level, option, std::ptr::from_ref(value).cast(), length)
        })
    }

    /// Asks for an option into `value`, which is plain numbers.
    pub(in crate::capture) fn get<T>(&self, level: i32, option: i32, value: &mut T) -> io::Result<()> {
        let mut length = size_of::<T>() as libc::socklen_t;
        // SAFETY: the kernel writes at most that many bytes over a value of numbers, which may have any bits.
        checked(unsafe {
            libc::getsockopt(self.0.as_raw_fd(), level, option, std::ptr::from_mut(value).cast(), &raw mut length)
        })
    }

    /// Binds to an interface, for frames of a protocol; 0: none.
    pub(in crate::capture) fn bind(&self, interface: i32, protocol: u16) -> io::Result<()> {
        // SAFETY: an address of zeroes is one.
        let mut address: libc::sockaddr_ll = unsafe { zeroed() };
        address.sll_family = libc::AF_PACKET as u16;
        address.sll_protocol = protocol.to_be();
        address.sll_ifindex = interface;
        let length = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
        // SAFETY: the kernel reads the address, which lives.
        checked(unsafe { libc::bind(self.0.as_raw_fd(), (&raw const address).cast(), length) })
    }

    /// Has an interface receive what is for others, too, until the socket is closed, however the program ends.
    pub(in crate::capture) fn hold_promiscuous(&self, interface: i32) -> io::Result<()> {
        let membership = libc::packet_mreq {
            mr_ifindex: interface,
            mr_type: libc::PACKET_MR_PROMISC as u16,
            mr_alen: 0,
            mr_address: [0; 8],
        };
        self.set(libc::SOL_PACKET, libc::PACKET_ADD_MEMBERSHIP, &membership)
    }

    /// What it is bound to.
    pub(in crate::capture) fn bound(&self) -> io::Result<Bound> {
        // SAFETY: an address of zeroes is one.
        let mut address: libc::sockaddr_ll = unsafe { zeroed() };
        let mut length = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
        // SAFETY: the kernel writes at most an address over the one that is given.
        checked(unsafe { libc::getsockname(self.0.as_raw_fd(), (&raw mut address).cast(), &raw mut length) })?;
        Ok(Bound { interface: address.sll_ifindex, hardware: address.sll_hatype })
    }

    /// The error that waits to be told, if there is one; it is told once.
    pub(in crate::capture) fn take_error(&self) -> Option<io::Error> {
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

fn checked(result: i32) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
