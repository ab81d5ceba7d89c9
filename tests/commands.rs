//! The keys that we find in commands, held against what a real server says of the same words: `COMMAND GETKEYSANDFLAGS`, for
//! every command that it has.
//!
//! The words are made here: for each command every number of arguments up to a few more than it must have, filled at random
//! from words that matter to some command (numbers of keys, options) and others that are keys; and by hand for the commands
//! whose keys servers find by code. Each is read by our parser, cut at random, as multibulk and, where it can be, inline.
//!
//! Needs redis-server, so the test is ignored by a plain `cargo test`; `scripts/test` runs it. A missing tool fails it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use resptap::redis::arguments;
use resptap::redis::command::CommandTable;
use resptap::redis::keys::KeyRole;
use resptap::redis::request::{Request, RequestVisitor, Shown};
use resptap::redis::session::Acts;
use resptap::resp::parser::{Parser, Step};
use tempfile::TempDir;

/// Random lists of words per command and number of arguments.
const LISTS_PER_LENGTH: usize = 60;
/// Arguments beyond those that a command must have.
const FURTHER_ARGUMENTS: usize = 8;

/// Words that some command looks at.
const WORDS: [&str; 36] = [
    "0",
    "1",
    "2",
    "3",
    "4",
    "-1",
    "x",
    "2147483647",
    "",
    "STORE",
    "store",
    "STOREDIST",
    "GET",
    "get",
    "BY",
    "LIMIT",
    "ASC",
    "BLOCK",
    "COUNT",
    "STREAMS",
    "streams",
    "GROUP",
    "KEYS",
    "AUTH",
    "AUTH2",
    "COPY",
    "SET",
    "INCRBY",
    "OVERFLOW",
    "u8",
    "WEIGHTS",
    "NX",
    "EX",
    "LEFT",
    "MIN",
    "SETSLOT",
];

