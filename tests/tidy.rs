//! The house rules that no compiler keeps: layers, fences around third-party crates, clocks and `unsafe`, and the shape of
//! files. Sources are read as tokens, so that comments and strings neither break a rule nor hide a breach.
//!
//! A rule that can't fail is worthless: `bad_sources_are_reported` feeds each of them what it must find.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// Modules from the lowest layer up; those of a line are siblings. A module names only modules of lines above its own.
const LAYERS: &[&[&str]] = &[
    &["units", "limits", "counters", "clock", "prefetch", "huge", "pool", "short"],
    &["capture", "decode", "resp"],
    &["flow", "reassembly", "redis"],
    &["connection", "record"],
    &["ring", "sink", "export", "endpoint"],
    &["worker", "steering", "writer"],
    &["config"],
    &["runtime", "sandbox"],
    &["ui"],
    &["cli"],
    &["main"],
];

/// Siblings that may be named, by whom, and why. One that is not used has to go.
const EXCEPTIONS: &[(&str, &str, &str)] = &[
    ("clock", "units", "the wall clock tells points in time"),
    ("pool", "huge", "large pools grow by huge pages"),
    ("decode", "capture", "a frame is what decoding begins with"),
    ("sink", "endpoint", "records say who is behind an address"),
    ("export", "endpoint", "summaries say which service is behind an address"),
];

/// Crates (as paths spell them) and the only places that may name them.
const FENCES: &[Fence] = &[
    fence("rtrb", &["src/ring.rs"]),
    fence("core_affinity", &["src/runtime.rs"]),
    fence("mimalloc", &["src/main.rs"]),
    // The records' own writer has it as its oracle in tests.
    Fence { tests_are_free: true, ..fence("serde_json", &["src/export/", "src/capture/nic/kept.rs"]) },
    fence("hdrhistogram", &["src/record/histograms.rs", "src/record/histograms/", "src/export/"]),
    fence("clap", &["src/cli.rs", "src/cli/"]),
    fence("toml", &["src/config/file.rs", "src/endpoint/names.rs"]),
    fence("netlink_sys", &["src/endpoint/owners.rs", "src/capture/nic/xdp.rs"]),
    fence("netlink_packet_core", &["src/endpoint/owners.rs", "src/capture/nic/xdp.rs"]),
    fence("netlink_packet_generic", &["src/capture/nic/xdp.rs"]),
    fence("netlink_packet_sock_diag", &["src/endpoint/owners.rs"]),
    fence("caps", &["src/sandbox.rs"]),
    fence("nix", &["src/sandbox.rs"]),
    fence("gethostname", &["src/config.rs"]),
    fence("indicatif", &["src/ui/progress.rs"]),
    fence("tracing_subscriber", &["src/ui/log.rs"]),
    fence("signal_hook", &["src/ui/signals.rs"]),
    fence("aya", &["src/capture/afxdp/"]),
    fence("xsk_rs", &["src/capture/afxdp/"]),
    fence("rustix", &["src/clock.rs"]),
    fence("memmap2", &["src/capture/"]),
    fence("libc", &["src/capture/", "src/huge.rs", "src/runtime.rs"]),
    fence("flate2", &["src/capture/", "src/export/hlog_reader.rs"]),
    fence("zstd", &["src/capture/", "src/sink/"]),
    fence("sha1", &["src/sink/"]),
    fence("hmac", &["src/record/key_hash.rs"]),
    fence("sha2", &["src/record/key_hash.rs"]),
    fence("base64", &["src/sink/", "src/export/hlog_reader.rs"]),
];

/// Types whose `now` reads a clock, and the only file that may.
const CLOCKS: &[&str] = &["SystemTime", "Instant", "Timestamp", "Zoned", "Utc", "Local"];
const CLOCK_FILE: &str = "src/clock.rs";

/// Where `unsafe` may stand.
const UNSAFE_PLACES: &[&str] = &["src/capture/", "src/huge.rs", "src/prefetch.rs"];

