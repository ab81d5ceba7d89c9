//! Makes a card's receive queues symmetric for a capture, and puts back what was before: at the end, or, if the capture was killed,
//! when this is asked for the next time.
//!
//! What was before stands in a file, which is there before anything is changed and is removed when all is as it was. The capture
//! holds a lock on it, which the kernel takes back however the program ends: a file without a lock is one that was left behind.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::ethtool::Ethtool;
use super::rss::{Rss, Symmetry};

/// Where the files are; they need not outlive the machine.
const FOLDER: &str = "/run/resptap";
/// Longest file that is read, in bytes: several times what the biggest table needs.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// A card whose settings can be read and changed.
pub trait Card {
    /// How it spreads packets; `None`: its driver does not tell.
    fn rss(&self) -> io::Result<Option<Rss>>;
    /// Has it spread them so.
    fn set_rss(&self, rss: &Rss) -> io::Result<()>;
}

impl Card for Ethtool {
    fn rss(&self) -> io::Result<Option<Rss>> {
        Ethtool::rss(self)
    }

    fn set_rss(&self, rss: &Rss) -> io::Result<()> {
        Ethtool::set_rss(self, rss)
    }
}

/// Why RSS can't be made symmetric, or put back.
#[derive(Debug, thiserror::Error)]
pub enum RssError {
    /// See the message.
    #[error("how {0} spreads packets over its queues can't be read: its driver does not tell (ethtool -x {0})")]
    Unknown(String),
    /// See the message.
    #[error("{name}: {what} failed: {source}")]
    Card {
        /// The interface.
        name: String,
        /// What was tried.
        what: &'static str,
        /// Why.
        source: io::Error,
    },
    /// See the message.
    #[error(
        "changing how {0} spreads packets over its queues is not permitted: it needs the capability CAP_NET_ADMIN. Run resptap as \
         root, or leave --rss symmetric out"
    )]
    NotPermitted(String),
    /// See the message.
    #[error(
        "{name} can't bring both directions of a connection to the same queue: {reasons}; leave --rss symmetric out, and the \
         workers hand packets to one another instead"
    )]
    Refused {
        /// The interface.
        name: String,
        /// Of each way, why not.
        reasons: String,
    },
    /// See the message.
    #[error(
        "{name} is held by another resptap (process {pid}), which has changed how it spreads packets; end that first"
    )]
    InUse {
        /// The interface.
        name: String,
        /// The other.
        pid: u32,
    },
    /// See the message.
    #[error(
        "the settings of {name} can't be kept in {path}, from which they are put back: {source}; make the folder writable (install \
         -d -o $USER {FOLDER}), or run resptap as root"
    )]
    Keep {
        /// The interface.
        name: String,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// What was before.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Before {
    /// Who changed it.
    pid: u32,
    /// The card's hardware address: another card may have got the name.
    address: String,
    rss: Rss,
}

/// What became of settings that a killed capture left behind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Left {
    /// There were none.
    Nothing,
    /// They are as they were before that process.
    PutBack(u32),
    /// They are of another card, which has had this name; nothing was changed.
    OfAnother,
    /// A capture that runs has them: this process.
    InUse(u32),
}

/// Where settings of an interface are kept.
#[derive(Clone, Debug)]
pub struct Place {
    name: String,
    address: String,
    path: PathBuf,
}

impl Place {
    /// Of an interface of this network namespace.
    pub fn of(interface: &str) -> Place {
        // Interfaces of several namespaces may have one name; without /proc there is no telling, and one is enough.
        let space = fs::metadata("/proc/self/ns/net").map_or(0, |space| space.ino());
        let address = fs::read_to_string(Path::new("/sys/class/net").join(interface).join("address"));
        Place::within(Path::new(FOLDER), space, interface, address.unwrap_or_default().trim())
    }

    fn within(folder: &Path, space: u64, interface: &str, address: &str) -> Place {
        let path = folder.join(format!("rss-{space}-{interface}.json"));
        Place { name: interface.to_owned(), address: address.to_owned(), path }
    }

