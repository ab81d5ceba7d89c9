//! Whose socket is it: the kernel says which socket an end of a connection is (`sock_diag(7)`, one exact question per end),
//! and `/proc/<pid>/fd` which process holds it.
//!
//! Only sockets of our own network namespace and processes of our own pid namespace are found. Of an end whose socket has
//! gone, or is not accepted yet, the listening socket of its address and port says who the server is. A socket that several
//! processes hold (after a fork) is that of the one that is found first. The processes are looked through at most once per
//! call, those that had sockets of interest first; that takes about a microsecond per open file of the host.
//!
//! Nothing panics on what the kernel says; nothing is sent to the network.

use std::collections::{HashMap, VecDeque};
use std::ffi::OsStr;
use std::fs;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener, UdpSocket};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use netlink_packet_core::{NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_sock_diag::SockDiagMessage;
use netlink_packet_sock_diag::constants::{AF_INET, AF_INET6, IPPROTO_TCP, TCP_LISTEN};
use netlink_packet_sock_diag::inet::{ExtensionFlags, InetRequest, SocketId, StateFlags};
use netlink_sys::{Socket, protocols::NETLINK_SOCK_DIAG};

use crate::clock::Stopwatch;
use crate::record::transaction::Introduction;
use crate::units::{Address, Endpoint};

use super::process::{Ends, Process};

/// Addresses and sockets that are remembered; beyond that it is begun anew.
const REMEMBERED_MAX: usize = 1 << 16;
/// How long it is believed whether an address is this host's.
const ADDRESS_TIME: Duration = Duration::from_secs(10);
/// Processes that are looked at first.
const HOLDERS_MAX: usize = 64;
/// Addresses that belong to nobody (RFC 5737, RFC 3849): a host that lets programs bind them lets them bind any.
const NOBODYS: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1))];

/// Why processes can't be told.
#[derive(Debug, thiserror::Error)]
pub enum OwnersError {
    /// The kernel does not take the question.
    #[error(
        "--processes can't ask the kernel for sockets (netlink sock_diag): {0}; leave --processes out, or load tcp_diag"
    )]
    Unavailable(io::Error),
}

/// A socket, as the kernel tells of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Found {
    /// 0: nobody's, or nobody's yet.
    inode: u32,
    /// It listens, on any of the host's addresses.
    is_wildcard: bool,
}

/// Finds the processes that have sockets.
pub struct Owners {
    diag: Socket,
    sequence: u32,
    clock: Stopwatch,
    /// Whether addresses are this host's, and until when that is believed.
    addresses: HashMap<Address, (bool, Duration)>,
    /// Whether foreign addresses can be bound, so that binding proves nothing: IPv4, IPv6.
    binds_any: [bool; 2],
    /// Where sockets were found, by inode: the process, and its descriptor.
    holders: HashMap<u32, (u32, PathBuf)>,
    /// Processes that had sockets of interest, the last one first.
    likely: VecDeque<u32>,
    has_warned: bool,
}

impl std::fmt::Debug for Owners {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Owners").field("holders", &self.holders.len()).finish_non_exhaustive()
    }
}

impl Owners {
    /// Fails where the kernel does not tell of a socket of our own.
    pub(super) fn open() -> Result<Owners, OwnersError> {
        let diag = Socket::new(NETLINK_SOCK_DIAG).map_err(OwnersError::Unavailable)?;
        // An answer is there when the question has been sent; if not, it is not waited for.
        diag.set_non_blocking(true).map_err(OwnersError::Unavailable)?;
        let mut owners = Owners {
            diag,
            sequence: 0,
            clock: Stopwatch::start(),
            addresses: HashMap::new(),
            binds_any: NOBODYS.map(can_bind),
            holders: HashMap::new(),
            likely: VecDeque::new(),
            has_warned: false,
        };
        match owners.look_at_own() {
            Ok(Some(_)) => Ok(owners),
            Ok(None) => Err(OwnersError::Unavailable(ErrorKind::NotFound.into())),
            Err(error) => Err(OwnersError::Unavailable(error)),
        }
    }

