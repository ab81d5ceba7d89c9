//! Opens an interface in the way that is asked for, or in the best of those that it has.

use super::afpacket::{AfPacket, LiveError};
#[cfg(feature = "afxdp")]
use super::afxdp::{AfXdp, XdpError};
use super::interface::{names, number_of, use_of};
use super::live::Tap;
use super::nic::numa::{Near, node_of};
use super::spread::Spread;
use super::{Others, Way};

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'w> {
    /// The way; `None`: the best that takes nothing away from the host.
    pub way: Option<Way>,
    /// The TCP ports that are observed.
    pub ports: &'w [u16],
    /// What becomes of frames that `AF_XDP` does not keep.
    pub others: Others,
    /// Why none of `AF_XDP`'s ways is to be tried unless it is asked for.
    pub without_xdp: Option<&'w str>,
    /// Whether frames may be taken away from an interface that the host uses.
    pub consume: bool,
    /// Workers that share the interface's frames, or those of each of its queues.
    pub spread: Spread,
    /// Interfaces altogether.
    pub interfaces: usize,
}

/// An interface that was opened.
#[derive(Debug)]
pub struct Opened {
    /// Its sockets, one for each worker in turn, or of each queue one for each worker.
    pub taps: Vec<Tap>,
    /// In which way.
    pub way: Way,
    /// Why in this one.
    pub why: String,
    /// The NUMA node of its card, of which the memory for packets is, where there are several.
    pub node: Option<usize>,
}

/// Why an interface can't be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// See there.
    #[error(transparent)]
    Live(#[from] LiveError),
    /// See there.
    #[cfg(feature = "afxdp")]
    #[error(transparent)]
    Xdp(#[from] XdpError),
    /// See the message.
    #[error(
        "{name} is the host's own ({why}), and --mode {way} takes packets of the observed ports away from the host; take --mode \
         af-packet, which takes nothing away, or say --consume if that is what you want"
    )]
    InUse {
        /// The interface.
        name: String,
        /// The way that was asked for.
        way: Way,
        /// What it is used for.
        why: String,
    },
    /// See the message.
    #[cfg(not(feature = "afxdp"))]
    #[error(
        "--mode {way} for {name} is not in this resptap, which was built without AF_XDP (cargo's feature `afxdp`); take --mode af-packet"
    )]
    NotBuilt {
        /// The interface.
        name: String,
        /// The way that was asked for.
        way: Way,
    },
}

/// Opens an interface.
pub fn open(name: &str, wanted: &Wanted<'_>) -> Result<Opened, OpenError> {
    let Some(number) = number_of(name) else {
        return Err(LiveError::NoSuchInterface { name: name.to_owned(), there: names() }.into());
    };
    let in_use = use_of(name).filter(|_| !wanted.consume);
    match (wanted.way, in_use) {
        (Some(Way::AfPacket), _) => open_by(Way::AfPacket, name, number, wanted, "asked for"),
        (Some(way), Some(why)) => Err(OpenError::InUse { name: name.to_owned(), way, why }),
        (Some(way), None) => open_by(way, name, number, wanted, "asked for"),
        (None, Some(why)) => {
            let why = format!("the interface is the host's own: {why}");
            open_by(Way::AfPacket, name, number, wanted, &why)
        }
        (None, None) => match wanted.without_xdp {
            Some(why) => open_by(Way::AfPacket, name, number, wanted, why),
            None => open_best(name, number, wanted),
        },
    }
}

/// Tries one way after the other; the reason of that which is taken are those of the better ones that are not.
fn open_best(name: &str, number: i32, wanted: &Wanted<'_>) -> Result<Opened, OpenError> {
    let mut refused: Vec<String> = Vec::new();
    for way in Way::ALL {
        let why = if refused.is_empty() { "nothing is better".to_owned() } else { refused.join("; ") };
        match open_by(way, name, number, wanted, &why) {
            // What is not permitted in one of AF_XDP's ways is not in the others.
            #[cfg(feature = "afxdp")]
            Err(OpenError::Xdp(error @ XdpError::NotPermitted { .. })) => {
                return open_by(Way::AfPacket, name, number, wanted, &format!("not AF_XDP: {error}"));
            }
            Err(error) if way != Way::AfPacket => refused.push(format!("not {way}: {error}")),
            opened => return opened,
        }
    }
    unreachable!("the last way is taken, or fails")
}

fn open_by(way: Way, name: &str, number: i32, wanted: &Wanted<'_>, why: &str) -> Result<Opened, OpenError> {
    // Rings and memory are filled with pages as they are made. In a container it may not be permitted; packets come all the same.
    let near = node_of(name).and_then(|node| Some((node, Near::to(node).ok()?)));
    let taps = match way {
        Way::AfPacket => {
            let sockets = wanted.spread.workers as usize;
            AfPacket::open(name, number, sockets, sockets * wanted.interfaces)?.into_iter().map(Tap::AfPacket).collect()
        }
        way => open_xdp(way, name, number, wanted)?,
    };
    Ok(Opened { taps, way, why: why.to_owned(), node: near.map(|(node, _)| node) })
}

#[cfg(feature = "afxdp")]
fn open_xdp(way: Way, name: &str, number: i32, wanted: &Wanted<'_>) -> Result<Vec<Tap>, OpenError> {
    let opened = AfXdp::open(name, number, way, wanted.ports, wanted.others, wanted.spread)?;
    Ok(opened.into_iter().map(|source| Tap::AfXdp(Box::new(source))).collect())
}

#[cfg(not(feature = "afxdp"))]
fn open_xdp(way: Way, name: &str, _number: i32, _wanted: &Wanted<'_>) -> Result<Vec<Tap>, OpenError> {
    Err(OpenError::NotBuilt { name: name.to_owned(), way })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(way: Option<Way>) -> Wanted<'static> {
        Wanted {
            way,
            ports: &[6379],
            others: Others::Pass,
            without_xdp: None,
            consume: false,
            spread: Spread { workers: 1, secret: 1 },
            interfaces: 1,
        }
    }

    #[test]
    fn an_interface_that_is_not_there_is_told_with_those_that_are() {
        let error = open("no-such-if", &wanted(None)).unwrap_err().to_string();
        assert!(error.starts_with("there is no interface no-such-if to capture on; there are: "), "{error}");
        assert!(error.contains("lo"), "{error}");
    }

    #[test]
    fn packets_of_the_hosts_own_interface_are_not_taken_away_unasked() {
        for way in [Way::ZeroCopy, Way::Copy, Way::Generic] {
            let error = open("lo", &wanted(Some(way))).unwrap_err().to_string();
            assert!(error.contains("it has the address 127.0.0.1") && error.contains("--consume"), "{error}");
        }
    }
}
