//! Who has an XDP program on an interface: for the message to whoever can't have his own there.

use std::fs;
use std::path::Path;

/// The processes that have attached an XDP program to the interface with this number, in words that follow a name; nothing if none
/// is found: one of another user, of another namespace, or a program that stays without a process.
pub(super) fn holders(interface: i32) -> String {
    let Ok(processes) = fs::read_dir("/proc") else { return String::new() };
    let numbers = processes.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let found = numbers.filter_map(|number| {
        let folder = Path::new("/proc").join(number.to_string());
        let descriptors = fs::read_dir(folder.join("fdinfo")).ok()?;
        let told = descriptors.flatten().filter_map(|entry| fs::read_to_string(entry.path()).ok());
        told.into_iter().any(|told| is_xdp_of(&told, interface)).then(|| {
            let name = fs::read_to_string(folder.join("comm")).unwrap_or_default();
            format!("{}, process {number}", name.trim())
        })
    });
    let found: Vec<String> = found.collect();
    if found.is_empty() { String::new() } else { format!(" ({})", found.join("; ")) }
}

/// Whether what the kernel tells of a descriptor is of a program's link to an interface.
fn is_xdp_of(told: &str, interface: i32) -> bool {
    let field = |name: &str| told.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':').map(str::trim));
    field("link_type") == Some("xdp") && field("ifindex") == Some(interface.to_string().as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_of_xdp_programs_are_told_by_their_interface() {
        let told =
            "pos:\t0\nflags:\t02000000\nlink_type:\txdp\nlink_id:\t3\nprog_tag:\tcc\nprog_id:\t9\nifindex:\t12\n";
        assert!(is_xdp_of(told, 12) && !is_xdp_of(told, 1));
        assert!(!is_xdp_of(&told.replace("xdp", "tcx"), 12) && !is_xdp_of("pos:\t0\n", 0));
        assert_eq!(holders(-1), "");
    }
}
