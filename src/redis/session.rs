//! What a connection's commands change about its replies.
//!
//! Here: which commands end the rule "one reply per request, in order", so that pairing ends before it can go wrong, and
//! which let the server push.

use super::command::{CommandId, CommandTable};

/// What a request means for the replies that follow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Effect {
    /// Nothing.
    None,
    /// The server may push messages from now on (RESP3).
    MayPush,
    /// From now on replies can't be counted: subscriptions, MONITOR, replication, silenced replies.
    Unpairable,
}

const UNPAIRABLE: [&str; 10] = [
    "SUBSCRIBE",
    "PSUBSCRIBE",
    "SSUBSCRIBE",
    "UNSUBSCRIBE",
    "PUNSUBSCRIBE",
    "SUNSUBSCRIBE",
    "MONITOR",
    "SYNC",
    "PSYNC",
    "CLIENT REPLY",
];

/// The effects of all commands, by number.
#[derive(Debug)]
pub struct Effects(Vec<Effect>);

impl Effects {
    /// Looks the commands up in a table.
    pub fn new(table: &CommandTable) -> Effects {
        let effect = |name: &str| match name {
            _ if UNPAIRABLE.contains(&name) || name == "REPLCONF" => Effect::Unpairable,
            "HELLO" => Effect::MayPush,
            _ => Effect::None,
        };
        Effects(table.iter().map(|command| effect(&command.name)).collect())
    }

    /// What a command means.
    #[inline]
    pub fn of(&self, command: CommandId) -> Effect {
        self.0.get(usize::from(command.0)).copied().unwrap_or(Effect::None)
    }
}
