//! README.md tells the truth: each command in a `console` block is run, and must print what the README shows.
//!
//! The version, numbers of memory, and the run's own times may differ. After a change that is meant to be seen,
//! `RESPTAP_UPDATE_README=1 cargo test --test readme` writes what is printed now into the README.

use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::Command;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const FENCE: &str = "```";

/// A shell with `resptap` on its path, in a directory that has the samples.
struct Shell {
    directory: tempfile::TempDir,
}

impl Shell {
    fn new() -> Shell {
        let directory = tempfile::tempdir().expect("a temporary directory");
        std::os::unix::fs::symlink(Path::new(ROOT).join("samples"), directory.path().join("samples"))
            .expect("a link to the samples");
        Shell { directory }
    }

    /// Standard output of a command as it stands in the README.
    fn run(&self, command: &str) -> String {
        let command = command.replace("cargo run --release --", "resptap");
        let programs = Path::new(env!("CARGO_BIN_EXE_resptap")).parent().expect("the program's directory");
        let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap_or_default());
        let output = Command::new("bash")
            .args(["-o", "pipefail", "-c", &command])
            .current_dir(self.directory.path())
            .env("PATH", path)
            .output()
            .expect("bash starts");
        assert!(output.status.success(), "{command}: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    }
}

/// The README with the output of all its commands made anew, and how many commands there were.
fn rerun(readme: &str) -> (String, usize) {
    let shell = Shell::new();
    let (mut text, mut commands) = (String::new(), 0);
    let mut in_console = false;
    for line in readme.lines() {
        if line.starts_with(FENCE) {
            in_console = line == "```console";
        } else if in_console {
            let Some(command) = line.strip_prefix("$ ") else { continue };
            commands += 1;
            write!(text, "$ {command}\n{}", shell.run(command)).expect("text");
            continue;
        }
        text.push_str(line);
        text.push('\n');
    }
    (text, commands)
}

/// Without what differs from run to run.
fn masked(text: &str) -> Vec<String> {
    let masked = |line: &str| match line.split_once(' ') {
        Some(("resptap", rest)) => format!("resptap VERSION {}", rest.split_once(": ").map_or(rest, |(_, rest)| rest)),
        _ if line.starts_with("  at most ") && line.ends_with(" used") => "  at most SOME of ALL used".to_owned(),
        _ => line.to_owned(),
    };
    text.lines().map(masked).collect()
}

#[test]
fn commands_print_what_the_readme_shows() {
    let path = Path::new(ROOT).join("README.md");
    let readme = fs::read_to_string(&path).expect("README.md");
    let (rerun, commands) = rerun(&readme);
    assert!(commands >= 5, "only {commands} commands were found");
    if std::env::var_os("RESPTAP_UPDATE_README").is_some() {
        fs::write(&path, rerun).expect("README.md is written");
        return;
    }
    let (shown, printed) = (masked(&readme), masked(&rerun));
    for (number, (shown, printed)) in shown.iter().zip(&printed).enumerate() {
        assert_eq!(shown, printed, "README.md, line {}; all that is printed now:\n{rerun}", number + 1);
    }
    assert_eq!(shown.len(), printed.len(), "all that is printed now:\n{rerun}");
}

#[test]
fn only_what_may_differ_is_masked() {
    let masked = |text| masked(text).join("\n");
    assert_eq!(masked("resptap 0.1.0: 2 requests"), masked("resptap 0.2.0-rc.1: 2 requests"));
    assert_ne!(masked("resptap 0.1.0: 2 requests"), masked("resptap 0.1.0: 3 requests"));
    assert_eq!(masked("  at most 1.9 MiB of 1.0 GiB used"), masked("  at most 7 KiB of 2.0 GiB used"));
    assert_ne!(masked("  exact  3"), masked("  exact  4"));
}
