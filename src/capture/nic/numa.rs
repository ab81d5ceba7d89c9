//! Memory near a network card: on a machine with several NUMA nodes, that of the node which the card is at. The card writes each
//! packet to it, so memory of another node costs both of them a way through the processors for every packet.

#![allow(unsafe_code)]

use std::ffi::c_int;
use std::fs;
use std::io;
use std::path::Path;

use super::host::{list, numbered};

/// Words of a set of nodes: for the 1,024 that Linux can have at the most.
const WORDS: usize = 16;
/// How many nodes that is, as the system calls count them: the kernel takes one off.
const NODES: libc::c_ulong = 1024 + 1;

/// The NUMA node that an interface's card is at, where there are several.
pub fn node_of(interface: &str) -> Option<usize> {
    node(&Path::new("/sys/class/net").join(interface), Path::new("/sys/devices/system/node"))
}

fn node(interface: &Path, nodes: &Path) -> Option<usize> {
    // -1 where the firmware does not tell.
    let node = usize::try_from(of_device(interface, "numa_node")?.trim().parse::<i64>().ok()?).ok()?;
    (numbered(nodes, "node").len() > 1).then_some(node)
}

/// The cores of the NUMA node that an interface's card is at; `None`: it has no card, or the kernel does not tell.
pub fn cores_near(interface: &str) -> Option<Vec<usize>> {
    let told = of_device(&Path::new("/sys/class/net").join(interface), "local_cpulist")?;
    Some(list(&told)).filter(|cores| !cores.is_empty())
}

/// What the kernel tells of an interface's card: of its device, or of the device around it, as that of virtio is.
pub(super) fn of_device(interface: &Path, attribute: &str) -> Option<String> {
    let read = |device: &str| fs::read_to_string(interface.join(device).join(attribute)).ok();
    read("device").or_else(|| read("device/.."))
}

/// While this lives, memory that this thread touches first is of one node, as long as that has any. Rings that the kernel makes
/// for it are, too.
#[derive(Debug)]
pub struct Near {
    before: Policy,
}

impl Near {
    /// Of this node.
    pub fn to(node: usize) -> io::Result<Near> {
        let before = Policy::now()?;
        let mut nodes = [0; WORDS];
        let bits = libc::c_ulong::BITS as usize;
        let word = nodes.get_mut(node / bits).ok_or(io::ErrorKind::InvalidInput)?;
        *word = 1 << (node % bits);
        Policy { mode: libc::MPOL_PREFERRED, nodes }.set()?;
        Ok(Near { before })
    }
}

impl Drop for Near {
    fn drop(&mut self) {
        // It was in force, so it can be again.
        let _ = self.before.set();
    }
}

/// Which nodes a thread's memory is of: `set_mempolicy(2)`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Policy {
    mode: c_int,
    nodes: [libc::c_ulong; WORDS],
}

impl Policy {
    fn now() -> io::Result<Policy> {
        let mut now = Policy { mode: 0, nodes: [0; WORDS] };
        let nothing = std::ptr::null_mut::<libc::c_void>();
        // SAFETY: the kernel writes a number, and as many bits as are there.
        let done = unsafe {
            libc::syscall(libc::SYS_get_mempolicy, &raw mut now.mode, now.nodes.as_mut_ptr(), NODES, nothing, 0)
        };
        if done < 0 { Err(io::Error::last_os_error()) } else { Ok(now) }
    }

    fn set(&self) -> io::Result<()> {
        // SAFETY: the kernel reads as many bits as are there.
        let done = unsafe { libc::syscall(libc::SYS_set_mempolicy, self.mode, self.nodes.as_ptr(), NODES) };
        if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cards_node_counts_where_there_are_several() {
        let folder = tempfile::tempdir().unwrap();
        let [card, nodes] = ["card", "nodes"].map(|name| folder.path().join(name));
        fs::create_dir_all(card.join("device/virtio0")).unwrap();
        fs::create_dir_all(nodes.join("node0")).unwrap();
        let told = |text: &str| {
            fs::write(card.join("device/numa_node"), text).unwrap();
            node(&card, &nodes)
        };
        assert_eq!((node(&card, &nodes), told("0\n")), (None, None), "nothing is told; one node is no choice");
        fs::create_dir(nodes.join("node1")).unwrap();
        assert_eq!((told("1\n"), told("0\n"), told("-1\n"), told("")), (Some(1), Some(0), None, None));
        // Virtio's own device has none, the one around it has.
        fs::write(card.join("device/numa_node"), "1\n").unwrap();
        let virtio = folder.path().join("virtio");
        fs::create_dir(&virtio).unwrap();
        std::os::unix::fs::symlink(card.join("device/virtio0"), virtio.join("device")).unwrap();
        assert_eq!(node(&virtio, &nodes), Some(1));
    }

    #[test]
    fn a_policy_holds_until_it_is_dropped() {
        // A thread's own: the other tests' stays as it is.
        let seen = std::thread::spawn(|| {
            let before = match Policy::now() {
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return None, // in a container
                before => before.unwrap(),
            };
            let near = Near::to(0).unwrap();
            let meanwhile = Policy::now().unwrap();
            drop(near);
            Some((before, meanwhile, Policy::now().unwrap()))
        });
        let Some((before, meanwhile, after)) = seen.join().unwrap() else { return };
        assert_eq!((meanwhile.mode, meanwhile.nodes[0]), (libc::MPOL_PREFERRED, 1));
        assert!(before != meanwhile && before == after, "{before:?} {after:?}");
        assert!(Near::to(1 << 20).is_err(), "no machine has so many");
    }
}
