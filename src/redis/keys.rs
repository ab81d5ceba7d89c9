//! Which arguments of a command are keys, what the command does with each, and the cluster slot of a key.
//!
//! A [`KeyPlan`] says for one command where its keys are, in the terms of the command descriptions that Redis and Valkey
//! publish: [`KeySpec`]s, one behind the other, each with the [`KeyRole`] of its keys; and, for the few commands that servers
//! treat by code of their own, [`Words`], a list of options and what each means for keys. Plans are read from the command
//! table. [`finder::KeyFinder`] follows a plan while arguments stream by.

pub mod finder;
mod plan;
mod slot;

pub use plan::{Begin, Find, KeyPlan, KeySpec, PlanError, Rule, RuleAction, Words};
pub use slot::{slot, slot_of_whole};

/// What a command does with a key: `RO`, `RW`, `OW` or `RM`, and `ACCESS`, `UPDATE`, `INSERT`, `DELETE` as they apply, in the
/// meaning that the servers give these words. Six bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KeyRole(u8);

/// What happens to the value as a whole.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// `RO`: it is read.
    ReadOnly,
    /// `RW`: it is read and changed.
    ReadWrite,
    /// `OW`: it is overwritten, without regard to what it was.
    Overwrite,
    /// `RM`: the key is deleted, without regard to its value.
    Remove,
}

/// The four facts about the user's data that a role may add to its [`Access`].
const FACTS: [(&str, u8); 4] = [("ACCESS", 4), ("UPDATE", 8), ("INSERT", 16), ("DELETE", 32)];

impl KeyRole {
    /// Of a key that was guessed: it may be read and changed.
    pub const UNKNOWN: KeyRole = KeyRole(1);

    /// The role that these bits are; further ones are ignored.
    pub const fn from_bits(bits: u8) -> KeyRole {
        KeyRole(bits & 0x3f)
    }

    /// As [`KeyRole::from_bits`] takes them: at most six.
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// What happens to the value as a whole.
    pub const fn access(self) -> Access {
        match self.0 & 3 {
            0 => Access::ReadOnly,
            1 => Access::ReadWrite,
            2 => Access::Overwrite,
            _ => Access::Remove,
        }
    }

    /// Whether the key may be changed or deleted by it.
    pub const fn writes(self) -> bool {
        !matches!(self.access(), Access::ReadOnly)
    }

    /// `ACCESS`: the user's data is returned, copied or otherwise used.
    pub const fn accesses_data(self) -> bool {
        self.0 & 4 != 0
    }

    /// `UPDATE`: data is changed.
    pub fn updates_data(self) -> bool {
        self.0 & 8 != 0
    }

    /// `INSERT`: data is added, none changed or deleted.
    pub fn inserts_data(self) -> bool {
        self.0 & 16 != 0
    }

    /// `DELETE`: data is deleted.
    pub fn deletes_data(self) -> bool {
        self.0 & 32 != 0
    }
}

impl std::str::FromStr for KeyRole {
    type Err = PlanError;

    /// `RW+ACCESS+UPDATE`, in any case.
    fn from_str(text: &str) -> Result<KeyRole, PlanError> {
        let mut words = text.split('+');
        let access = ["RO", "RW", "OW", "RM"];
        let first = words.next().unwrap_or_default();
        let mut bits = access.iter().position(|name| name.eq_ignore_ascii_case(first)).ok_or(PlanError::Role)? as u8;
        for word in words {
            let (_, bit) = FACTS.iter().find(|(name, _)| name.eq_ignore_ascii_case(word)).ok_or(PlanError::Role)?;
            bits |= bit;
        }
        Ok(KeyRole(bits))
    }
}

#[cfg(test)]
mod tests;