const UNFINISHED: &[&str] = &["todo", "unimplemented", "dbg"];
const MARKERS: &[&str] = &["TODO", "FIXME"];

/// Lines of a file, and of its tests.
const FILE_LINES_MAX: usize = 700;
const FUNCTION_LINES_MAX: usize = 100;

struct Fence {
    name: &'static str,
    places: &'static [&'static str],
    tests_are_free: bool,
}

const fn fence(name: &'static str, places: &'static [&'static str]) -> Fence {
    Fence { name, places, tests_are_free: false }
}

/// A token of a source file, its groups flattened.
struct Token {
    text: String,
    line: usize,
    /// It belongs to an item under `#[cfg(test)]`.
    is_test: bool,
    /// How many modules within the file surround it.
    modules: usize,
    /// For an opening bracket: where its closing one is.
    close: usize,
}

struct Source<'a> {
    /// From the package's root: `src/flow/key.rs`.
    path: &'a str,
    text: &'a str,
    tokens: Vec<Token>,
}

impl<'a> Source<'a> {
    fn new(path: &'a str, text: &'a str) -> Result<Source<'a>, String> {
        let stream = TokenStream::from_str(text).map_err(|error| format!("{path}: no Rust: {error}"))?;
        let mut tokens = Vec::new();
        flatten(stream, &mut tokens);
        let mut source = Source { path, text, tokens };
        source.mark_tests();
        source.mark_modules();
        Ok(source)
    }

    fn mark_tests(&mut self) {
        if self.path.ends_with("/tests.rs") || self.path.contains("/tests/") {
            self.tokens.iter_mut().for_each(|token| token.is_test = true);
            return;
        }
        for at in 0..self.tokens.len() {
            if self.follows(at, &["#", "[", "cfg", "(", "test", ")", "]"]) {
                let end = self.item_end(at);
                self.tokens[at..=end].iter_mut().for_each(|token| token.is_test = true);
            }
        }
    }

    fn mark_modules(&mut self) {
        for at in 0..self.tokens.len() {
            if self.text_at(at) == "mod" && self.text_at(at + 2) == "{" {
                let close = self.tokens[at + 2].close;
                self.tokens[at + 2..close].iter_mut().for_each(|token| token.modules += 1);
            }
        }
    }

    /// The last token of the item (attributes before it included) that begins at `at`.
    fn item_end(&self, at: usize) -> usize {
        let mut at = at;
        while at < self.tokens.len() {
            match self.text_at(at) {
                ";" => return at,
                "{" => return self.tokens[at].close,
                "(" | "[" => at = self.tokens[at].close + 1,
                _ => at += 1,
            }
        }
        self.tokens.len() - 1
    }

    fn text_at(&self, at: usize) -> &str {
        self.tokens.get(at).map_or("", |token| &token.text)
    }

    fn before(&self, at: usize) -> &str {
        at.checked_sub(1).map_or("", |at| self.text_at(at))
    }

    fn follows(&self, at: usize, texts: &[&str]) -> bool {
        texts.iter().enumerate().all(|(offset, text)| self.text_at(at + offset) == *text)
    }

    fn is_in(&self, places: &[&str]) -> bool {
        places.iter().any(|place| if place.ends_with('/') { self.path.starts_with(place) } else { self.path == *place })
    }

    /// The top-level module to which the file belongs.
    fn module(&self) -> &str {
        let inside = self.path.strip_prefix("src/").unwrap_or(self.path);
        inside.split('/').next().unwrap_or(inside).trim_end_matches(".rs")
    }

    /// How many modules deep the file's own code is: 1 for `src/ring.rs` and `src/flow/mod.rs`.
    fn depth(&self) -> usize {
        let inside = self.path.strip_prefix("src/").unwrap_or(self.path);
        inside.split('/').count() - usize::from(inside.ends_with("/mod.rs"))
    }

    fn report(&self, line: usize, what: &str) -> String {
        format!("{}:{line}: {what}", self.path)
    }
}

