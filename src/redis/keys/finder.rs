//! Finds keys while a command's arguments stream by, one after the other.
//!
//! [`KeyFinder`] answers for each argument, in order, whether it is a key and whether its bytes are needed to go on. What
//! only later arguments decide is taken back by a [`Settle`]: nothing is buffered, and nothing allocates. An inline command
//! has no known number of arguments until it ends ([`UNKNOWN_COUNT`]): what is then found to be none is taken back too.
//!
//! As servers have it, a command whose arguments contradict its plan (more keys announced than there are arguments, fewer
//! words than it must have) has no keys at all. More words than a fixed number are no contradiction here: a newer server
//! may know options that the table doesn't.

use super::plan::{Begin, Find, KeyPlan, Rule, RuleAction};
use super::{KeyRole, KeySpec, Words};

/// The number of arguments of a command that has not told it.
pub const UNKNOWN_COUNT: u32 = u32::MAX;

/// What is known of where keys are while a command's arguments stream by. Plain data, kept with the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyFinder {
    /// Which of the plan's specs is at work.
    spec: u8,
    /// Whether `first`, `last` and `step` are known.
    open: bool,
    /// The arguments contradict the plan.
    void: bool,
    /// The first key is the empty string.
    first_is_empty: bool,
    /// An option has named a key before.
    named: bool,
    next: Next,
    /// The first key, of those that no spec before it has passed by.
    first: u32,
    /// The last one, at most.
    last: u32,
    step: u32,
    /// Arguments before this one belong to an option.
    skip_to: u32,
}

/// What an option has made of the arguments behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// More options.
    Option,
    /// A key, then more options.
    Key(KeyRole),
    /// Only keys.
    Keys(KeyRole),
    /// Nothing that matters.
    Nothing,
}

/// What an argument is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// A key.
    Key(KeyRole),
    /// A key in place of the one that was found from this argument on, which is none.
    Instead(KeyRole, u32),
    /// Its bytes decide where the keys are: to be given to [`KeyFinder::seen`].
    Decides,
    /// Neither.
    Other,
}

/// What has turned out about keys that were found before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Settle {
    /// Nothing.
    Nothing,
    /// None of them is a key.
    NoKeys,
    /// The role of the first one is this.
    FirstKey(KeyRole),
    /// Those behind this argument, so many, are none.
    Beyond(u32, u32),
}

impl KeyFinder {
    /// Before the first argument.
    pub const NEW: KeyFinder = KeyFinder {
        spec: 0,
        open: false,
        void: false,
        first_is_empty: false,
        named: false,
        next: Next::Option,
        first: 0,
        last: 0,
        step: 0,
        skip_to: 0,
    };

    /// What argument `index` of `count` is. To be asked for every argument after the command words, in order.
    #[inline]
    pub fn role(&mut self, plan: &KeyPlan, index: u32, count: u32) -> Role {
        if count < plan.words_min {
            return Role::Other;
        }
        match plan.only_first {
            Some(role) if index == 1 => Role::Key(role),
            Some(_) if plan.words.is_none() => Role::Other,
            Some(_) => self.word_role(plan, index),
            None => self.spec_role(plan, index, count),
        }
    }

    fn spec_role(&mut self, plan: &KeyPlan, index: u32, count: u32) -> Role {
        if self.void {
            return Role::Other;
        }
        while let Some(spec) = plan.specs.get(usize::from(self.spec)) {
            if !self.open {
                match (&spec.begin, &spec.find) {
                    (Begin::Keyword { from, .. }, _) => {
                        return if index >= *from { Role::Decides } else { Role::Other };
                    }
                    (Begin::Index(begin), Find::KeyNumber { count_at, .. }) => {
                        let at = begin + count_at;
                        if index <= at {
                            return if index == at { Role::Decides } else { Role::Other };
                        }
                        // Its bytes were missing.
                        self.next_spec();
                        continue;
                    }
                    (Begin::Index(begin), find) => {
                        let Some(last) = last_of_range(*begin, find, count) else {
                            self.next_spec();
                            continue;
                        };
                        self.open(*begin, last, find);
                        self.pass_by(index);
                    }
                }
            }
            if index < self.first {
                return Role::Other;
            }
            if index > self.last {
                self.next_spec();
                continue;
            }
            let is_key = (index - self.first).is_multiple_of(self.step);
            return if is_key { Role::Key(spec.role) } else { Role::Other };
        }
        self.word_role(plan, index)
    }

    fn word_role(&mut self, plan: &KeyPlan, index: u32) -> Role {
        match (self.next, &plan.words) {
            (Next::Keys(role), _) => Role::Key(role),
            (Next::Key(role), Some(words)) => {
                self.next = Next::Option;
                let replaces = std::mem::replace(&mut self.named, true);
                if replaces { Role::Instead(role, words.from) } else { Role::Key(role) }
            }
            (Next::Option, Some(words)) if index >= words.from.max(self.skip_to) => Role::Decides,
            _ => Role::Other,
        }
    }

    /// The first key is the empty string.
    pub fn first_key_is_empty(&mut self) {
        self.first_is_empty = true;
    }

