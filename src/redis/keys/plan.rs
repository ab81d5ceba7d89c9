//! What is known of a command's keys before it is seen, and how the command table spells it.
//!
//! The notation, entries separated by spaces:
//!
//! * `1/range:0:1:0=RW+UPDATE`: from argument 1 (0 is the command itself) to `last` (relative; negative: counted from the
//!   last argument, −1), every `step`-th; `limit` n > 1 takes the n-th part of the arguments that remain.
//! * `2/keynum:0:1:1=RO+ACCESS`: from argument 2 on, the argument that tells how many keys there are, the first key, the step.
//! * `STREAMS@1/range:…`: a range from behind the first argument that is this word, looked for from argument 1 on.
//! * `3/words:…`, last and once: from argument 3 on the arguments are options, told apart by rules, separated by `:`, of
//!   which each has a word (`*`: any other, or one that lacks arguments), and may have `.n` (skip n arguments) or one of
//!   `>ROLE` (the next argument is a key; a later one of this kind takes its place, as servers do),
//!   `>>ROLE` (all that follow are keys, in place of a first key that is empty; if that is not, there are none),
//!   `=ROLE` (the first key's role becomes this; may be behind `.n`).

use std::ops::RangeInclusive;
use std::str::FromStr;

use super::KeyRole;

/// Where the keys of a command begin.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Begin {
    /// At this argument (0 is the command itself).
    Index(u32),
    /// After the first argument that equals this word (upper case), looked for from this argument on.
    Keyword {
        /// The word, upper case.
        word: String,
        /// First argument that may be it.
        from: u32,
    },
}

/// How they go on from there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Find {
    /// Up to `last` (relative to the beginning; negative: counted from the last argument, −1), every `step`-th.
    /// With `last` −1 and `limit` n > 1, only the first n-th part of the arguments that remain.
    Range {
        /// Last key.
        last: i32,
        /// Arguments from a key to the next.
        step: u32,
        /// 0 or 1: no limit.
        limit: u32,
    },
    /// An argument tells how many keys there are.
    KeyNumber {
        /// Which (relative to the beginning).
        count_at: u32,
        /// The first key (relative to the beginning).
        first: u32,
        /// Arguments from a key to the next.
        step: u32,
    },
}

/// Where a command has keys.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeySpec {
    /// Where they begin.
    pub begin: Begin,
    /// How they go on.
    pub find: Find,
    /// What is done with them.
    pub role: KeyRole,
}

/// Options of a command that say something about keys.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Words {
    /// The first argument that is an option.
    pub from: u32,
    /// What each means.
    pub rules: Vec<Rule>,
    /// The first key's role once an argument is no option, or an option lacks its arguments.
    pub other: Option<KeyRole>,
}

/// What an option means.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rule {
    /// The option, upper case.
    pub word: String,
    /// How many arguments of its own it has, keys not counted.
    pub skip: u32,
    /// What it says about keys.
    pub action: RuleAction,
}

/// What an option says about keys.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RuleAction {
    /// Nothing.
    Nothing,
    /// The next argument is a key. The last one so named is it.
    Key(KeyRole),
    /// If the first key is empty, all arguments that follow are keys, in its place; if it is not, there are no keys.
    Rest(KeyRole),
    /// The first key's role is this.
    FirstKey(KeyRole),
}

/// All that the command table says about a command's keys.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct KeyPlan {
    /// Words that the command has at least, its own counted: with fewer servers refuse it, and it has no keys.
    pub(super) words_min: u32,
    /// In order of position.
    pub(super) specs: Vec<KeySpec>,
    /// Behind them.
    pub(super) words: Option<Words>,
    /// The short cut that most commands take: argument 1 is the key, and there is no other spec.
    pub(super) only_first: Option<KeyRole>,
}

/// The text says nothing about keys that could be followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// The form is wrong.
    #[error(
        "a key specification such as 1/range:-1:2:0=RW+UPDATE, STREAMS@1/range:-1:1:2=RO or 3/words:STORE>OW+UPDATE"
    )]
    Form,
    /// A role is wrong.
    #[error("a role: RO, RW, OW or RM, and +ACCESS, +UPDATE, +INSERT, +DELETE as they apply")]
    Role,
    /// Arguments are looked at once.
    #[error("in order: positions must grow, and a keyword or `words` must be the last")]
    Order,
}

impl KeyPlan {
    /// Reads the entries of a command that has at least `words_min` words. An error comes with the entry at fault.
    pub fn parse(text: &str, words_min: u32) -> Result<KeyPlan, (&str, PlanError)> {
        let mut plan = KeyPlan { words_min, ..KeyPlan::default() };
        for entry in text.split(' ').filter(|entry| !entry.is_empty()) {
            plan.add(entry).map_err(|error| (entry, error))?;
        }
        if let [KeySpec { begin: Begin::Index(1), find: Find::Range { last: 0, .. }, role }] = plan.specs[..] {
            plan.only_first = Some(role);
        }
        Ok(plan)
    }