fn flatten(stream: TokenStream, tokens: &mut Vec<Token>) {
    let token = |text: String, line| Token { text, line, is_test: false, modules: 0, close: 0 };
    for tree in stream {
        let line = tree.span().start().line;
        match tree {
            TokenTree::Group(group) => {
                let (open, close) = match group.delimiter() {
                    Delimiter::Parenthesis => ("(", ")"),
                    Delimiter::Brace => ("{", "}"),
                    Delimiter::Bracket => ("[", "]"),
                    Delimiter::None => ("", ""),
                };
                let opened_at = tokens.len();
                tokens.push(token(open.to_owned(), line));
                flatten(group.stream(), tokens);
                tokens[opened_at].close = tokens.len();
                tokens.push(token(close.to_owned(), group.span_close().start().line));
            }
            TokenTree::Punct(punct) => match tokens.last_mut() {
                // `::` in one piece; `:::` does not occur.
                Some(last) if punct.as_char() == ':' && last.text == ":" => last.text.push(':'),
                _ => tokens.push(token(punct.to_string(), line)),
            },
            other => tokens.push(token(other.to_string(), line)),
        }
    }
}

/// The top-level modules that the file names, each with its line.
fn named_modules<'s>(source: &'s Source<'_>) -> Vec<(&'s str, usize)> {
    let mut named = Vec::new();
    for at in 0..source.tokens.len() {
        if source.before(at) == "::" {
            continue;
        }
        let is_root = match source.text_at(at) {
            "crate" => true,
            "resptap" => source.module() == "main",
            _ => false,
        };
        let mut last = at;
        while source.text_at(at) == "super" && source.follows(last + 1, &["::", "super"]) {
            last += 2;
        }
        let supers = (last - at) / 2 + 1;
        let climbs_out = source.text_at(at) == "super" && supers >= source.depth() + source.tokens[at].modules;
        if (is_root || climbs_out) && source.text_at(last + 1) == "::" {
            named.extend(path_heads(source, last + 2));
        }
    }
    named
}

/// The first words of the path, or of the group of paths, that begins at `at`.
fn path_heads<'s>(source: &'s Source<'_>, at: usize) -> Vec<(&'s str, usize)> {
    if source.text_at(at) != "{" {
        return source.tokens.get(at).map(|token| (token.text.as_str(), token.line)).into_iter().collect();
    }
    let mut heads = Vec::new();
    let close = source.tokens[at].close;
    let (mut at, mut is_head) = (at + 1, true);
    while at < close {
        let token = &source.tokens[at];
        if is_head {
            heads.push((token.text.as_str(), token.line));
        }
        is_head = token.text == ",";
        at = if token.close > 0 { token.close + 1 } else { at + 1 };
    }
    heads
}

fn layer(module: &str) -> Option<usize> {
    LAYERS.iter().position(|modules| modules.contains(&module))
}

/// Breaches of the layer rule; exceptions that are made use of are added to `used`.
fn check_layers(source: &Source<'_>, used: &mut BTreeSet<(String, String)>) -> Vec<String> {
    let module = source.module();
    if module == "lib" {
        return Vec::new();
    }
    let Some(own) = layer(module) else {
        return vec![source.report(1, &format!("module `{module}` has no layer; give it one in tests/tidy.rs"))];
    };
    let mut found = Vec::new();
    for (named, line) in named_modules(source) {
        if named == module {
            continue;
        }
        let what = match layer(named) {
            Some(other) if other < own => continue,
            _ if EXCEPTIONS.iter().any(|(who, whom, _)| *who == module && *whom == named) => {
                used.insert((module.to_owned(), named.to_owned()));
                continue;
            }
            Some(other) if other == own => format!("`{module}` names its sibling `{named}`"),
            Some(_) => format!("`{module}` names `{named}`, which is of a higher layer"),
            None => format!("`{module}` names `{named}`, which has no layer"),
        };
        found.push(source.report(line, &what));
    }
    found
}

