//! What a live capture needs to know of the machine: cores, memory, limits. Each is read where the kernel tells it, as it is now;
//! what it does not tell is left out.

use std::fs;
use std::path::{Path, PathBuf};

/// The machine.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Host {
    /// Cores that this process may use.
    pub cores: Vec<usize>,
    /// Cores that the scheduler leaves alone (`isolcpus`).
    pub isolated: Vec<usize>,
    /// Cores of each NUMA node.
    pub nodes: Vec<Vec<usize>>,
    /// Huge pages that are free, and the size of one, in bytes.
    pub huge_pages: Option<(u64, u64)>,
    /// Memory that this process may lock, in bytes; `None`: any.
    pub locked_memory: Option<u64>,
}

impl Host {
    /// This machine.
    pub fn read() -> Host {
        let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let nodes = numbered(Path::new("/sys/devices/system/node"), "node");
        Host {
            cores: cores_allowed(&text("/proc/self/status")),
            isolated: list(&text("/sys/devices/system/cpu/isolated")),
            nodes: nodes
                .iter()
                .map(|(_, node)| list(&fs::read_to_string(node.join("cpulist")).unwrap_or_default()))
                .collect(),
            huge_pages: huge_pages(&text("/proc/meminfo")),
            locked_memory: locked_memory(&text("/proc/self/limits")),
        }
    }
}

/// Entries of a folder that are a name and a number, by their numbers.
pub(super) fn numbered(folder: &Path, name: &str) -> Vec<(u32, PathBuf)> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let number = |path: &Path| path.file_name()?.to_str()?.strip_prefix(name)?.parse().ok();
    let mut found: Vec<(u32, PathBuf)> =
        entries.filter_map(|entry| Some((number(&entry.path())?, entry.path()))).collect();
    found.sort();
    found
}

/// A list of cores as the kernel writes it: `0-3,8`.
pub(super) fn list(text: &str) -> Vec<usize> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.trim().parse().ok()?..=last.trim().parse().ok()?)
    };
    text.split(',').filter_map(range).flatten().collect()
}

fn cores_allowed(status: &str) -> Vec<usize> {
    status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).map(list).unwrap_or_default()
}

fn huge_pages(meminfo: &str) -> Option<(u64, u64)> {
    let number = |name: &str| {
        let rest = meminfo.lines().find_map(|line| line.strip_prefix(name))?;
        rest.split_whitespace().next()?.parse::<u64>().ok()
    };
    Some((number("HugePages_Free:")?, number("Hugepagesize:")? << 10))
}

fn locked_memory(limits: &str) -> Option<u64> {
    // The soft limit is the first column; `unlimited` is no number.
    let rest = limits.lines().find_map(|line| line.strip_prefix("Max locked memory"))?;
    rest.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_cores_are_ranges_and_numbers() {
        assert_eq!(list("0-3,8\n"), [0, 1, 2, 3, 8]);
        assert_eq!((list("\n"), list("5"), list("x,2")), (vec![], vec![5], vec![2]));
    }

    #[test]
    fn the_kernels_tables_are_read() {
        assert_eq!(cores_allowed("Cpus_allowed:\t5\nCpus_allowed_list:\t0,2\n"), [0, 2]);
        let meminfo = "HugePages_Total:       8\nHugePages_Free:        3\nHugepagesize:       2048 kB\n";
        assert_eq!(huge_pages(meminfo), Some((3, 2 << 20)));
        assert_eq!(huge_pages("MemTotal: 1 kB\n"), None);
        let limits = "Limit  Soft Limit  Hard Limit  Units\nMax locked memory         8388608     unlimited    bytes\n";
        assert_eq!(locked_memory(limits), Some(8 << 20));
        assert_eq!(locked_memory("Max locked memory         unlimited    unlimited    bytes\n"), None);
    }

    #[test]
    fn this_machine_has_cores() {
        let host = Host::read();
        assert!(!host.cores.is_empty());
        assert!(host.nodes.iter().flatten().all(|core| *core < 1 << 16));
    }
}
