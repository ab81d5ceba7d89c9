//! What is kept of requests: keys, roles, slots, and no secret, wherever the bytes are cut.

use super::*;
use crate::redis::arguments::{Key, iter, keys};
use crate::redis::keys::Access;
use crate::redis::possible::Possible;
use crate::redis::session::{Act, Acts};
use crate::resp::parser::{Parser, Step};

const KEYS: Shown = Shown { keys: true, payload_bytes: 0 };
const FULL: Shown = Shown { keys: true, payload_bytes: 4096 };

/// The arguments as they may be shown.
fn list(request: &Request) -> Vec<u8> {
    request.arguments().to_vec()
}

fn multibulk(words: &[&str]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend_from_slice(format!("${}\r\n{word}\r\n", word.len()).as_bytes());
    }
    bytes
}

/// What is kept of a request that arrives in two pieces.
fn cut(bytes: &[u8], at: usize, shown: Shown) -> Request {
    let mut request = Request::new();
    request.reset(&shown);
    let table = CommandTable::built_in();
    let acts = Acts::new(table);
    let mut visitor = RequestVisitor { request: &mut request, table, acts: &acts, shown };
    let mut parser = Parser::default();
    let (first, second) = bytes.split_at(at);
    for piece in [first, second] {
        let (consumed, step) = parser.feed(piece, &mut visitor);
        assert!(consumed == piece.len() && step != Step::Malformed, "{step:?}");
    }
    request
}

/// The same wherever it is cut.
fn request(bytes: &[u8], shown: Shown) -> Request {
    let whole = cut(bytes, bytes.len(), shown);
    for at in 0..bytes.len() {
        let cut = cut(bytes, at, shown);
        assert_eq!(
            (list(&cut), cut.keys(), arguments::slot(&list(&cut))),
            (list(&whole), whole.keys(), arguments::slot(&list(&whole))),
            "cut at {at}"
        );
        assert_eq!((cut.command, cut.flags), (whole.command, whole.flags), "cut at {at}");
    }
    whole
}

fn sent(words: &str, shown: Shown) -> Request {
    request(&multibulk(&words.split(' ').collect::<Vec<_>>()), shown)
}

fn key_names(request: &Request) -> String {
    let list = list(request);
    let names: Vec<_> = keys(&list).map(|key| std::str::from_utf8(key.name).unwrap()).collect();
    names.join(" ")
}

#[test]
fn row_44_every_key_is_kept_with_what_the_command_does_to_it() {
    let copy = sent("COPY from to REPLACE", KEYS);
    let kept = list(&copy);
    let roles: Vec<_> = keys(&kept).map(|key| (key.name, key.role.access())).collect();
    assert_eq!(roles, [(&b"from"[..], Access::ReadOnly), (b"to", Access::Overwrite)]);
    let role = |words| keys(&list(&sent(words, KEYS))).next().unwrap().role;
    assert_eq!(role("SET k v").access(), Access::Overwrite);
    assert_eq!(role("SET k v GET").access(), Access::ReadWrite);
    assert!(role("GETDEL k").deletes_data() && !role("GET k").writes());
    let binary = request(b"*2\r\n$3\r\nGET\r\n$3\r\n\xff\r\n\r\n", KEYS);
    assert_eq!(keys(&list(&binary)).next().map(|key| key.name), Some(&b"\xff\r\n"[..]), "keys are bytes");
    assert_eq!(sent("SPUBLISH channel m", KEYS).keys(), 0, "a channel is no key");
}

#[test]
fn row_32_keys_of_scripts_are_those_that_are_announced() {
    let eval = sent("EVALSHA 55c2 2 a b c", KEYS);
    assert_eq!((key_names(&eval), eval.keys()), ("a b".to_owned(), 2));
    assert_eq!(sent("EVALSHA 55c2 0 c", KEYS).keys(), 0);
}

