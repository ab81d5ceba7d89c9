//! What the program may do beyond what any may, and when it gives that up: capabilities(7), and the user that it runs as.
//!
//! A capture needs capabilities to begin, and hardly any to go on: whoever finds a hole in what reads foreign packets should find
//! nothing behind it.

use std::ffi::CString;
use std::io;

use caps::errors::CapsError;
use caps::{CapSet, Capability, CapsHashSet};
use nix::unistd;

/// What a capture by `AF_PACKET` needs.
pub const AF_PACKET: &[Capability] = &[Capability::CAP_NET_RAW];
/// What a capture by `AF_XDP` needs.
pub const AF_XDP: &[Capability] =
    &[Capability::CAP_NET_ADMIN, Capability::CAP_NET_RAW, Capability::CAP_BPF, Capability::CAP_PERFMON];
/// What takes the limit off the memory that may be locked.
pub const LOCKING: &[Capability] = &[Capability::CAP_IPC_LOCK];

/// What a capture has still to do after it has begun, and needs capabilities for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Duties {
    /// It puts settings of network cards back.
    pub puts_back: bool,
    /// It asks XDP programs for what they counted: kernels before 5.19 answer only who may load one.
    pub asks_xdp: bool,
    /// It looks for the processes of others.
    pub finds_processes: bool,
}

impl Duties {
    fn needed(self) -> CapsHashSet {
        let duties = [
            (self.puts_back, &[Capability::CAP_NET_ADMIN][..]),
            (self.asks_xdp, &[Capability::CAP_BPF][..]),
            (self.finds_processes, &[Capability::CAP_SYS_PTRACE, Capability::CAP_DAC_READ_SEARCH][..]),
        ];
        duties.into_iter().filter(|(is_so, _)| *is_so).flat_map(|(_, needed)| needed).copied().collect()
    }
}

/// Why privileges are not as they should be.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// See the message.
    #[error(
        "capturing by AF_XDP is not permitted: {} is missing. Run resptap as root, or give the program the capabilities: {}; or take \
         --mode af-packet, for which CAP_NET_RAW is enough", .0.join(", "), setcap()
    )]
    Missing(Vec<String>),
    /// See the message.
    #[error("there is no user {0} (--user) on this machine; name one of those that are shown by: getent passwd")]
    NoUser(String),
    /// See the message.
    #[error(
        "{what} {name} (--user) failed: {source}; only root can become another user: run resptap as root, or leave --user out"
    )]
    Become {
        /// The user.
        name: String,
        /// What was tried.
        what: &'static str,
        /// Why.
        source: io::Error,
    },
    /// See the message.
    #[error(
        "giving up capabilities that are not needed any more failed: {0}; this is a bug in resptap, or of what confines it"
    )]
    GiveUp(#[from] CapsError),
}

/// A user of this machine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct User(unistd::User);

impl User {
    /// The user of this name.
    pub fn named(name: &str) -> Result<User, SandboxError> {
        let found = unistd::User::from_name(name).ok().flatten();
        found.map(User).ok_or_else(|| SandboxError::NoUser(name.to_owned()))
    }

    /// All threads run as that user from now on, and keep the capabilities that they may use, but none is in use.
    fn embody(&self) -> Result<(), SandboxError> {
        let User(unistd::User { name, uid, gid, .. }) = self;
        caps::securebits::set_keepcaps(true)?;
        let text = CString::new(name.as_bytes()).unwrap_or_default();
        let failed =
            |what| move |source: nix::Error| SandboxError::Become { name: name.clone(), what, source: source.into() };
        unistd::initgroups(&text, *gid).map_err(failed("taking the groups of"))?;
        unistd::setgid(*gid).map_err(failed("taking the group of"))?;
        unistd::setuid(*uid).map_err(failed("becoming"))
    }
}

/// Gives up what these duties don't need. It is for this thread and those that it starts from now on.
pub fn give_up(duties: Duties, user: Option<&User>) -> Result<(), SandboxError> {
    if let Some(user) = user {
        user.embody()?;
    }
    let may = caps::read(None, CapSet::Permitted)?;
    let kept: CapsHashSet = may.intersection(&duties.needed()).copied().collect();
    caps::clear(None, CapSet::Inheritable)?;
    caps::set(None, CapSet::Effective, &kept)?;
    caps::set(None, CapSet::Permitted, &kept)?;
    let mut names: Vec<String> = kept.iter().map(ToString::to_string).collect();
    names.sort();
    let rest = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    let user = user.map(|User(user)| format!(", as the user {}", user.name)).unwrap_or_default();
    tracing::debug!("the capture goes on with these capabilities: {rest}{user}");
    Ok(())
}

/// Fails if the program may not capture by `AF_XDP`: the kernel's own word for it is at times a riddle.
pub fn require_af_xdp() -> Result<(), SandboxError> {
    let missing = missing(AF_XDP);
    if missing.is_empty() { Ok(()) } else { Err(SandboxError::Missing(missing)) }
}

/// Why another way than `AF_XDP` is taken, if the program may not capture by it.
pub fn without_af_xdp() -> Option<String> {
    let missing = missing(AF_XDP);
    (!missing.is_empty()).then(|| {
        format!("not AF_XDP, the faster way, for which {} is missing: {} gives it", missing.join(", "), setcap())
    })
}

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

    #[test]
    fn what_is_kept_is_what_is_needed() {
        let needed = |duties: Duties| {
            let mut names: Vec<String> = duties.needed().iter().map(ToString::to_string).collect();
            names.sort();
            names.join(" ")
        };
        assert_eq!(needed(Duties::default()), "");
        assert_eq!(needed(Duties { puts_back: true, ..Duties::default() }), "CAP_NET_ADMIN");
        let all = Duties { puts_back: true, asks_xdp: true, finds_processes: true };
        assert_eq!(needed(all), "CAP_BPF CAP_DAC_READ_SEARCH CAP_NET_ADMIN CAP_SYS_PTRACE");
    }

    #[test]
    fn capabilities_are_given_up_by_a_thread_and_by_those_that_it_starts() {
        let given_up = std::thread::spawn(|| {
            give_up(Duties { asks_xdp: true, ..Duties::default() }, None).unwrap();
            let inherited = std::thread::spawn(|| caps::read(None, CapSet::Permitted).unwrap());
            [caps::read(None, CapSet::Effective).unwrap(), inherited.join().unwrap()]
        });
        for set in given_up.join().unwrap() {
            assert!(set.iter().all(|one| *one == Capability::CAP_BPF), "{set:?}");
        }
    }

    #[test]
    fn a_user_that_is_not_there_is_told() {
        let error = User::named("no-such-user").unwrap_err().to_string();
        assert!(error.contains("no user no-such-user") && error.contains("getent passwd"), "{error}");
        assert!(User::named("root").is_ok());
    }
}
