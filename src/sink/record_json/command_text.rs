//! What records say of their command, made once.

use super::super::json_text::Piece;
use super::Form;

/// What records say of their command: few long pieces are faster than many short ones.
#[derive(Debug, Default)]
pub(super) struct CommandText {
    /// Its name, ready for JSON.
    pub(super) name: Vec<u8>,
    /// `type` and `method`.
    pub(super) method: Piece<64>,
    /// `query`, up to the arguments, and a space.
    pub(super) query: Piece<48>,
    /// What follows `event.id`, up to the value of `outcome`, of one that succeeded. The action is in lower case, its words joined by
    /// dots.
    pub(super) event: Piece<128>,
    /// What follows `community_id`: the beginning of `redis`, up to the command's name, and behind that its usual counts, if there
    /// are any.
    pub(super) redis: Piece<REDIS_BYTES>,
    /// How many words it has as [`CommandText::redis`] ends, with one key; 0: it ends with the name.
    pub(super) usual_args: u32,
    /// Bytes of that end.
    pub(super) counts_bytes: u8,
    /// All of these can be put into a room, and so can the status.
    pub(super) is_short: bool,
}

/// Bytes of the longest [`CommandText::redis`]; with a name that leaves no room for them there are no counts in it.
const REDIS_BYTES: usize = 64;

/// The value of `outcome` in [`CommandText::event`].
pub(super) const SUCCESS: &[u8] = b"success";

impl CommandText {
    /// `name` is ready for JSON. `args`: how many words one has, most often.
    pub(super) fn set(&mut self, name: &[u8], args: u32, form: &Form) {
        self.name.clear();
        self.name.extend_from_slice(name);
        let dotted = |byte: &u8| if *byte == b' ' { b'.' } else { byte.to_ascii_lowercase() };
        let action: Vec<u8> = name.iter().map(dotted).collect();
        self.method.set(&[br#""type":"redis","method":""#, name]);
        self.query.set(&[br#"","query":""#, name, b" "]);
        let kind = br#"","kind":"event","category":["network"],"dataset":"redis","action":"redis."#;
        self.event.set(&[kind, &action, br#"","outcome":""#, SUCCESS]);
        let command = br#"},"redis":{"command":""#;
        let counts = SLOT_COUNTS.get(args as usize).map_or(&[][..], |counts| &counts[1]);
        let has_counts = command.len() + name.len() + counts.len() <= REDIS_BYTES;
        let counts = if has_counts { counts } else { &[] };
        self.redis.set(&[command, name, counts]);
        self.counts_bytes = counts.len() as u8;
        self.usual_args = if counts.is_empty() { 0 } else { args };
        self.is_short = form.status.iter().all(Piece::is_short)
            && self.method.is_short()
            && self.query.is_short()
            && self.event.is_short()
            && self.redis.is_short();
    }
}

/// The end of a command's name, how many arguments and keys it has, where these are few, and the name of its slot.
pub(super) static SLOT_COUNTS: [[[u8; 27]; 10]; 10] = {
    let mut counts = [[*br#"","args":0,"keys":0,"slot":"#; 10]; 10];
    let mut n = 0;
    while n < 100 {
        counts[n / 10][n % 10][9] += (n / 10) as u8;
        counts[n / 10][n % 10][18] += (n % 10) as u8;
        n += 1;
    }
    counts
};