/// Commands whose keys, or their roles, servers find by code; in forms that clients use, and in some that none should.
const BY_HAND: &str = "\
SET k v|SET k v GET|SET k v NX GET EX 5|SET k get|SET k v EX 5|SET k v get|SET k v GETX
SORT k|SORT k STORE d|SORT k BY w_* GET # GET o_* LIMIT 0 5 DESC ALPHA STORE d|SORT k STORE a STORE b|SORT k BY STORE STORE d
SORT k GET STORE|SORT k LIMIT STORE STORE|SORT k STORE|SORT k STORE a STORE|SORT k store d get store|SORT_RO k BY w_* STORE d
MIGRATE h 6379 k 0 9|MIGRATE h 6379 k 0 9 COPY REPLACE|MIGRATE h 6379 '' 0 9 KEYS a b c|MIGRATE h 6379 '' 0 9 COPY AUTH pw KEYS a
MIGRATE h 6379 '' 0 9 AUTH2 u pw KEYS a KEYS b|MIGRATE h 6379 k 0 9 AUTH pw|MIGRATE h 6379 '' 0 9|MIGRATE h 6379 '' 0 9 KEYS
MIGRATE h 6379 k 0 9 KEYS a|MIGRATE h 6379 '' 0 9 AUTH KEYS KEYS a
GEORADIUS k 1 2 3 km|GEORADIUS k 1 2 3 km STORE d|GEORADIUS k 1 2 3 km COUNT 5 ASC STOREDIST d|GEORADIUS k 1 2 3 km WITHDIST STORE
GEORADIUSBYMEMBER k m 3 km|GEORADIUSBYMEMBER k m 3 km STORE d|GEORADIUSBYMEMBER k STORE 3 km COUNT 1 STOREDIST d
GEORADIUS k 1 2 3 km STORE a STOREDIST b|GEORADIUS k 1 2 3 km STORE a STORE b|GEORADIUS_RO k 1 2 3 km STORE d
BITFIELD k|BITFIELD k GET u8 0|BITFIELD k GET u8 0 GET u8 8|BITFIELD k OVERFLOW SAT INCRBY u8 0 1|BITFIELD k GET u8 0 SET u8 0 1
BITFIELD k SET u8 0|BITFIELD k GET u8|BITFIELD k GET SET 0 GET INCRBY 8|BITFIELD k what|BITFIELD_RO k GET u8 0
XREAD STREAMS a 0|XREAD COUNT 5 BLOCK 100 STREAMS a b c 0 0 $|XREAD STREAMS a b 0|XREAD STREAMS a|XREAD COUNT 5 a|XREAD BLOCK 0 streams STREAMS 0
XREADGROUP GROUP g c STREAMS a >|XREADGROUP GROUP g c COUNT 1 BLOCK 5 NOACK STREAMS a b > 0|XREADGROUP GROUP STREAMS STREAMS STREAMS a >
EVAL s 0|EVAL s 1 a|EVAL s 2 a b x y|EVAL s 3 a b|EVAL s -1 a|EVAL s x a|EVALSHA sha 2 a b|EVAL_RO s 1 a x|EVALSHA_RO sha 1 a|FCALL f 1 a x|FCALL_RO f 2 a b
ZUNIONSTORE d 2 a b WEIGHTS 1 2 AGGREGATE SUM|ZINTERSTORE d 1 a|ZDIFFSTORE d 2 a b|ZUNIONSTORE d 3 a b|ZUNIONSTORE d 0 a|ZUNIONSTORE d x a b
ZUNION 2 a b WITHSCORES|ZINTER 1 a|ZDIFF 2 a b|ZINTERCARD 2 a b LIMIT 5|SINTERCARD 2 a b LIMIT 5|SINTERCARD 3 a b
LMPOP 2 a b LEFT COUNT 5|BLMPOP 0 2 a b LEFT|ZMPOP 1 a MIN|BZMPOP 0 2 a b MAX COUNT 3|ZMPOP 2 a MIN
BLPOP a b c 0|BRPOP a 0|BZPOPMIN a b 0|BLMOVE a b LEFT RIGHT 0|BRPOPLPUSH a b 0|MSET a 1 b 2 c 3|MSETNX a 1|MSET a 1 b|DEL a b c|UNLINK a
OBJECT ENCODING k|OBJECT FREQ k|MEMORY USAGE k SAMPLES 5|XGROUP CREATE k g $ MKSTREAM|XINFO STREAM k FULL|DEBUG OBJECT k|COPY a b DB 1 REPLACE
BITOP AND d a b c|PFMERGE d a b|PFCOUNT a b|LCS a b IDX|RENAME a b|SMOVE a b m|WATCH a b|RESTORE k 0 v ASKING|SPUBLISH c m|SSUBSCRIBE c
GEOSEARCHSTORE d s FROMMEMBER m BYRADIUS 1 km STOREDIST|EVAL s 01 a|EVAL s +1 a|EVAL s 1x a|GET a b|MSET a";

/// Where we mean to say something else than the server: why, and of which words. Each must occur, or it is stale.
static ACTS: std::sync::LazyLock<Acts> = std::sync::LazyLock::new(|| Acts::new(CommandTable::built_in()));