    fn look_at_own(&mut self) -> io::Result<Option<Found>> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = listener.local_addr()?.port();
        self.socket(Endpoint { address: Address::from_ipv4([127, 0, 0, 1]), port }, None)
    }

    /// For each connection the processes at its ends, and whether the process of an end that is this host's was not found.
    pub(super) fn of(&mut self, connections: &[Introduction]) -> Vec<(Ends, bool)> {
        // Of each end: whether it is this host's, and its socket's inode.
        let sockets: Vec<[(bool, Option<u32>); 2]> = connections
            .iter()
            .map(|&Introduction { client, server, .. }| [self.end(client, server), self.end(server, client)])
            .collect();
        let mut wanted: HashMap<u32, Endpoint> = HashMap::new();
        for (connection, [client, server]) in connections.iter().zip(&sockets) {
            wanted.extend(client.1.map(|inode| (inode, connection.client)));
            wanted.extend(server.1.map(|inode| (inode, connection.server)));
        }
        let found = self.processes(wanted);
        sockets
            .iter()
            .map(|ends| {
                let processes = ends.map(|(_, inode)| inode.and_then(|inode| found.get(&inode).cloned()));
                let is_open = ends.iter().zip(&processes).any(|((is_ours, _), process)| *is_ours && process.is_none());
                (processes, is_open)
            })
            .collect()
    }

    /// Whether `end` is this host's, and the inode of its socket.
    fn end(&mut self, end: Endpoint, peer: Endpoint) -> (bool, Option<u32>) {
        if !self.may_be_ours(end.address) {
            return (false, None);
        }
        let mut found = self.socket(end, Some(peer)).unwrap_or_default();
        if found.is_some_and(|found| found.inode == 0) {
            found = self.socket(end, None).unwrap_or_default();
        }
        // Where any address can be bound, one that listens on all of the host's says nothing about this one.
        let proves_nothing = self.binds_any[usize::from(!end.address.is_ipv4())];
        let found = found.filter(|found| found.inode != 0 && !(found.is_wildcard && proves_nothing));
        (true, found.map(|found| found.inode))
    }

    /// Whether an address can be one of this host's: whether it can be bound.
    fn may_be_ours(&mut self, address: Address) -> bool {
        let now = self.clock.elapsed();
        if let Some(&(is_ours, until)) = self.addresses.get(&address)
            && now < until
        {
            return is_ours;
        }
        if self.addresses.len() >= REMEMBERED_MAX {
            self.addresses.clear();
        }
        let ip = address.to_ip();
        let is_ours = !ip.is_unspecified() && !ip.is_multicast() && can_bind(ip);
        self.addresses.insert(address, (is_ours, now + ADDRESS_TIME));
        is_ours
    }

    /// Asks for the socket of a connection, or the one that listens for it; `None`: for a listening one.
    fn socket(&mut self, local: Endpoint, peer: Option<Endpoint>) -> io::Result<Option<Found>> {
        let is_ipv4 = local.address.is_ipv4();
        let nobody = if is_ipv4 { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let socket_id = SocketId {
            source_port: local.port,
            destination_port: peer.map_or(0, |peer| peer.port),
            source_address: local.address.to_ip(),
            destination_address: peer.map_or(nobody, |peer| peer.address.to_ip()),
            interface_id: 0,
            // Any: INET_DIAG_NOCOOKIE.
            cookie: [0xff; 8],
        };
        let request = InetRequest {
            family: if is_ipv4 { AF_INET } else { AF_INET6 },
            protocol: IPPROTO_TCP,
            extensions: ExtensionFlags::empty(),
            states: StateFlags::all(),
            socket_id,
        };
        self.sequence = self.sequence.wrapping_add(1);
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST;
        header.sequence_number = self.sequence;
        let mut message = NetlinkMessage::new(header, SockDiagMessage::InetRequest(request).into());
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        self.diag.send(&bytes, 0)?;
        self.answer()
    }

    /// The kernel's answer to the question just asked. Older ones, of questions that failed, are passed over.
    fn answer(&mut self) -> io::Result<Option<Found>> {
        let mut buffer = [0; 4096];
        loop {
            let length = self.diag.recv(&mut &mut buffer[..], 0)?;
            let bytes = buffer.get(..length).unwrap_or(&buffer);
            let message = NetlinkMessage::<SockDiagMessage>::deserialize(bytes)
                .map_err(|error| io::Error::new(ErrorKind::InvalidData, error.to_string()))?;
            if message.header.sequence_number != self.sequence {
                continue;
            }
            return match message.payload {
                NetlinkPayload::InnerMessage(SockDiagMessage::InetResponse(socket)) => {
                    let header = socket.header;
                    let is_wildcard = header.state == TCP_LISTEN && header.socket_id.source_address.is_unspecified();
                    Ok(Some(Found { inode: header.inode, is_wildcard }))
                }
                NetlinkPayload::Error(error) if error.to_io().kind() == ErrorKind::NotFound => Ok(None),
                NetlinkPayload::Error(error) => Err(error.to_io()),
                _ => Err(ErrorKind::InvalidData.into()),
            };
        }
    }

    /// The processes that hold these sockets; for messages, each with an endpoint of it.
    fn processes(&mut self, mut wanted: HashMap<u32, Endpoint>) -> HashMap<u32, Arc<Process>> {
        let mut found = HashMap::new();
        wanted.retain(|&inode, _| {
            // A number may have passed to another process meanwhile.
            let holder = self.holders.get(&inode).filter(|(_, file)| is_socket(file, inode));
            let process = holder.and_then(|(pid, _)| process(*pid));
            found.extend(process.map(|process| (inode, process)));
            !found.contains_key(&inode)
        });
        let likely = std::mem::take(&mut self.likely);
        let mut denied = 0;
        for &pid in &likely {
            self.look_into(pid, &mut wanted, &mut found);
        }
        self.likely.extend(likely.iter().filter(|pid| !self.likely.contains(pid)).copied().collect::<Vec<_>>());
        self.likely.truncate(HOLDERS_MAX);
        if !wanted.is_empty() {
            let pids = fs::read_dir("/proc").into_iter().flatten().flatten();
            for pid in pids.filter_map(|entry| entry.file_name().to_str()?.parse().ok()) {
                if wanted.is_empty() {
                    break;
                }
                if !likely.contains(&pid) {
                    denied += u32::from(self.look_into(pid, &mut wanted, &mut found));
                }
            }
        }
        if let Some(end) = wanted.values().next().filter(|_| denied > 0 && !self.has_warned) {
            self.has_warned = true;
            tracing::warn!(
                "--processes: the process at {end} can't be told, as {denied} processes of other users may not be looked \
                 into; run as root, or with the capabilities CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH"
            );
        }
        found
    }

    /// Moves the sockets that this process holds from `wanted` to `found`. Whether looking into it is not permitted.
    fn look_into(
        &mut self,
        pid: u32,
        wanted: &mut HashMap<u32, Endpoint>,
        found: &mut HashMap<u32, Arc<Process>>,
    ) -> bool {
        if wanted.is_empty() {
            return false;
        }
        let files = match fs::read_dir(format!("/proc/{pid}/fd")) {
            Ok(files) => files,
            // Otherwise it has ended.
            Err(error) => return error.kind() == ErrorKind::PermissionDenied,
        };
        let mut owner = None;
        for file in files.flatten() {
            let path = file.path();
            let target = match fs::read_link(&path) {
                Ok(target) => target,
                Err(error) if error.kind() == ErrorKind::PermissionDenied => return true,
                Err(_) => continue,
            };
            let Some(inode) = socket_inode(target.as_os_str()) else { continue };
            if wanted.remove(&inode).is_some() {
                owner = owner.or_else(|| process(pid));
                let Some(owner) = &owner else { return false };
                found.insert(inode, Arc::clone(owner));
                if self.holders.len() >= REMEMBERED_MAX {
                    self.holders.clear();
                }
                self.holders.insert(inode, (pid, path));
            }
        }
        if owner.is_some() {
            self.likely.retain(|&likely| likely != pid);
            self.likely.push_front(pid);
        }
        false
    }
}