    /// Puts back what a killed capture left behind.
    pub fn restore<C: Card>(&self, card: &C) -> Result<Left, RssError> {
        let file = match OpenOptions::new().read(true).write(true).open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Left::Nothing),
            Err(error) => return Err(self.keep_error(error)),
        };
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(Left::InUse(self.owner())),
            Err(TryLockError::Error(error)) => return Err(self.keep_error(error)),
        }
        // One that was not written to its end was left before anything had been changed.
        let Some(before) = self.read() else {
            self.remove(&file);
            return Ok(Left::Nothing);
        };
        if before.address != self.address {
            self.remove(&file);
            return Ok(Left::OfAnother);
        }
        put_back(&self.name, card, &before.rss)?;
        self.remove(&file);
        Ok(Left::PutBack(before.pid))
    }

    /// Whether a killed capture left settings behind: its process.
    pub fn left(&self) -> Option<u32> {
        let file = File::open(&self.path).ok()?;
        file.try_lock_shared().ok()?;
        self.read().filter(|before| before.address == self.address).map(|before| before.pid)
    }

    /// Has the card bring both directions of a connection to one queue.
    pub fn make_symmetric<C: Card>(&self, card: C) -> Result<Symmetric<C>, RssError> {
        let rss = self.rss(&card)?;
        let symmetry = rss.symmetry();
        if symmetry != Symmetry::None {
            return Ok(Symmetric { symmetry, held: None });
        }
        let file = self.keep(&Before { pid: std::process::id(), address: self.address.clone(), rss: rss.clone() })?;
        let mut held = Held { place: self.clone(), card, before: rss, file, is_over: false };
        match held.change() {
            Ok(symmetry) => Ok(Symmetric { symmetry, held: Some(held) }),
            Err(error) => {
                // What was refused has changed nothing, what was taken and is not in force might have.
                held.end()?;
                Err(error)
            }
        }
    }

    fn rss(&self, card: &impl Card) -> Result<Rss, RssError> {
        let rss = card.rss().map_err(card_error(&self.name, "reading how packets are spread over queues"))?;
        rss.ok_or_else(|| RssError::Unknown(self.name.clone()))
    }

    /// Writes the file, and has the lock.
    fn keep(&self, before: &Before) -> Result<File, RssError> {
        let mut file = self.locked()?;
        let text = serde_json::to_vec(before).map_err(io::Error::from).map_err(|error| self.keep_error(error))?;
        let written = file
            .set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| file.write_all(&text))
            .and_then(|()| file.sync_all());
        written.map_err(|error| self.keep_error(error))?;
        Ok(file)
    }

    fn locked(&self) -> Result<File, RssError> {
        let folder = self.path.parent().unwrap_or(&self.path);
        fs::create_dir_all(folder).map_err(|error| self.keep_error(error))?;
        loop {
            let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&self.path);
            let file = opened.map_err(|error| self.keep_error(error))?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    return Err(RssError::InUse { name: self.name.clone(), pid: self.owner() });
                }
                Err(TryLockError::Error(error)) => return Err(self.keep_error(error)),
            }
            // Whoever had the lock may have removed the file before it was ours.
            if file.metadata().is_ok_and(|metadata| metadata.nlink() > 0) {
                return Ok(file);
            }
        }
    }

    fn read(&self) -> Option<Before> {
        let mut text = Vec::new();
        File::open(&self.path).ok()?.take(FILE_BYTES_MAX).read_to_end(&mut text).ok()?;
        serde_json::from_slice(&text).ok()
    }

    /// Who wrote the file.
    fn owner(&self) -> u32 {
        self.read().map_or(0, |before| before.pid)
    }

    /// Whoever waits for the lock finds nothing in it.
    fn remove(&self, file: &File) {
        // Another try finds the settings as they should be, and does no harm.
        let _ = file.set_len(0);
        let _ = fs::remove_file(&self.path);
    }

    fn keep_error(&self, source: io::Error) -> RssError {
        RssError::Keep { name: self.name.clone(), path: self.path.clone(), source }
    }
}

/// A card that brings both directions of a connection to one queue.
#[derive(Debug)]
pub struct Symmetric<C: Card> {
    /// By what.
    pub symmetry: Symmetry,
    /// What was changed for it; `None`: it did already.
    pub held: Option<Held<C>>,
}

/// Settings that were changed; they are put back at the latest when this is dropped.
#[derive(Debug)]
pub struct Held<C: Card> {
    place: Place,
    card: C,
    before: Rss,
    /// With its lock.
    file: File,
    is_over: bool,
}

impl<C: Card> Held<C> {
    /// Tries one way after the other; only what is read back counts.
    fn change(&mut self) -> Result<Symmetry, RssError> {
        let mut reasons = Vec::new();
        for (way, name) in self.before.symmetric_ways().iter().zip(["symmetric-xor", "a symmetric key"]) {
            match self.card.set_rss(way).and_then(|()| self.card.rss()) {
                Ok(Some(now)) if way.is_in_force_in(&now) && now.symmetry() != Symmetry::None => {
                    return Ok(now.symmetry());
                }
                Ok(_) => reasons.push(format!("{name} was taken, but is not in force")),
                Err(error) if error.raw_os_error() == Some(libc::EPERM) => {
                    return Err(RssError::NotPermitted(self.place.name.clone()));
                }
                Err(error) => reasons.push(format!("{name} was refused ({error})")),
            }
        }
        Err(RssError::Refused { name: self.place.name.clone(), reasons: reasons.join(", ") })
    }

    /// Puts back what was before.
    pub fn put_back(mut self) -> Result<(), RssError> {
        self.end()
    }

    fn end(&mut self) -> Result<(), RssError> {
        // Tried once: where it fails the file stays, for `resptap check --restore`.
        self.is_over = true;
        put_back(&self.place.name, &self.card, &self.before)?;
        self.place.remove(&self.file);
        Ok(())
    }
}

impl<C: Card> Drop for Held<C> {
    fn drop(&mut self) {
        if !self.is_over
            && let Err(error) = self.end()
        {
            tracing::error!("{error}");
        }
    }
}

fn put_back(name: &str, card: &impl Card, before: &Rss) -> Result<(), RssError> {
    let what = "putting back how packets were spread over queues";
    match card.rss() {
        Ok(Some(now)) if before.is_in_force_in(&now) => return Ok(()),
        // The interface is gone, and its settings with it.
        Err(error) if error.raw_os_error() == Some(libc::ENODEV) => return Ok(()),
        _ => {}
    }
    card.set_rss(before).map_err(|source| match source.raw_os_error() {
        Some(libc::EPERM) => RssError::NotPermitted(name.to_owned()),
        _ => card_error(name, what)(source),
    })?;
    let now = card.rss().map_err(card_error(name, what))?;
    if now.is_some_and(|now| before.is_in_force_in(&now)) {
        return Ok(());
    }
    Err(card_error(name, what)(io::Error::other("the driver took it, but it is not in force")))
}

fn card_error(name: &str, what: &'static str) -> impl Fn(io::Error) -> RssError {
    let name = name.to_owned();
    move |source| RssError::Card { name: name.clone(), what, source }
}

#[cfg(test)]
mod tests;