fn check_fences(source: &Source<'_>) -> Vec<String> {
    let mut found = Vec::new();
    for (at, token) in source.tokens.iter().enumerate() {
        let begins_path = source.before(at) != "::" && source.before(at) != ".";
        let is_path = source.text_at(at + 1) == "::" || source.before(at) == "use";
        if begins_path && is_path {
            for fence in FENCES.iter().filter(|fence| fence.name == token.text) {
                let is_free = fence.tests_are_free && token.is_test;
                if !is_free && !source.is_in(fence.places) {
                    found.push(source.report(token.line, &format!("`{}` belongs in {:?}", fence.name, fence.places)));
                }
            }
        }
        let reads_clock = CLOCKS.contains(&token.text.as_str()) && source.follows(at + 1, &["::", "now"]);
        if reads_clock && source.path != CLOCK_FILE {
            found.push(source.report(token.line, &format!("only {CLOCK_FILE} reads a clock")));
        }
        if token.text == "unsafe" {
            if !source.is_in(UNSAFE_PLACES) {
                found.push(source.report(token.line, &format!("`unsafe` belongs in {UNSAFE_PLACES:?}")));
            } else if !is_argued(source.text, token.line) {
                found.push(source.report(token.line, "`unsafe` without a SAFETY comment before it"));
            }
        }
    }
    found
}

/// Whether a comment before the statement on this line (from 1) says why it is safe.
fn is_argued(text: &str, line: usize) -> bool {
    let before: Vec<&str> = text.lines().take(line - 1).map(str::trim).collect();
    let is_argument = |line: &str| line.starts_with("//") && (line.contains("SAFETY:") || line.contains("# Safety"));
    let belongs = |line: &str| line.starts_with("//") || !(line.is_empty() || line.ends_with([';', '{', '}']));
    before.iter().rev().take_while(|line| belongs(line)).any(|line| is_argument(line))
}

fn check_shape(source: &Source<'_>) -> Vec<String> {
    let mut found = Vec::new();
    if !source.text.starts_with("//! ") {
        found.push(source.report(1, "does not begin with `//!` and what it does"));
    }
    let all = source.text.lines().count();
    let test_lines: BTreeSet<usize> =
        source.tokens.iter().filter(|token| token.is_test).map(|token| token.line).collect();
    // Comments and blank lines between tests are tests' lines, too.
    let tests = test_lines.first().zip(test_lines.last()).map_or(0, |(first, last)| last - first + 1);
    for (lines, what) in [(all - tests, "code"), (tests, "tests")] {
        if lines > FILE_LINES_MAX {
            found.push(
                source.report(1, &format!("{lines} lines of {what} are more than {FILE_LINES_MAX}: two concepts")),
            );
        }
    }
    for (at, token) in source.tokens.iter().enumerate() {
        // Not `fn(u8) -> u8`, which is a type.
        if token.text == "fn" && source.text_at(at + 1) != "(" {
            let lines = source.tokens[source.item_end(at)].line - token.line + 1;
            if lines > FUNCTION_LINES_MAX {
                let what = format!("fn {} has {lines} lines, more than {FUNCTION_LINES_MAX}", source.text_at(at + 1));
                found.push(source.report(token.line, &what));
            }
        }
        if UNFINISHED.contains(&token.text.as_str()) && source.text_at(at + 1) == "!" {
            found.push(source.report(token.line, &format!("{}! is not for keeps", token.text)));
        }
    }
    for (line, text) in source.text.lines().enumerate() {
        if let Some(marker) = MARKERS.iter().find(|marker| text.contains(*marker)) {
            found.push(source.report(line + 1, &format!("{marker}: an issue is the place for it")));
        }
    }
    found
}