#[test]
fn row_45_the_slot_is_that_of_the_first_key_that_remains() {
    assert_eq!(arguments::slot(&list(&sent("GET {user1000}.following", KEYS))), Some(3443));
    let migrate = request(&multibulk(&["MIGRATE", "h", "1", "", "0", "9", "KEYS", "user:1", "b"]), KEYS);
    assert_eq!((key_names(&migrate), arguments::slot(&list(&migrate))), ("user:1 b".to_owned(), Some(10778)));
    assert_eq!(arguments::slot(&list(&sent("PING", KEYS))), None);
}

#[test]
fn what_turns_out_to_be_no_key_is_shown_as_any_other_argument() {
    let union = sent("ZUNIONSTORE d 9 a b", KEYS);
    assert_eq!((union.keys(), arguments::slot(&list(&union))), (0, None));
    assert!(iter(&list(&union)).skip(1).all(|argument| argument == Argument::Hidden));
    assert_eq!(iter(&list(&union)).count(), 5);
    let union = sent("ZUNIONSTORE d 9 a", FULL);
    assert_eq!(iter(&list(&union)).nth(1), Some(Argument::Value(b"d")));
    let sort = sent("SORT k STORE a LIMIT 0 1 STORE b", KEYS);
    assert_eq!((key_names(&sort), sort.keys()), ("k b".to_owned(), 2));
}

#[test]
fn an_inline_command_has_the_keys_of_a_multibulk_one() {
    let pop = request(b"BLPOP a b 0\r\n", KEYS);
    assert_eq!((key_names(&pop), pop.keys()), ("a b".to_owned(), 2));
    assert_eq!(iter(&list(&pop)).last(), Some(Argument::Hidden));
    let read = request(b"XREAD STREAMS a b \"0\" 0\n", KEYS);
    assert_eq!((key_names(&read), read.keys()), ("a b".to_owned(), 2));
    assert_eq!(request(b"MSET a\r\n", KEYS).keys(), 0, "fewer words than it must have");
}

#[test]
fn keys_are_counted_beyond_those_that_the_list_has_room_for() {
    let names: Vec<String> = (0..1000).map(|number| format!("key:{number}")).collect();
    let words: Vec<&str> = std::iter::once("DEL").chain(names.iter().map(String::as_str)).collect();
    let many = cut(&multibulk(&words), 0, KEYS);
    assert_eq!(many.keys(), 1000);
    assert!(keys(&list(&many)).count() > 10 && list(&many).len() <= KEYS.arguments_bytes_max());
    // The list is full before the first STORE: nothing that is kept may be taken back for the second one.
    let patterns = "GET x ".repeat(200);
    let sort = cut(&multibulk(&format!("SORT k {patterns}STORE a STORE b").split(' ').collect::<Vec<_>>()), 0, KEYS);
    assert_eq!((key_names(&sort), sort.keys()), ("k".to_owned(), 2));
}

#[test]
fn row_43_the_first_argument_of_an_unknown_command_is_its_key_by_a_marked_guess() {
    let search = sent("FT.SEARCH idx query", KEYS);
    assert_eq!(search.command, CommandId::UNKNOWN);
    let guess = Key { name: b"idx", is_cut: false, role: KeyRole::UNKNOWN };
    assert_eq!(keys(&list(&search)).collect::<Vec<_>>(), [guess]);
    assert!(search.flags.has(Flags::KEY_GUESSED) && arguments::slot(&list(&search)).is_some() && search.keys() == 1);
    assert!(!sent("GET k", KEYS).flags.has(Flags::KEY_GUESSED));
}

#[test]
fn row_70_nothing_is_guessed_where_a_password_could_be_shown() {
    for bytes in [
        &multibulk(&["AUHT", "hunter2"])[..],
        &multibulk(&["xAuth", "user", "hunter2"]),
        &multibulk(&["Authorization:", "hunter2", "x"]),
        &multibulk(&["CLIENT", "hunter2", "x", "y"]),
        b"LOGGIN hunter2 x\r\n",
        b"Cookie: hunter2; b=c; d=e\r\n",
    ] {
        let request = request(bytes, KEYS);
        assert!(request.keys() == 0 && !request.flags.has(Flags::KEY_GUESSED));
        assert_eq!(memchr::memmem::find(&list(&request), b"hunter2"), None, "{:?}", list(&request));
    }
}