fn can_bind(ip: IpAddr) -> bool {
    UdpSocket::bind((ip, 0)).is_ok()
}

fn process(pid: u32) -> Option<Arc<Process>> {
    let mut name = fs::read(format!("/proc/{pid}/comm")).ok()?;
    name.pop_if(|last| *last == b'\n');
    Some(Arc::new(Process { name, pid }))
}

fn is_socket(file: &Path, inode: u32) -> bool {
    fs::read_link(file).is_ok_and(|target| socket_inode(target.as_os_str()) == Some(inode))
}

/// Of `socket:[123]` the number.
fn socket_inode(target: &OsStr) -> Option<u32> {
    let number = target.as_bytes().strip_prefix(b"socket:[")?.strip_suffix(b"]")?;
    std::str::from_utf8(number).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::net::{SocketAddr, TcpStream};

    use super::*;

    fn end(socket: SocketAddr) -> Endpoint {
        Endpoint { address: socket.ip().into(), port: socket.port() }
    }

    fn pids(owners: &mut Owners, client: Endpoint, server: Endpoint) -> ([Option<u32>; 2], bool) {
        let [(ends, is_open)] =
            <[_; 1]>::try_from(owners.of(&[Introduction { connection: 1, client, server }])).unwrap();
        (ends.map(|end| end.map(|process| process.pid)), is_open)
    }

    #[test]
    fn both_ends_of_a_connection_are_found_over_ipv4_ipv6_and_mapped_addresses() {
        let mut owners = Owners::open().unwrap();
        let us = Some(std::process::id());
        for (listens, connects) in [("127.0.0.1:0", "127.0.0.1"), ("[::1]:0", "::1"), ("[::]:0", "127.0.0.1")] {
            let listener = TcpListener::bind(listens).unwrap();
            let port = listener.local_addr().unwrap().port();
            let stream = TcpStream::connect((connects, port)).unwrap();
            let (client, server) = (end(stream.local_addr().unwrap()), end(stream.peer_addr().unwrap()));
            assert_eq!(pids(&mut owners, client, server), ([us, us], false), "{listens}, not accepted yet");
            let accepted = listener.accept().unwrap();
            assert_eq!(pids(&mut owners, client, server), ([us, us], false), "{listens}, accepted");
            drop(accepted);
        }
    }

    #[test]
    fn of_a_connection_that_has_gone_the_server_is_known_while_it_listens() {
        let mut owners = Owners::open().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = end(listener.local_addr().unwrap());
        let client = Endpoint { port: 1, ..server };
        assert_eq!(pids(&mut owners, client, server), ([None, Some(std::process::id())], true));
        drop(listener);
        assert_eq!(pids(&mut owners, client, server), ([None, None], true));
    }

    #[test]
    fn addresses_of_other_hosts_are_nobodys_here_though_something_listens_everywhere() {
        let mut owners = Owners::open().unwrap();
        let listener = TcpListener::bind("0.0.0.0:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let foreign = Endpoint { address: Address::from_ipv4([192, 0, 2, 9]), port };
        let (found, is_open) = pids(&mut owners, Endpoint { port: 7, ..foreign }, foreign);
        assert_eq!((found, is_open), ([None, None], owners.binds_any[0]));
        // A host that lets any address be bound: what listens everywhere is no proof any more.
        owners.addresses.clear();
        owners.binds_any = [true; 2];
        owners.addresses.insert(foreign.address, (true, Duration::MAX));
        assert_eq!(pids(&mut owners, Endpoint { port: 7, ..foreign }, foreign).0, [None, None]);
    }

    #[test]
    fn a_remembered_socket_is_looked_at_again_when_its_descriptor_has_changed_hands() {
        let mut owners = Owners::open().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = end(listener.local_addr().unwrap());
        let client = Endpoint { port: 1, ..server };
        pids(&mut owners, client, server);
        let (&inode, _) = owners.holders.iter().next().unwrap();
        owners.holders.insert(inode, (1, "/proc/self/fd/0".into()));
        assert_eq!(pids(&mut owners, client, server).0[1], Some(std::process::id()));
    }

    #[test]
    fn links_of_descriptors_are_sockets_or_not() {
        assert_eq!(socket_inode(OsStr::new("socket:[123]")), Some(123));
        for other in
            ["pipe:[123]", "socket:[]", "socket:[x]", "socket:[123", "/tmp/socket:[123]", "socket:[4294967296]"]
        {
            assert_eq!(socket_inode(OsStr::new(other)), None, "{other}");
        }
    }
}