fn exception(words: &[String], arity: i64, ours: &Keys, theirs: &Keys) -> Option<&'static str> {
    let is = |at: usize, word: &str| words.get(at).is_some_and(|other| other.eq_ignore_ascii_case(word));
    let count = |word: &str| (0..words.len()).filter(|&at| is(at, word)).count();
    let lenient = |text: &String| {
        let digits = text.trim_start_matches(['+', ' ']).trim_start_matches('0');
        digits.starts_with(|first: char| first.is_ascii_digit())
            && text.parse::<u64>().map(|n| n.to_string()) != Ok(text.clone())
    };
    match words[0].to_uppercase().as_str() {
        _ if arity > 0 && i64::try_from(words.len()).is_ok_and(|words| words > arity) && theirs.is_empty() => Some(
            "more words than its fixed number: the server refuses them, a newer one may know them; its keys stay where they are",
        ),
        "GEORADIUS" | "GEORADIUSBYMEMBER" if count("STORE") + count("STOREDIST") > 1 => Some(
            "the specifications name the first STORE and the first STOREDIST; the command writes to the last of either",
        ),
        "SORT"
            if count("STORE") > 0
                && words.windows(2).any(|pair| pair[0].eq_ignore_ascii_case("STORE") && is_sort_option(&pair[1])) =>
        {
            Some("the key behind STORE is looked at as if it were an option; the command takes it as a key only")
        }
        "MIGRATE" if is(words.len() - 1, "KEYS") => Some(
            "MIGRATE with KEYS and none behind it moves nothing; the specification does not see a keyword at the end",
        ),
        "PFMERGE" if words.len() == 2 => {
            Some("PFMERGE of no sources writes its destination, but the specification of its sources can't be met")
        }
        "SINTERSTORE" if ours.len() == theirs.len() && ours[0].0 == theirs[0].0 && ours[1..] == theirs[1..] => {
            Some("the destination's role: OW in our table as in later servers, RW up to Redis 7.0")
        }
        _ if words.iter().any(lenient) => Some(
            "a number of keys such as 01, +1 or 1x, which the command refuses, is read leniently by the key finder",
        ),
        _ => None,
    }
}

fn is_sort_option(word: &str) -> bool {
    ["STORE", "BY", "GET", "LIMIT"].iter().any(|option| word.eq_ignore_ascii_case(option))
}

/// A redis-server of our own.
struct Server {
    directory: TempDir,
    process: Child,
}

impl Server {
    fn start() -> Server {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let process = Command::new("redis-server")
            .args(["--port", "0", "--save", "", "--enable-debug-command", "yes", "--unixsocket"])
            .arg(directory.path().join("socket"))
            .arg("--dir")
            .arg(directory.path())
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server starts (Debian: apt install redis-server)");
        Server { directory, process }
    }

