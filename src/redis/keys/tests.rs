//! Plans of all forms, followed over arguments whose number is told, and over those of which it is not.

use proptest::prelude::*;

use super::finder::{KeyFinder, Role, Settle, UNKNOWN_COUNT};
use super::*;

/// Keys found, each with its argument's index and its role.
type Found = Vec<(u32, KeyRole)>;

/// What a finder makes of the arguments (the command's own word first), told their number or not.
fn found(plan: &KeyPlan, arguments: &[&str], inline: bool) -> Found {
    fn settle(settle: Settle, found: &mut Found) {
        match settle {
            Settle::Nothing => {}
            Settle::NoKeys => found.clear(),
            Settle::FirstKey(role) => found.iter_mut().take(1).for_each(|first| first.1 = role),
            Settle::Beyond(last, keys) => {
                let before = found.len();
                found.retain(|(index, _)| *index <= last);
                assert_eq!(before - found.len(), keys as usize, "the number that is told is the number that goes");
            }
        }
    }
    let words = arguments.len() as u32;
    let count = if inline { UNKNOWN_COUNT } else { words };
    let mut finder = KeyFinder::NEW;
    let mut found = Found::new();
    for (index, argument) in (1..words).zip(&arguments[1..]) {
        let role = finder.role(plan, index, count);
        if let Role::Instead(_, from) = role {
            found.retain(|(index, _)| *index < from);
        }
        match role {
            Role::Key(role) | Role::Instead(role, _) => {
                found.push((index, role));
                if found.len() == 1 && argument.is_empty() {
                    finder.first_key_is_empty();
                }
            }
            Role::Decides => settle(finder.seen(plan, index, count, Some(argument.as_bytes())), &mut found),
            Role::Other => {}
        }
    }
    if inline {
        settle(finder.settle(plan, words), &mut found);
    }
    found
}

fn plan(text: &str) -> KeyPlan {
    KeyPlan::parse(text, 2).unwrap()
}

/// The keys of a command line, `word:ROLE` each; the same whether their number is told or not.
fn keys(specs: &str, line: &str) -> Vec<String> {
    let arguments: Vec<&str> = line.split(' ').map(|word| if word == "''" { "" } else { word }).collect();
    let plan = plan(specs);
    let told = found(&plan, &arguments, false);
    assert_eq!(found(&plan, &arguments, true), told, "inline: {line}");
    told.iter().map(|(index, role)| format!("{}:{:?}", arguments[*index as usize], role.access())).collect()
}

const NONE: [&str; 0] = [];

#[test]
fn ranges() {
    assert_eq!(keys("1/range:0:1:0=OW", "SET k v EX 5"), ["k:Overwrite"]);
    assert_eq!(keys("1/range:-1:2:0=OW", "MSET a 1 b 2"), ["a:Overwrite", "b:Overwrite"]);
    assert_eq!(keys("1/range:-2:1:0=RM", "BLPOP a b 0"), ["a:Remove", "b:Remove"]);
    assert_eq!(keys("1/range:-3:2:0=RM", "X a 1 b 2 c 3 4"), ["a:Remove", "b:Remove", "c:Remove"]);
    assert_eq!(keys("1/range:0:1:0=RO", "GET"), NONE);
    assert_eq!(keys("1/range:-2:1:0=RO", "BLPOP 0"), NONE);
}

#[test]
fn keywords_and_key_numbers() {
    let xread = "STREAMS@1/range:-1:1:2=RO";
    assert_eq!(keys(xread, "XREAD COUNT 2 streams a b 0 0"), ["a:ReadOnly", "b:ReadOnly"]);
    assert_eq!(keys(xread, "XREAD COUNT 2 streams a b 0"), ["a:ReadOnly"]);
    assert_eq!(keys(xread, "XREAD COUNT 2"), NONE);
    assert_eq!(keys(xread, "XREAD COUNT 2 STREAMS"), NONE);
    assert_eq!(keys(xread, "XREAD STREAMS a"), NONE);
    let eval = "2/keynum:0:1:1=RW";
    assert_eq!(keys(eval, "EVAL return 2 a b c"), ["a:ReadWrite", "b:ReadWrite"]);
    assert_eq!(keys(eval, "EVAL return 0 c"), NONE);
    for number in ["many", "3", "-1", "+1", "01", "4294967297", "99999999999999999999", "''"] {
        assert_eq!(keys(eval, &format!("EVAL return {number} a b")), NONE, "{number}");
    }
    assert_eq!(keys("2/keynum:0:1:2=RW", "EVAL return 2 a x b y"), ["a:ReadWrite", "b:ReadWrite"]);
}