#[test]
fn row_47_passwords_of_migrate_are_kept_in_no_mode_whatever_its_keys_turn_out_to_be() {
    for words in [
        "MIGRATE h 1 k 0 9 AUTH hunter2",
        "MIGRATE h 1 k 0 9 AUTH2 u hunter2 KEYS a",
        "MIGRATE h 1 k 0 9 AUHT hunter2",
        "MIGRATE h 1 k 0 9 hunter2 KEYS a",
    ] {
        for shown in [KEYS, FULL] {
            let request = sent(words, shown);
            assert_eq!(memchr::memmem::find(&list(&request), b"hunter2"), None, "{words}");
        }
    }
}

#[test]
fn blocking_is_told_by_the_option_where_it_is_one() {
    assert!(sent("XREAD BLOCK 0 STREAMS a 0", KEYS).flags.has(Flags::BLOCKING));
    assert!(!sent("XREAD STREAMS BLOCK 0", KEYS).flags.has(Flags::BLOCKING));
    let nothing = Shown { keys: false, payload_bytes: 0 };
    assert!(sent("XREAD BLOCK 0 STREAMS a 0", nothing).flags.has(Flags::BLOCKING), "whether keys are shown or not");
}

#[test]
fn what_is_broken_off_leaves_nothing_of_its_last_argument_and_stays_unknown_within_its_words() {
    let broken_off = |bytes: &[u8]| {
        let (table, acts) = (CommandTable::built_in(), Acts::new(CommandTable::built_in()));
        let mut request = Request::new();
        request.reset(&FULL);
        let mut visitor = RequestVisitor { request: &mut request, table, acts: &acts, shown: FULL };
        Parser::default().feed(bytes, &mut visitor);
        request.break_off();
        let is_known = request.is_known(table, Act::None);
        (is_known, list(&request))
    };
    let (is_known, list) = broken_off(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$9\r\n\x80\x01\x00h");
    let entries = [Argument::Word(b"SET"), Argument::Key(b"k"), Argument::Hidden];
    assert_eq!(iter(&list).collect::<Vec<_>>(), entries, "a value may look like a key's entry");
    assert!(is_known);
    let (is_known, _) = broken_off(b"*3\r\n$6\r\nCLIENT\r\n$5\r\nREP");
    assert!(!is_known, "it may be CLIENT REPLY");
}

#[test]
fn row_70_no_key_is_guessed_for_a_command_whose_name_misses_bytes() {
    let mut request = Request::new();
    request.reset(&FULL);
    let (table, acts) = (CommandTable::built_in(), Acts::new(CommandTable::built_in()));
    let mut visitor = RequestVisitor { request: &mut request, table, acts: &acts, shown: FULL };
    let mut parser = Parser::default();
    parser.feed(b"*3\r\n$4\r\nA", &mut visitor);
    parser.skip(1, &mut visitor).unwrap();
    parser.feed(b"TH\r\n$5\r\nalice\r\n$7\r\nhunter2\r\n", &mut visitor);
    assert_eq!((request.args(), request.keys()), (3, 0));
    assert!(iter(&list(&request)).all(|argument| argument == Argument::Hidden));
}

/// What is kept of a request that the usual way reads, and its bytes; `None` if it does not.
fn usual(bytes: &[u8]) -> Option<(Request, usize)> {
    let table = CommandTable::built_in();
    let commands = usual::UsualCommands::new(table, &Acts::new(table), &Possible::new(table), &KEYS);
    let found = commands.read(bytes)?;
    // As one of the pool is that was used for something else.
    let mut request = cut(&multibulk(&["AUTH", "user", "secret"]), 20, KEYS);
    found.fill(&mut request, false);
    Some((request, bytes.len() - found.rest.len()))
}

#[test]
fn the_usual_way_reads_what_the_parser_reads() {
    let mut read = 0;
    let names = CommandTable::built_in().iter().map(|command| command.name.clone());
    for name in names.chain(["get", "sEt", "NOSUCH", "", "GET\0"].map(str::to_owned)) {
        for key in ["", "k", "a key of 16 byte", &"k".repeat(480), &"k".repeat(520)] {
            for others in [0, 1, 2, 3, 8] {
                let mut words = vec![name.as_str(), key];
                words.extend(std::iter::repeat_n("GET", others));
                let bytes = multibulk(&words);
                let behind = [&bytes[..], b"*1\r\n"].concat();
                let Some((usual, length)) = usual(&behind) else { continue };
                let long = cut(&bytes, bytes.len(), KEYS);
                assert_eq!(length, bytes.len(), "{words:?}");
                assert_eq!((list(&usual), usual.notes()), (list(&long), long.notes()), "{words:?}");
                if let Some(brief) = usual.brief() {
                    let place = brief.key_place();
                    let named = (usize::from(place.at), usize::from(place.length));
                    assert_eq!(Some(named), arguments::key_behind_words(&list(&usual)), "{words:?}");
                }
                assert_eq!(
                    (usual.command, usual.args(), usual.keys()),
                    (long.command, long.args(), long.keys()),
                    "{words:?}"
                );
                assert_eq!((usual.flags, usual.is_secret()), (long.flags, long.is_secret()), "{words:?}");
                let table = CommandTable::built_in();
                assert!(usual.is_known(table, Act::None) && long.is_known(table, Act::None), "{words:?}");
                assert!(
                    !usual.is_mark()
                        && !usual.has_timed_out()
                        && arguments::slot(&list(&usual)) == arguments::slot(&list(&long)),
                    "{words:?}"
                );
                for at in 0..bytes.len() {
                    assert!(self::usual(&bytes[..at]).is_none(), "{words:?} cut at {at}");
                }
                read += 1;
            }
        }
    }
    assert!(read > 500, "{read}");
}

#[test]
fn what_is_not_usual_is_left_to_the_parser() {
    let changed = |at: usize, byte: u8| {
        let mut bytes = multibulk(&["SET", "key", "value"]);
        bytes[at] = byte;
        usual(&bytes).is_none()
    };
    assert!(usual(&multibulk(&["SET", "key", "value"])).is_some());
    // Type bytes, ends of lines, lengths.
    for at in [0, 1, 2, 3, 4, 5, 6, 7, 11, 12, 13, 14, 15, 16, 20, 21, 22, 23, 24, 25, 31, 32] {
        assert!(changed(at, b'x'), "byte {at}");
    }
    for words in ["AUTH secret", "SET k v GET", "EVAL s 1 k", "BLPOP k 0", "MGET a b", "CONFIG GET x", "GET", "PING"] {
        assert!(usual(&multibulk(&words.split(' ').collect::<Vec<_>>())).is_none(), "{words}");
    }
    let table = CommandTable::built_in();
    for shown in [Shown { keys: false, payload_bytes: 0 }, FULL] {
        let commands = usual::UsualCommands::new(table, &Acts::new(table), &Possible::new(table), &shown);
        assert!(commands.read(&multibulk(&["GET", "key"])).is_none(), "{shown:?}");
    }
}

#[test]
fn of_what_a_request_of_the_pool_was_before_a_usual_one_keeps_nothing() {
    let table = CommandTable::built_in();
    let commands = usual::UsualCommands::new(table, &Acts::new(table), &Possible::new(table), &KEYS);
    let bytes = multibulk(&["GET", "key"]);
    let found = commands.read(&bytes).unwrap();
    let mut request = Request::new();
    request.time_out();
    *request.confirmed_mut() = Some(Confirmed { t3: Timestamp(1), bytes: 7, left: 3 });
    found.fill(&mut request, false);
    assert!(!request.has_timed_out() && request.confirmed().is_none());
    let kept = list(&request);
    let key = keys(&kept).next().unwrap();
    assert_eq!((request.brief().map(Brief::key), key.name), (Some((&b"key"[..], key.role)), &b"key"[..]));
}

#[test]
fn simple_is_what_is_short_and_came_at_once_until_there_is_something_to_be_said_of_it() {
    let table = CommandTable::built_in();
    let commands = usual::UsualCommands::new(table, &Acts::new(table), &Possible::new(table), &KEYS);
    let filled = |key: &str, came_at_once: bool| {
        let bytes = multibulk(&["GET", key]);
        let mut request = Request { t1: Timestamp(1), t2: Timestamp(1), ..Request::new() };
        request.time_out();
        commands.read(&bytes).unwrap().fill(&mut request, came_at_once);
        request
    };
    assert!(filled("key", true).is_simple() && !filled("key", false).is_simple());
    assert!(!filled(&"k".repeat(30), true).is_simple() && !filled(&"k".repeat(90), true).is_simple());
    let mut request = filled("key", true);
    request.add(Flags::default());
    assert!(request.is_simple());
    request.add(Flags::RETRANSMIT);
    assert!(!request.is_simple() && !request.has_timed_out() && request.flags == Flags::RETRANSMIT);
    request.time_out();
    request.add(Flags::LATE);
    assert!(request.has_timed_out() && !request.is_simple());
    let mut request = filled("key", true);
    request.time_out();
    assert!(request.has_timed_out() && !request.is_simple());
    request.reset(&KEYS);
    assert!(!request.has_timed_out() && !request.is_simple());
}

#[test]
fn what_may_be_like_the_one_before_is_read_as_it_is_by_itself() {
    let table = CommandTable::built_in();
    let commands = usual::UsualCommands::new(table, &Acts::new(table), &Possible::new(table), &KEYS);
    let all = [
        &["GET", "key"][..],
        &["get", "key"],
        &["GET", "another", "word"],
        &["SET", "key", "value"],
        &["SET", "key", "value", "EX", "10"],
        &["LPUSH", "key", "a"],
        &["RPUSH", "key", "a"],
        &["RPUSH", "key", "a", "b"],
        &["APPEND", "key", "a"],
        &["HGETALL", "key"],
        &["PING"],
        &["MGET", "a", "b"],
    ];
    let told = |found: Option<usual::UsualRequest<'_, '_>>| {
        found.map(|found| {
            let mut request = Request::new();
            found.fill(&mut request, false);
            (request.command, request.args(), list(&request), found.rest.len())
        })
    };
    let mut read = 0;
    for before in all.map(multibulk) {
        let Some(before) = commands.read(&before) else { continue };
        for words in all {
            let bytes = [multibulk(words), b"*2\r\n".to_vec()].concat();
            for end in [bytes.len(), bytes.len() - 4, bytes.len() - 5, 7] {
                let alone = told(commands.read(&bytes[..end]));
                assert_eq!(told(commands.read_like(before.begun, &bytes[..end])), alone, "{words:?} {end}");
                read += usize::from(alone.is_some());
            }
        }
    }
    assert_eq!(read, 9 * 9 * 2, "three are not of the usual form");
}

#[test]
fn a_usual_request_keeps_what_the_parser_keeps_up_to_where_there_is_hardly_room_for_it() {
    let mut read = 0;
    for length in (0..100).chain(480..520) {
        let key: String = ('a'..='z').cycle().take(length).collect();
        for others in 1..=7 {
            let mut words = vec!["RPUSH", &key];
            words.extend(std::iter::repeat_n("value", others));
            let bytes = multibulk(&words);
            let Some((usual, _)) = usual(&bytes) else { continue };
            let long = cut(&bytes, bytes.len(), KEYS);
            assert_eq!(list(&usual), list(&long), "{length} {others}");
            if let Some((name, _)) = usual.brief().map(Brief::key).or_else(|| usual.longer_key()) {
                assert_eq!(name, key.as_bytes(), "{length} {others}");
            }
            read += 1;
        }
    }
    assert!((100 * 7 + 1..140 * 7).contains(&read), "{read}");
}

#[test]
fn what_a_usual_request_begins_with_is_compared_up_to_its_key() {
    for words in [&["GET", "key"][..], &["HGETALL", "key"], &["GETRANGE", "key", "0", "1"]] {
        let bytes = multibulk(words);
        assert!(usual(&bytes).is_some(), "{words:?}");
        for at in 0..bytes.windows(3).position(|three| three == b"key").unwrap() {
            let mut other = bytes.clone();
            other[at] = b'x';
            assert!(usual(&other).is_none(), "{words:?}: byte {at}");
        }
    }
}
