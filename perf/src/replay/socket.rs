//! A packet socket that sends (packet(7), sendmmsg(2)): the only system calls here that need `unsafe`.

#![allow(unsafe_code)]

use std::ffi::CString;
use std::io;
use std::mem::{size_of, zeroed};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

use super::{BATCH, Sent};

/// How long a full queue is given before it is asked again.
const RETRY: Duration = Duration::from_micros(20);

/// A socket, and room for a batch.
pub(super) struct Sender(OwnedFd);

impl Sender {
    /// Bound to an interface; receives nothing.
    pub(super) fn open(interface: &str, bypass: bool) -> io::Result<Sender> {
        let failed = |what: &str| {
            let error = io::Error::last_os_error();
            io::Error::new(
                error.kind(),
                format!("{interface}: {what} failed: {error} (root, or CAP_NET_RAW, is needed)"),
            )
        };
        let name = CString::new(interface).map_err(|_| io::Error::other("an interface's name has no zero byte"))?;
        // SAFETY: the name is a string that ends in zero, and lives.
        let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
        if index == 0 {
            return Err(io::Error::other(format!(
                "there is no interface {interface}: `ip link` shows those that there are"
            )));
        }
        // SAFETY: no memory is passed.
        let fd = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
        if fd < 0 {
            return Err(failed("opening a packet socket"));
        }
        // SAFETY: the descriptor is open, and nobody else's.
        let sender = Sender(unsafe { OwnedFd::from_raw_fd(fd) });
        // SAFETY: an address of zeroes is one.
        let mut address: libc::sockaddr_ll = unsafe { zeroed() };
        address.sll_family = libc::AF_PACKET as u16;
        address.sll_ifindex = index.cast_signed();
        let length = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
        // SAFETY: the kernel reads the address, which lives.
        if unsafe { libc::bind(fd, (&raw const address).cast(), length) } < 0 {
            return Err(failed("binding the socket"));
        }
        if bypass {
            let one: libc::c_int = 1;
            let length = size_of::<libc::c_int>() as libc::socklen_t;
            // SAFETY: the kernel reads a number, which lives.
            let set = unsafe {
                libc::setsockopt(fd, libc::SOL_PACKET, libc::PACKET_QDISC_BYPASS, (&raw const one).cast(), length)
            };
            if set < 0 {
                return Err(failed("going past the queues"));
            }
        }
        Ok(sender)
    }

    /// Sends at most [`BATCH`] frames. What there is no room for is tried again until there is; what is refused is counted.
    pub(super) fn send<'f>(&mut self, frames: impl Iterator<Item = &'f [u8]>, sent: &mut Sent) -> io::Result<()> {
        // SAFETY: vectors and messages of zeroes are some, without anything.
        let (mut vectors, mut messages): ([libc::iovec; BATCH], [libc::mmsghdr; BATCH]) = unsafe { zeroed() };
        let mut count = 0;
        for (frame, vector) in frames.zip(&mut vectors) {
            // The kernel only reads it.
            *vector = libc::iovec { iov_base: frame.as_ptr().cast_mut().cast(), iov_len: frame.len() };
            count += 1;
        }
        for (vector, message) in vectors.iter_mut().zip(&mut messages[..count]) {
            message.msg_hdr.msg_iov = vector;
            message.msg_hdr.msg_iovlen = 1;
        }
        let mut from = 0;
        while from < count {
            let rest = &mut messages[from..count];
            // SAFETY: so many messages, each of one vector of a frame; all of them live, and the frames are borrowed, until this
            // function ends. The kernel writes how much of each was sent into the messages.
            let done = unsafe { libc::sendmmsg(self.0.as_raw_fd(), rest.as_mut_ptr(), rest.len() as libc::c_uint, 0) };
            if let Ok(done @ 1..) = usize::try_from(done) {
                sent.packets += done as u64;
                sent.bytes += rest[..done].iter().map(|message| u64::from(message.msg_len)).sum::<u64>();
                from += done;
                continue;
            }
            let error = io::Error::last_os_error();
            match error.raw_os_error() {
                Some(libc::EINTR) => {}
                Some(libc::ENOBUFS | libc::EAGAIN) => {
                    sent.retries += 1;
                    std::thread::sleep(RETRY);
                }
                // The first of the rest is one that it does not take.
                Some(libc::EMSGSIZE | libc::EINVAL) => {
                    sent.errors += 1;
                    from += 1;
                }
                _ => return Err(io::Error::new(error.kind(), format!("sending failed: {error}"))),
            }
        }
        Ok(())
    }
}