#[test]
fn a_contradiction_takes_back_the_keys_before_it() {
    let union = "1/range:0:1:0=OW 2/keynum:0:1:1=RO";
    assert_eq!(keys(union, "ZUNIONSTORE d 2 a b WEIGHTS 1 2"), ["d:Overwrite", "a:ReadOnly", "b:ReadOnly"]);
    for line in ["ZUNIONSTORE d 3 a b", "ZUNIONSTORE d 0 a b", "ZUNIONSTORE d x a b"] {
        assert_eq!(keys(union, line), NONE, "{line}");
    }
    let plan = KeyPlan::parse("1/range:0:1:0=OW", 3).unwrap();
    for inline in [false, true] {
        assert_eq!(found(&plan, &["SET", "k"], inline), [], "fewer words than the command must have");
        assert_eq!(found(&plan, &["SET", "k", "v", "?"], inline).len(), 1, "more are a newer server's");
    }
}

#[test]
fn a_range_that_begins_among_the_keys_before_it_takes_back_none_of_those() {
    // Told their number the range ends at argument 5, which the numbered keys have passed by.
    let overlapping = "2/keynum:1:2:2=RW 3/range:-1:3:2=RW";
    assert_eq!(keys(overlapping, "X . . 2 a . b . . c"), ["a:ReadWrite", "b:ReadWrite"]);
    assert_eq!(
        keys("2/keynum:0:1:1=RO 3/range:-1:1:0=RW", "X . 1 a b c"),
        ["a:ReadOnly", "b:ReadWrite", "c:ReadWrite"]
    );
}

#[test]
fn an_option_names_a_key_and_the_last_one_counts() {
    let sort = "1/range:0:1:0=RO 2/words:LIMIT.2:GET.1:BY.1:STORE>OW";
    assert_eq!(keys(sort, "SORT k"), ["k:ReadOnly"]);
    assert_eq!(keys(sort, "SORT k DESC store d ALPHA"), ["k:ReadOnly", "d:Overwrite"]);
    assert_eq!(keys(sort, "SORT k STORE a STORE b STORE c"), ["k:ReadOnly", "c:Overwrite"]);
    assert_eq!(keys(sort, "SORT k STORE a STORE"), ["k:ReadOnly", "a:Overwrite"]);
    assert_eq!(keys(sort, "SORT k STORE"), ["k:ReadOnly"]);
    assert_eq!(keys(sort, "SORT k BY STORE GET STORE LIMIT STORE STORE ASC"), ["k:ReadOnly"]);
}

#[test]
fn an_option_changes_the_first_keys_role() {
    let set = "1/range:0:1:0=OW 3/words:GET=RW";
    assert_eq!(keys(set, "SET k get"), ["k:Overwrite"], "that is the value");
    assert_eq!(keys(set, "SET k v NX get"), ["k:ReadWrite"]);
    let bitfield = "1/range:0:1:0=RO 2/words:GET.2:OVERFLOW.1:SET.3=RW:*=RW";
    assert_eq!(keys(bitfield, "BITFIELD k GET u8 0 OVERFLOW SAT GET SET SET"), ["k:ReadOnly"]);
    for line in ["BITFIELD k GET u8 0 set u8 0 1", "BITFIELD k GET u8", "BITFIELD k SET u8 0", "BITFIELD k what"] {
        assert_eq!(keys(bitfield, line), ["k:ReadWrite"], "{line}");
    }
}

#[test]
fn keys_that_follow_an_option_take_the_place_of_an_empty_one() {
    let migrate = "3/range:0:1:0=RW 6/words:AUTH.1:AUTH2.2:KEYS>>RW";
    assert_eq!(keys(migrate, "MIGRATE h 1 k 0 9"), ["k:ReadWrite"]);
    assert_eq!(keys(migrate, "MIGRATE h 1 '' 0 9"), [":ReadWrite"], "a key may be empty");
    assert_eq!(keys(migrate, "MIGRATE h 1 '' 0 9 COPY KEYS a keys"), ["a:ReadWrite", "keys:ReadWrite"]);
    assert_eq!(keys(migrate, "MIGRATE h 1 '' 0 9 AUTH keys AUTH2 KEYS KEYS KEYS a"), ["a:ReadWrite"]);
    assert_eq!(keys(migrate, "MIGRATE h 1 '' 0 9 KEYS"), NONE);
    assert_eq!(keys(migrate, "MIGRATE h 1 k 0 9 KEYS a"), NONE);
}

#[test]
fn a_text_too_long_for_a_word_is_none_and_for_a_number_contradicts() {
    let union = plan("1/range:0:1:0=OW 2/keynum:0:1:1=RO");
    let mut finder = KeyFinder::NEW;
    assert_eq!(finder.role(&union, 1, 4), Role::Key("OW".parse().unwrap()));
    assert_eq!(finder.role(&union, 2, 4), Role::Decides);
    assert_eq!(finder.seen(&union, 2, 4, None), Settle::NoKeys);
    assert_eq!(finder.role(&union, 3, 4), Role::Other);
    let bitfield = plan("1/range:0:1:0=RO 2/words:GET.2:*=RW");
    let mut finder = KeyFinder::NEW;
    assert_eq!(finder.seen(&bitfield, 2, 5, None), Settle::FirstKey("RW".parse().unwrap()));
}