    fn connect(&self) -> Client {
        let socket = self.directory.path().join("socket");
        let began = Instant::now();
        loop {
            match UnixStream::connect(&socket) {
                Ok(stream) => return Client(BufReader::new(stream)),
                Err(error) => {
                    assert!(began.elapsed() < Duration::from_secs(20), "redis-server does not listen: {error}");
                }
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A reply, as far as this test needs one.
#[derive(Debug, PartialEq)]
enum Reply {
    Text(String),
    Error(String),
    Integer(i64),
    List(Vec<Reply>),
}

impl Reply {
    fn list(&self) -> &[Reply] {
        if let Reply::List(items) = self { items } else { panic!("no list: {self:?}") }
    }

    fn text(&self) -> &str {
        if let Reply::Text(text) = self { text } else { panic!("no text: {self:?}") }
    }
}

struct Client(BufReader<UnixStream>);

impl Client {
    fn send(&mut self, words: &[&str]) {
        self.0.get_mut().write_all(&multibulk(words)).expect("the server reads");
    }

    fn receive(&mut self) -> Reply {
        let mut line = String::new();
        self.0.read_line(&mut line).expect("the server answers");
        let (kind, rest) = line.trim_end().split_at(1);
        let number = || rest.parse::<i64>().expect("a number");
        match kind {
            "+" => Reply::Text(rest.to_owned()),
            "-" => Reply::Error(rest.to_owned()),
            ":" => Reply::Integer(number()),
            "$" => {
                let length = usize::try_from(number()).unwrap_or_default();
                let mut bytes = vec![0; length + 2];
                self.0.read_exact(&mut bytes).expect("the server answers");
                bytes.truncate(length);
                Reply::Text(String::from_utf8(bytes).expect("texts of this test"))
            }
            "*" => Reply::List((0..number()).map(|_| self.receive()).collect()),
            other => panic!("a reply of kind {other:?}"),
        }
    }
}

/// Of a command: the words of its name, and how many words it has.
struct Known {
    name: Vec<String>,
    arity: i64,
}

/// All commands and subcommands that the server has.
fn commands(client: &mut Client) -> Vec<Known> {
    fn add(entry: &Reply, found: &mut Vec<Known>) {
        let entry = entry.list();
        let Reply::Integer(arity) = entry[1] else { panic!("no arity: {entry:?}") };
        found.push(Known { name: entry[0].text().to_uppercase().split('|').map(str::to_owned).collect(), arity });
        for subcommand in entry.get(9).map(Reply::list).unwrap_or_default() {
            add(subcommand, found);
        }
    }
    client.send(&["COMMAND"]);
    let mut found = Vec::new();
    client.receive().list().iter().for_each(|entry| add(entry, &mut found));
    found
}

fn multibulk(words: &[&str]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend_from_slice(format!("${}\r\n{word}\r\n", word.len()).as_bytes());
    }
    bytes
}

/// Numbers without pattern, the same in each run (the generator `SplitMix64`).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut value = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((value ^ (value >> 31)) % limit as u64) as usize
    }

    /// So many arguments: each a word that matters, or a key of its own.
    fn arguments(&mut self, count: usize) -> Vec<String> {
        let keys_in_ten = self.below(10);
        (0..count)
            .map(|at| match self.below(10) {
                ten if ten < keys_in_ten => format!("k{at}"),
                _ => WORDS[self.below(WORDS.len())].to_owned(),
            })
            .collect()
    }
}

/// All words that are tried, each list with the arity of its command.
fn examples(known: &[Known]) -> Vec<(Vec<String>, i64)> {
    let mut random = Random(1);
    let mut examples = Vec::new();
    for Known { name, arity } in known {
        let least = usize::try_from(arity.abs()).expect("a small number").saturating_sub(name.len());
        for arguments in 0..=least + FURTHER_ARGUMENTS {
            for _ in 0..LISTS_PER_LENGTH {
                examples.push(([&name[..], &random.arguments(arguments)].concat(), *arity));
            }
        }
    }
    for line in BY_HAND.lines().flat_map(|line| line.split('|')) {
        let words: Vec<String> = line.split(' ').map(|word| word.replace("''", "")).collect();
        let of_words = |known: &&Known| words.starts_with(&known.name);
        let known = known.iter().filter(of_words).max_by_key(|known| known.name.len());
        let arity = known.unwrap_or_else(|| panic!("the server has no {line}")).arity;
        // Also with each argument left out, and with each number changed.
        for at in 1..words.len() {
            let mut without = words.clone();
            without.remove(at);
            if without.len() >= 2 {
                examples.push((without, arity));
            }
            for number in ["0", "1", "2", "3", "9", "-1", "1000000", "x"] {
                if words[at].parse::<i64>().is_ok() {
                    let mut changed = words.clone();
                    number.clone_into(&mut changed[at]);
                    examples.push((changed, arity));
                }
            }
        }
        examples.push((words, arity));
    }
    examples.retain(|(words, _)| known.iter().any(|known| words.starts_with(&known.name)));
    examples
}

type Keys = Vec<(String, KeyRole)>;

/// The keys that the server sees; none where it refuses.
fn server_keys(reply: &Reply) -> Keys {
    let Reply::List(keys) = reply else { return Keys::new() };
    let role = |flags: &[Reply]| {
        let told = flags.iter().map(Reply::text).filter(|flag| !matches!(*flag, "variable_flags" | "incomplete"));
        told.collect::<Vec<_>>().join("+").parse().unwrap_or(KeyRole::UNKNOWN)
    };
    keys.iter().map(|key| (key.list()[0].text().to_owned(), role(key.list()[1].list()))).collect()
}

/// The keys that we find in these bytes, cut at random.
fn our_keys(bytes: &[u8], random: &mut Random) -> Keys {
    let shown = Shown { keys: true, payload_bytes: 4096 };
    let mut request = Request::new();
    request.reset(&shown);
    let table = CommandTable::built_in();
    let acts = &*ACTS;
    let mut visitor = RequestVisitor { request: &mut request, table, acts, shown };
    let mut parser = Parser::default();
    let mut rest = bytes;
    while !rest.is_empty() {
        let piece = &rest[..=random.below(rest.len())];
        let (consumed, step) = parser.feed(piece, &mut visitor);
        assert!(consumed == piece.len() && step != Step::Malformed, "{step:?} in {:?}", String::from_utf8_lossy(bytes));
        rest = &rest[consumed..];
    }
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("texts of this test");
    let kept = request.arguments();
    let keys: Keys = arguments::keys(&kept).map(|key| (text(key.name), key.role)).collect();
    assert_eq!(request.keys() as usize, keys.len(), "{:?}", String::from_utf8_lossy(bytes));
    let slot = keys.first().map(|(key, _)| resptap::redis::keys::slot(key.as_bytes()));
    assert_eq!(arguments::slot(&kept), slot, "{:?}", String::from_utf8_lossy(bytes));
    keys
}

#[test]
#[ignore = "needs a real redis-server; scripts/test runs it"]
fn keys_and_their_roles_are_those_that_a_real_server_finds() {
    let server = Server::start();
    let mut client = server.connect();
    let mut known = commands(&mut client);
    // Servers list their commands in an order of the day: the words that are tried shall be the same in every run.
    known.sort_by(|one, other| one.name.cmp(&other.name));
    assert!(known.len() > 350, "only {} commands", known.len());
    let table = CommandTable::built_in();
    let absent: Vec<String> =
        known.iter().map(|known| known.name.join(" ")).filter(|name| table.find(name.as_bytes()).is_none()).collect();
    assert_eq!(absent, [""; 0], "commands that the server has and the table has not");

    let mut random = Random(2);
    let (mut with_keys, mut excepted) = (BTreeSet::new(), BTreeMap::new());
    let mut wrong = BTreeMap::new();
    let examples = examples(&known);
    for chunk in examples.chunks(500) {
        for (words, _) in chunk {
            let words: Vec<&str> =
                ["COMMAND", "GETKEYSANDFLAGS"].into_iter().chain(words.iter().map(String::as_str)).collect();
            client.send(&words);
        }
        for (words, arity) in chunk {
            let reply = client.receive();
            let theirs = server_keys(&reply);
            let borrowed: Vec<&str> = words.iter().map(String::as_str).collect();
            let ours = our_keys(&multibulk(&borrowed), &mut random);
            let quoted: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
            let inline = our_keys((quoted.join(" ") + "\r\n").as_bytes(), &mut random);
            assert_eq!(inline, ours, "inline and multibulk: {words:?}");
            if ours == theirs {
                with_keys.extend((!ours.is_empty()).then(|| words[0].clone()));
            } else if let Some(reason) = exception(words, *arity, &ours, &theirs) {
                *excepted.entry(reason).or_insert(0u32) += 1;
            } else {
                wrong.entry(words[0].clone()).or_insert((words.clone(), ours, theirs, reply));
            }
        }
    }
    for (words, ours, theirs, reply) in wrong.values() {
        println!("{words:?}\n    we say {ours:?}\n    the server says {theirs:?} ({reply:?})");
    }
    println!("{} lists of words, {} commands with keys; exceptions: {excepted:#?}", examples.len(), with_keys.len());
    assert!(wrong.is_empty(), "{} commands differ", wrong.len());
    assert!(with_keys.len() > 150, "only {} commands had keys", with_keys.len());
    assert_eq!(excepted.len(), 7, "an exception without an occasion: {excepted:#?}");
}