fn check(path: &str, text: &str, used: &mut BTreeSet<(String, String)>) -> Vec<String> {
    match Source::new(path, text) {
        Ok(source) => [check_layers(&source, used), check_fences(&source), check_shape(&source)].concat(),
        Err(error) => vec![error],
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All source files under `folder`, from the package's root, in order.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("the sources are there") {
        let path = entry.expect("the sources are readable").path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path.strip_prefix(root()).expect("it is under the root").to_owned());
        }
    }
    found.sort();
    found
}

#[test]
fn the_house_is_tidy() {
    let files = sources(&root().join("src"));
    for expected in ["src/lib.rs", "src/main.rs", "src/flow/key.rs"] {
        assert!(files.contains(&PathBuf::from(expected)), "{expected} was not looked at");
    }
    let mut used = BTreeSet::new();
    let mut found = Vec::new();
    for file in &files {
        let text = fs::read_to_string(root().join(file)).expect("a source is readable text");
        found.extend(check(&file.to_string_lossy(), &text, &mut used));
    }
    for (who, whom, _) in EXCEPTIONS {
        if !used.contains(&((*who).to_owned(), (*whom).to_owned())) {
            found.push(format!("tests/tidy.rs: the exception of `{who}` naming `{whom}` is not needed any more"));
        }
    }
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn every_fenced_crate_is_a_dependency() {
    let manifest: toml::Table =
        fs::read_to_string(root().join("Cargo.toml")).expect("the manifest is there").parse().expect("it is TOML");
    let dependencies = manifest["dependencies"].as_table().expect("it is a table");
    for fence in FENCES {
        let name = fence.name.replace('_', "-");
        assert!(
            dependencies.contains_key(&name) || dependencies.contains_key(fence.name),
            "{} is fenced, but no dependency: renamed?",
            fence.name
        );
    }
}

#[test]
fn exceptions_are_between_siblings_or_upwards() {
    for (who, whom, reason) in EXCEPTIONS {
        assert!(layer(whom) >= layer(who), "{who} may name {whom} anyway");
        assert!(!reason.is_empty());
    }
}

/// What is wrong with a source, apart from the missing header.
fn faults(path: &str, code: &str) -> Vec<String> {
    check(path, &format!("//! Canary.\n{code}\n"), &mut BTreeSet::new())
}

#[test]
fn bad_sources_are_reported() {
    let long_function = format!("fn f() {{\n{}}}", "    f();\n".repeat(FUNCTION_LINES_MAX));
    let long_file = "const _: () = ();\n".repeat(FILE_LINES_MAX);
    let long_tests = format!("#[cfg(test)]\nmod tests {{\n{long_file}}}");
    for (path, code, expected) in [
        // Layers.
        ("src/resp/parser.rs", "use crate::redis::keys::slot;", "`resp` names `redis`, which is of a higher layer"),
        ("src/resp/parser.rs", "fn f() { let _ = crate::writer::run(1); }", "`resp` names `writer`"),
        ("src/resp/parser.rs", "use crate::{units::Offset, capture::Frame};", "names its sibling `capture`"),
        ("src/resp/parser.rs", "use {std::fmt, crate::{limits, units::{Offset, Timestamp}, flow}};", "names `flow`"),
        ("src/resp/parser.rs", "macro_rules! m { () => { $crate::record::f() } }", "names `record`"),
        ("src/resp/parser.rs", "use super::super::record::totals::Totals;", "names `record`"),
        ("src/resp/mod.rs", "use super::record::totals::Totals;", "names `record`"),
        ("src/ring.rs", "mod tests { use super::super::worker; }", "names `worker`"),
        ("src/ring.rs", "use super::sink::Sink;", "names its sibling `sink`"),
        ("src/ring.rs", "use crate::*;", "names `*`, which has no layer"),
        ("src/ring.rs", "use crate::rings::Ring;", "names `rings`, which has no layer"),
        ("src/nowhere.rs", "", "module `nowhere` has no layer"),
        ("src/main.rs", "use resptap::nowhere;", "names `nowhere`"),
        ("src/runtime.rs", "use crate::ui::progress::Progress;", "`ui`, which is of a higher layer"),
        // Fences.
        ("src/worker.rs", "use rtrb::Producer;", "`rtrb` belongs in"),
        ("src/worker.rs", "use rtrb as ring;", "`rtrb` belongs in"),
        ("src/worker.rs", "fn f() { rtrb::RingBuffer::new(1); }", "`rtrb` belongs in"),
        ("src/config.rs", "#[derive(clap::Parser)] struct S;", "`clap` belongs in"),
        ("src/sink/jsonl.rs", "fn f() { serde_json::to_string(&1); }", "`serde_json` belongs in"),
        ("src/worker.rs", "fn f() { std::time::Instant::now(); }", "only src/clock.rs reads a clock"),
        ("src/worker.rs", "fn f() { let now = SystemTime::now; }", "only src/clock.rs reads a clock"),
        ("src/worker.rs", "fn f() { unsafe { g() } }", "`unsafe` belongs in"),
        ("src/worker.rs", "unsafe impl Send for S {}", "`unsafe` belongs in"),
        ("src/capture/file.rs", "fn f() {\n    unsafe { g() }\n}", "without a SAFETY comment"),
        ("src/capture/file.rs", "// SAFETY: of another.\nf();\nunsafe { g() }", "without a SAFETY comment"),
        // Shape.
        ("src/units.rs", &long_function, "fn f has 102 lines"),
        ("src/units.rs", &long_file, "702 lines of code"),
        ("src/units.rs", &long_tests, "703 lines of tests"),
        ("src/units.rs", "fn f() { todo!() }", "todo! is not for keeps"),
        ("src/units.rs", "fn f() { dbg!(1); }", "dbg! is not for keeps"),
        ("src/units.rs", "// TODO: later", "an issue is the place for it"),
        ("src/units.rs", "fn f( {", "no Rust"),
    ] {
        let found = faults(path, code);
        assert!(
            found.len() == 1 && found[0].contains(expected),
            "{path} with\n{}\nshould be reported once as {expected:?}, but: {found:#?}",
            code.lines().take(5).collect::<Vec<_>>().join("\n")
        );
    }
    let headless = check("src/units.rs", "// Plain.\n", &mut BTreeSet::new());
    assert!(headless.len() == 1 && headless[0].contains("does not begin with"), "{headless:?}");
}

#[test]
fn good_sources_are_not_reported() {
    for (path, code) in [
        ("src/redis/keys.rs", "use crate::{resp::parser::Kind, units};\nuse super::command::{CommandId, self};"),
        ("src/redis/keys.rs", "mod tests { use super::*; use super::super::command; use crate::redis::pairing; }"),
        ("src/resp/parser.rs", "// use crate::redis;\nconst S: &str = \"crate::redis unsafe Instant::now()\";"),
        ("src/lib.rs", "pub mod units;\npub mod cli;"),
        ("src/main.rs", "use resptap::{cli, ui};\nstatic A: mimalloc::MiMalloc = mimalloc::MiMalloc;"),
        ("src/sink/jsonl.rs", "#[cfg(test)]\nmod tests {\n    use serde_json::Value;\n}"),
        ("src/units.rs", "pub(crate) fn f(clap: bool, now: fn(u8) -> u8) -> bool { clap }"),
        (
            "src/capture/file.rs",
            "fn f() {\n    // SAFETY: the mapping outlives it,\n    // and nobody writes.\n    let x =\n        unsafe { g() };\n}",
        ),
        ("src/capture/file.rs", "/// F.\n///\n/// # Safety\n/// Once.\n#[inline]\npub unsafe fn f() {}"),
    ] {
        assert_eq!(faults(path, code), Vec::<String>::new(), "{path} with\n{code}");
    }
}
