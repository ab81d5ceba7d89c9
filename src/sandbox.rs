//! What the program may do beyond what any may: capabilities(7). A capture needs some to begin.

use caps::{CapSet, Capability};

/// What a capture by `AF_PACKET` needs.
pub const AF_PACKET: &[Capability] = &[Capability::CAP_NET_RAW];
/// What a capture by `AF_XDP` needs.
pub const AF_XDP: &[Capability] =
    &[Capability::CAP_NET_ADMIN, Capability::CAP_NET_RAW, Capability::CAP_BPF, Capability::CAP_PERFMON];
/// What takes the limit off the memory that may be locked.
pub const LOCKING: &[Capability] = &[Capability::CAP_IPC_LOCK];

/// Those that are wanted and that the program does not have, by name.
pub fn missing(wanted: &[Capability]) -> Vec<String> {
    // A kernel that knows nothing of a capability does not ask for it.
    let is_missing = |one: &&Capability| matches!(caps::has_cap(None, CapSet::Effective, **one), Ok(false));
    wanted.iter().filter(is_missing).map(ToString::to_string).collect()
}

/// The command that gives the program what it needs, whoever runs it.
pub fn setcap() -> String {
    let program = std::env::current_exe().map_or_else(|_| "resptap".to_owned(), |path| path.display().to_string());
    let names: Vec<String> = AF_XDP.iter().map(|one| one.to_string().to_lowercase()).collect();
    format!("setcap {}+ep {program}", names.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_names_the_four() {
        assert!(setcap().starts_with("setcap cap_net_admin,cap_net_raw,cap_bpf,cap_perfmon+ep /"), "{}", setcap());
    }
}