#[test]
fn roles_are_read_and_told() {
    let role: KeyRole = "rw+access+DELETE".parse().unwrap();
    assert_eq!(role.access(), Access::ReadWrite);
    let facts = |role: KeyRole| {
        [role.accesses_data(), role.updates_data(), role.inserts_data(), role.deletes_data(), role.writes()]
    };
    assert_eq!(facts(role), [true, false, false, true, true]);
    assert_eq!(facts("RO+UPDATE+INSERT".parse().unwrap()), [false, true, true, false, false]);
    assert_eq!(KeyRole::from_bits(role.bits()), role);
    assert_eq!(KeyRole::from_bits(0xff), "RM+ACCESS+UPDATE+INSERT+DELETE".parse().unwrap());
    for wrong in ["", "RX", "ACCESS", "RO+", "RO+READ", "RO ACCESS"] {
        assert_eq!(wrong.parse::<KeyRole>(), Err(PlanError::Role), "{wrong:?}");
    }
}

#[test]
fn a_plan_that_can_not_be_followed_is_refused_with_the_entry_at_fault() {
    let error = |text: &'static str| KeyPlan::parse(text, 1).unwrap_err();
    for (text, entry, why) in [
        ("1/range:0:1:0", "1/range:0:1:0", PlanError::Form),
        ("1/range:0:1:0=RO 2/range:0:0:0=RO", "2/range:0:0:0=RO", PlanError::Form),
        ("1/range:0:1=RO", "1/range:0:1=RO", PlanError::Form),
        ("99999999999/range:0:1:0=RO", "99999999999/range:0:1:0=RO", PlanError::Form),
        ("@1/range:0:1:0=RO", "@1/range:0:1:0=RO", PlanError::Form),
        ("K@1/keynum:0:1:1=RO", "K@1/keynum:0:1:1=RO", PlanError::Form),
        ("1/range:0:1:0=R", "1/range:0:1:0=R", PlanError::Role),
        ("1/words:STORE>", "1/words:STORE>", PlanError::Role),
        ("0/range:0:1:0=RO", "0/range:0:1:0=RO", PlanError::Form),
        ("1/words:A.1>RO", "1/words:A.1>RO", PlanError::Form),
        ("1/words:A.1>>RO", "1/words:A.1>>RO", PlanError::Form),
        ("1/words:*.1=RO", "1/words:*.1=RO", PlanError::Form),
        ("1/words:", "1/words:", PlanError::Form),
        ("2/range:0:1:0=RO 1/range:0:1:0=RO", "1/range:0:1:0=RO", PlanError::Order),
        ("K@1/range:0:1:0=RO 3/range:0:1:0=RO", "3/range:0:1:0=RO", PlanError::Order),
        ("1/words:A 2/words:B", "2/words:B", PlanError::Order),
    ] {
        assert_eq!(error(text), (entry, why), "{text}");
    }
}

proptest! {
    /// Whatever the plan and the arguments: nothing panics, keys are in order and among the arguments, and an inline command
    /// has the keys of the multibulk one.
    #[test]
    fn any_plan_finds_the_same_keys_whether_the_number_of_arguments_is_told_or_not(
        entries in prop::sample::subsequence(vec![
            "1/range:0:1:0=RO", "1/range:-1:2:0=OW", "2/range:-2:1:0=RM", "1/keynum:0:1:1=RO", "2/keynum:1:2:2=RW",
            "3/range:-1:3:2=RW", "KEYS@2/range:-1:1:2=RO", "KEYS@1/range:1:1:0=RO",
            "2/words:A.2:GET.1:STORE>OW:SET=RW:KEYS>>RW:*=RW", "3/words:STORE>OW:STOREDIST>OW:GET.65535",
        ], 0..4),
        words_min in 0u32..5,
        arguments in prop::collection::vec(
            prop::sample::select(vec!["", "0", "1", "2", "3", "a", "KEYS", "store", "SET", "GET", "4294967295"]), 0..12),
    ) {
        if let Ok(plan) = KeyPlan::parse(&entries.join(" "), words_min) {
            let arguments = [&["X"], &arguments[..]].concat();
            let told = found(&plan, &arguments, false);
            prop_assert!(told.windows(2).all(|pair| pair[0].0 < pair[1].0));
            // Specs that follow an open-ended range have no say: no command has such.
            let ends = entries.iter().rev().skip(1).all(|entry| !entry.contains("range:-"));
            if ends {
                prop_assert_eq!(found(&plan, &arguments, true), told);
            }
        }
    }
}