    /// The bytes of an argument for which [`KeyFinder::role`] answered [`Role::Decides`]; `None`: too many to be a word.
    pub fn seen(&mut self, plan: &KeyPlan, index: u32, count: u32, text: Option<&[u8]>) -> Settle {
        let text = text.unwrap_or_default();
        match plan.specs.get(usize::from(self.spec)) {
            Some(spec) if plan.only_first.is_none() => self.spec_seen(spec, index, count, text),
            _ => plan.words.as_ref().map_or(Settle::Nothing, |words| self.word_seen(words, index, count, text)),
        }
    }

    fn spec_seen(&mut self, spec: &KeySpec, index: u32, count: u32, text: &[u8]) -> Settle {
        if let Begin::Keyword { word, .. } = &spec.begin
            && !word.as_bytes().eq_ignore_ascii_case(text)
        {
            return Settle::Nothing;
        }
        let (begin, last) = match &spec.find {
            find @ Find::Range { .. } => (index + 1, last_of_range(index + 1, find, count)),
            Find::KeyNumber { count_at, first, step } => {
                let begin = index - count_at.min(&index) + first;
                let keys = number_of_keys(text).filter(|&keys| keys > 0);
                (begin, keys.and_then(|keys| begin.checked_add((keys - 1).checked_mul(*step)?)))
            }
        };
        let Some(last) = last.filter(|&last| last < count) else {
            self.void = true;
            return Settle::NoKeys;
        };
        self.open(begin, last, &spec.find);
        Settle::Nothing
    }

    fn word_seen(&mut self, words: &Words, index: u32, count: u32, text: &[u8]) -> Settle {
        let rule = words.rules.iter().find(|rule| rule.word.as_bytes().eq_ignore_ascii_case(text));
        let Some(&Rule { skip, action, .. }) = rule else { return self.no_option(words) };
        self.skip_to = index.saturating_add(skip).saturating_add(1);
        if self.skip_to > count && words.other.is_some() {
            return self.no_option(words);
        }
        match action {
            RuleAction::Nothing => Settle::Nothing,
            RuleAction::Key(role) => {
                self.next = Next::Key(role);
                Settle::Nothing
            }
            RuleAction::Rest(role) => {
                self.next = if self.first_is_empty { Next::Keys(role) } else { Next::Nothing };
                Settle::NoKeys
            }
            RuleAction::FirstKey(role) => Settle::FirstKey(role),
        }
    }

    /// An argument stands where an option should and is none, or lacks what belongs to it.
    fn no_option(&mut self, words: &Words) -> Settle {
        let Some(role) = words.other else { return Settle::Nothing };
        self.next = Next::Nothing;
        Settle::FirstKey(role)
    }

    /// An inline command has ended, with `count` words.
    pub fn settle(&mut self, plan: &KeyPlan, count: u32) -> Settle {
        if count < plan.words_min {
            return Settle::NoKeys;
        }
        match plan.specs.get(usize::from(self.spec)) {
            Some(KeySpec { begin, find: find @ Find::Range { .. }, .. }) if self.open => {
                let keys_before = |end: u32| end.saturating_sub(self.first).div_ceil(self.step);
                let from = if let Begin::Index(begin) = begin { *begin } else { self.first };
                match (last_of_range(from, find, count), begin) {
                    (None, Begin::Keyword { .. }) => Settle::NoKeys,
                    (last, _) => {
                        let end = last.map_or(self.first, |last| (last + 1).max(self.first));
                        let found = keys_before(self.last.saturating_add(1).min(count));
                        Settle::Beyond(end - 1, found.saturating_sub(keys_before(end)))
                    }
                }
            }
            Some(KeySpec { find: Find::KeyNumber { .. }, .. }) if self.open && self.last >= count => Settle::NoKeys,
            _ => match &plan.words {
                Some(words) if self.skip_to > count => self.no_option(words),
                _ => Settle::Nothing,
            },
        }
    }

    fn open(&mut self, first: u32, last: u32, find: &Find) {
        let (Find::Range { step, .. } | Find::KeyNumber { step, .. }) = *find;
        self.open = true;
        self.first = first;
        self.last = last;
        self.step = step;
    }

    /// Arguments before `index` belong to the specs before this one.
    fn pass_by(&mut self, index: u32) {
        let steps = index.saturating_sub(self.first).div_ceil(self.step);
        self.first = self.first.saturating_add(steps.saturating_mul(self.step));
    }

    fn next_spec(&mut self) {
        self.spec += 1;
        self.open = false;
    }
}

/// The last argument of a range that begins at `begin`, if it has any.
fn last_of_range(begin: u32, find: &Find, count: u32) -> Option<u32> {
    let Find::Range { last, limit, .. } = *find else { return None };
    let last = if last >= 0 {
        begin.saturating_add(last.unsigned_abs())
    } else if last == -1 && limit > 1 {
        // The remaining arguments fall into `limit` equal parts, of which the first holds the keys.
        begin.saturating_add(count.saturating_sub(begin) / limit).checked_sub(1)?
    } else {
        count.checked_sub(last.unsigned_abs())?
    };
    (begin <= last && last < count).then_some(last)
}

/// A number as servers accept it: without sign, white space or leading zeros.
fn number_of_keys(text: &[u8]) -> Option<u32> {
    match text {
        [b'0'] => Some(0),
        [b'1'..=b'9', ..] => std::str::from_utf8(text).ok()?.parse().ok(),
        _ => None,
    }
}