    fn add(&mut self, entry: &str) -> Result<(), PlanError> {
        if self.words.is_some() {
            return Err(PlanError::Order);
        }
        if let Some((from, rules)) = entry.split_once("/words:") {
            self.words = Some(Words::parse(number(from)?, rules)?);
            return Ok(());
        }
        let spec: KeySpec = entry.parse()?;
        let in_order = match (self.specs.last().map(|last| &last.begin), &spec.begin) {
            (None | Some(Begin::Index(_)), Begin::Keyword { .. }) | (None, _) => true,
            (Some(Begin::Index(before)), Begin::Index(begin)) => before <= begin,
            (Some(Begin::Keyword { .. }), _) => false,
        };
        if !in_order || self.specs.len() == usize::from(u8::MAX) {
            return Err(PlanError::Order);
        }
        self.specs.push(spec);
        Ok(())
    }

    /// Whether keys follow a keyword.
    pub fn has_keyword(&self) -> bool {
        self.specs.iter().any(|spec| matches!(spec.begin, Begin::Keyword { .. }))
    }

    /// If argument 1 is the only key, whatever the others are: its role, and requests of how many words that holds for.
    pub fn only_key(&self) -> Option<(KeyRole, RangeInclusive<u32>)> {
        let most = self.words.as_ref().map_or(u32::MAX, |words| words.from);
        self.only_first.map(|role| (role, self.words_min..=most))
    }

    /// Whether there can be keys at all.
    pub fn is_empty(&self) -> bool {
        self.specs.is_empty() && self.words.is_none()
    }
}

impl FromStr for KeySpec {
    type Err = PlanError;

    fn from_str(text: &str) -> Result<KeySpec, PlanError> {
        let (place, role) = text.split_once('=').ok_or(PlanError::Form)?;
        let (begin, find) = place.split_once('/').ok_or(PlanError::Form)?;
        let begin = match begin.split_once('@') {
            None => Begin::Index(at_least_one(begin)?),
            Some(("", _)) => return Err(PlanError::Form),
            Some((word, from)) => Begin::Keyword { word: word.to_ascii_uppercase(), from: number(from)? },
        };
        let fields: Vec<&str> = find.split(':').collect();
        let find = match fields[..] {
            ["range", last, step, limit] => Find::Range {
                last: last.parse().map_err(|_| PlanError::Form)?,
                step: at_least_one(step)?,
                limit: number(limit)?,
            },
            ["keynum", count_at, first, step] if matches!(begin, Begin::Index(_)) => {
                Find::KeyNumber { count_at: number(count_at)?, first: number(first)?, step: at_least_one(step)? }
            }
            _ => return Err(PlanError::Form),
        };
        Ok(KeySpec { begin, find, role: role.parse()? })
    }
}

impl Words {
    fn parse(from: u32, text: &str) -> Result<Words, PlanError> {
        let mut words = Words { from, rules: Vec::new(), other: None };
        for text in text.split(':') {
            let rule = Rule::parse(text)?;
            match rule {
                Rule { ref word, skip: 0, action: RuleAction::FirstKey(role) } if word == "*" => {
                    words.other = Some(role);
                }
                Rule { ref word, .. } if word == "*" => return Err(PlanError::Form),
                _ => words.rules.push(rule),
            }
        }
        if words.rules.len() > usize::from(u8::MAX) { Err(PlanError::Form) } else { Ok(words) }
    }
}

impl Rule {
    fn parse(text: &str) -> Result<Rule, PlanError> {
        let (front, action) = if let Some((front, role)) = text.split_once(">>") {
            (front, RuleAction::Rest(role.parse()?))
        } else if let Some((front, role)) = text.split_once('>') {
            (front, RuleAction::Key(role.parse()?))
        } else if let Some((front, role)) = text.split_once('=') {
            (front, RuleAction::FirstKey(role.parse()?))
        } else {
            (text, RuleAction::Nothing)
        };
        let (word, skip) = match front.split_once('.') {
            None => (front, 0),
            Some((word, skip)) => (word, number(skip)?),
        };
        if word.is_empty() || skip > 0 && matches!(action, RuleAction::Key(_) | RuleAction::Rest(_)) {
            return Err(PlanError::Form);
        }
        Ok(Rule { word: word.to_ascii_uppercase(), skip, action })
    }
}

/// A position or a number of arguments: within 16 bits, so that sums of a few stay within 32.
fn number(text: &str) -> Result<u32, PlanError> {
    text.parse::<u16>().map(u32::from).map_err(|_| PlanError::Form)
}

/// A number that is not zero.
fn at_least_one(text: &str) -> Result<u32, PlanError> {
    number(text).and_then(|number| if number == 0 { Err(PlanError::Form) } else { Ok(number) })
}
