//! Replays the corpora of the fuzzer (`fuzz/corpus`) through its targets, and holds the fuzzer to finding its canary.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

#[allow(dead_code, unreachable_pub, missing_docs, clippy::all, clippy::pedantic, reason = "a crate of its own")]
#[path = "../fuzz/src/lib.rs"]
mod fuzz;

/// Bytes of all corpora together.
const CORPORA_BYTES_MAX: u64 = 2_000_000;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The entries of a target's corpus, in order.
fn corpus(target: &str) -> Vec<PathBuf> {
    let folder = root().join("fuzz/corpus").join(target);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

#[test]
fn no_entry_of_a_corpus_fails() {
    // A thread each: the targets share nothing.
    std::thread::scope(|scope| {
        for (target, run) in fuzz::TARGETS {
            scope.spawn(move || {
                let entries = corpus(target);
                assert!(entries.len() >= 2, "the corpus of {target} is empty");
                for path in entries {
                    let bytes = fs::read(&path).unwrap();
                    let done = catch_unwind(AssertUnwindSafe(|| run(&bytes)));
                    assert!(done.is_ok(), "the target {target} fails on {}", path.display());
                }
            });
        }
    });
}

/// `RESPTAP_UPDATE_CORPUS=1 cargo test --test corpus` writes them.
#[test]
fn the_corpora_hold_their_seeds() {
    for (target, _) in fuzz::TARGETS {
        let folder = root().join("fuzz/corpus").join(target);
        for (name, bytes) in fuzz::seeds::of(target, root()) {
            let path = folder.join(name);
            if std::env::var_os("RESPTAP_UPDATE_CORPUS").is_some() {
                fs::create_dir_all(&folder).unwrap();
                fs::write(&path, &bytes).unwrap();
            }
            let is_same = fs::read(&path).is_ok_and(|written| written == bytes);
            assert!(is_same, "{} is not what it is made of; RESPTAP_UPDATE_CORPUS=1 writes it", path.display());
        }
    }
}

#[test]
fn the_corpora_are_small() {
    let sizes = fuzz::TARGETS.iter().flat_map(|(target, _)| corpus(target));
    let bytes: u64 = sizes.map(|path| path.metadata().unwrap().len()).sum();
    assert!(bytes <= CORPORA_BYTES_MAX, "{bytes} bytes");
}

#[test]
fn each_target_is_a_program_of_the_fuzzer_with_the_canary() {
    let manifest: toml::Table = fs::read_to_string(root().join("fuzz/Cargo.toml")).unwrap().parse().unwrap();
    let programs = manifest["bin"].as_array().unwrap().iter().map(|bin| bin["name"].as_str().unwrap());
    let targets = fuzz::TARGETS.iter().map(|(name, _)| *name).chain(["canary"]);
    assert!(programs.eq(targets));
    fuzz::canary::run(b"*1\r\n*1\r\n*1\r\n+a\r\n");
    assert!(catch_unwind(|| fuzz::canary::run(b"*1\r\n*1\r\n%1\r\n+a\r\n+b\r\n")).is_err(), "the canary fails");
}
