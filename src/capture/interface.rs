//! What is known of a network interface of this namespace: its number, its queues, and whether it is the host's own.

#![allow(unsafe_code)]

use std::ffi::{CStr, CString};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

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
        let name = unsafe { CStr::from_ptr(entry.if_name) };
        names.push(name.to_string_lossy().into_owned());
        at = at.wrapping_add(1);
    }
    // SAFETY: the list came from `if_nameindex`, and nothing refers to it any more.
    unsafe { libc::if_freenameindex(list) };
    names
}

/// Receive queues of an interface, at least 1: as many as its driver spreads the work over.
pub fn queues(interface: &str) -> usize {
    let listed = std::fs::read_dir(folder(interface).join("queues"));
    let is_receiving = |name: std::ffi::OsString| name.to_string_lossy().starts_with("rx-");
    listed.map_or(0, |entries| entries.flatten().filter(|entry| is_receiving(entry.file_name())).count()).max(1)
}

/// Why an interface is not nobody's: what it is used for, beyond that packets are mirrored to it.
pub fn use_of(interface: &str) -> Option<String> {
    if let Some(address) = address_of(interface) {
        return Some(format!("it has the address {address}"));
    }
    let folder = folder(interface);
    let Ok(entries) = std::fs::read_dir(&folder) else {
        return Some(format!("{} does not tell what it is used for", folder.display()));
    };
    if let Ok(master) = std::fs::read_link(folder.join("master")) {
        let master = master.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        return Some(format!("it belongs to {master}"));
    }
    let upper = entries.flatten().find_map(|entry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        name.strip_prefix("upper_").map(str::to_owned)
    })?;
    Some(format!("{upper} is on top of it"))
}

/// An IP address of an interface.
fn address_of(interface: &str) -> Option<IpAddr> {
    let mut list = std::ptr::null_mut();
    // SAFETY: the kernel's answer is written to `list`.
    if unsafe { libc::getifaddrs(&raw mut list) } < 0 {
        return None;
    }
    let (mut at, mut found) = (list, None);
    while !at.is_null() && found.is_none() {
        // SAFETY: the list's entries live until it is freed, below.
        let entry = unsafe { &*at };
        // SAFETY: the name ends with a zero, and lives as long as the list.
        if unsafe { CStr::from_ptr(entry.ifa_name) }.to_bytes() == interface.as_bytes() && !entry.ifa_addr.is_null() {
            // SAFETY: an address begins with its family, which says how long it is.
            found = unsafe { ip_address(entry.ifa_addr) };
        }
        at = entry.ifa_next;
    }
    // SAFETY: the list came from `getifaddrs`, and nothing refers to it any more.
    unsafe { libc::freeifaddrs(list) };
    found
}

/// An address as the kernel has it, if it is one of IP.
///
/// # Safety
/// It must be as long as its family's addresses are.
unsafe fn ip_address(address: *const libc::sockaddr) -> Option<IpAddr> {
    // SAFETY: every address begins with its family.
    match i32::from(unsafe { (*address).sa_family }) {
        libc::AF_INET => {
            // SAFETY: as the caller promises.
            let address: libc::sockaddr_in = unsafe { address.cast::<libc::sockaddr_in>().read_unaligned() };
            Some(Ipv4Addr::from(u32::from_be(address.sin_addr.s_addr)).into())
        }
        libc::AF_INET6 => {
            // SAFETY: as the caller promises.
            let address: libc::sockaddr_in6 = unsafe { address.cast::<libc::sockaddr_in6>().read_unaligned() };
            Some(Ipv6Addr::from(address.sin6_addr.s6_addr).into())
        }
        _ => None,
    }
}

fn folder(interface: &str) -> PathBuf {
    Path::new("/sys/class/net").join(interface)
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

    #[test]
    fn loopback_has_a_queue_and_so_has_what_is_not_there() {
        assert_eq!((queues("lo"), queues("no-such-if")), (1, 1));
    }

    #[test]
    fn loopback_is_the_hosts_own_and_of_what_is_not_there_nothing_is_known() {
        assert_eq!(use_of("lo").as_deref(), Some("it has the address 127.0.0.1"));
        assert!(use_of("no-such-if").is_some_and(|why| why.contains("does not tell")));
    }
}
