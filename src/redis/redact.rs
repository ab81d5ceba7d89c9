//! Secrets, cut before anything is copied: which commands carry them, and what of replies and errors may be kept.
//!
//! The rules, in all modes of `--payload`:
//!
//! 1. **Commands that can carry a secret** ([`hides`]): of AUTH, HELLO, MIGRATE, all of ACL, CONFIG GET and SET, SENTINEL SET
//!    and CONFIG, MODULE LOAD and LOADEX no argument is shown and no reply, not even the harmless ones among them: positions
//!    are not relied on, as who mistypes such a command moves the password. The exception is MIGRATE's keys, up to what could
//!    be its AUTH ([`ends_keys`]). A table (`--commands`) can name more commands with the flag `secret`, as for a renamed CONFIG.
//! 2. **Commands that the table does not have** may be one of those, renamed or mistyped: no argument but a guessed key
//!    (`guess.rs`), and no reply. And if the server does not know the command either, or did not say ([`is_named`]), nothing
//!    at all: neither that key nor the name, since what was typed may be a password in the wrong place.
//! 3. **Errors** ([`error_text`]): servers quote what they were sent, so a text ends before its first quotation.
//! 4. **Replies that repeat what other clients sent**: those of SLOWLOG and its like ([`hides_reply`]), MONITOR's lines
//!    ([`is_monitor_line`]), and EXEC's, unless all of its commands are known and may show theirs.
//!
//! What no rule of this kind can find: a secret that is data. A value, a key, a client's name, the text of a script and what
//! scripts answer are shown as `--payload` says, whatever they hold.

use super::command::{Command, CommandId, CommandTable};

/// Whether no argument and no reply of a command is shown.
pub fn hides(command: &Command) -> bool {
    command.flags.secret || is_secretive(&command.name)
}

/// The secretive commands by name. A container without its subcommand stands for one whose subcommand is mistyped or unseen.
fn is_secretive(name: &str) -> bool {
    match name.split_once(' ') {
        None => matches!(name, "AUTH" | "HELLO" | "MIGRATE" | "ACL" | "CONFIG" | "SENTINEL" | "MODULE"),
        Some(("ACL", _)) => true,
        Some(("CONFIG", subcommand)) => matches!(subcommand, "SET" | "GET"),
        Some(("SENTINEL", subcommand)) => matches!(subcommand, "SET" | "CONFIG"),
        Some(("MODULE", subcommand)) => matches!(subcommand, "LOAD" | "LOADEX"),
        _ => false,
    }
}

/// Whether the reply to a command is never shown.
pub fn hides_reply(table: &CommandTable, command: CommandId) -> bool {
    let Some(command) = table.get(command) else { return true };
    hides(command) || matches!(&command.name[..], "SLOWLOG" | "SLOWLOG GET" | "COMMANDLOG" | "COMMANDLOG GET")
}

/// Whether a key of a command that [`hides`] could be the word behind which a password follows. So can one of which bytes are
/// missing.
pub fn ends_keys(key: &[u8], is_cut: bool) -> bool {
    is_cut || key.eq_ignore_ascii_case(b"AUTH") || key.eq_ignore_ascii_case(b"AUTH2")
}

/// Whether a command that the table does not have may be named: the server knows it, as it answered, and not by `ERR`, the
/// code of `unknown command`. `error`: the code if that was an error.
pub fn is_named(is_answered: bool, error: Option<&str>) -> bool {
    is_answered && error != Some("ERR")
}

/// What may be kept of an error's text: all before the first quotation mark that begins a word, and before
/// `with args beginning with`, behind which servers quote arguments.
pub fn error_text(text: &[u8]) -> &[u8] {
    const ECHO: &[u8] = b"with args beginning with";
    let end = memchr::memmem::find(text, ECHO).unwrap_or(text.len());
    let is_quotation = |&at: &usize| {
        let before = at.checked_sub(1).and_then(|before| text.get(before));
        // In `can't` none begins.
        matches!(text[at], b'\'' | b'"' | b'`') && !before.is_some_and(u8::is_ascii_alphanumeric)
    };
    let end = (0..end).find(is_quotation).unwrap_or(end);
    text[..end].trim_ascii_end()
}

/// Whether a simple string is a line of MONITOR: `1795367238.519800 [0 127.0.0.1:41810] "SET" …`.
pub fn is_monitor_line(text: &[u8]) -> bool {
    let mut words = text.splitn(2, |&byte| byte == b' ');
    let (time, rest) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let is_time = time.contains(&b'.') && time.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.');
    is_time && rest.starts_with(b"[")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_that_carry_secrets_hide_them_and_others_do_not() {
        let table = CommandTable::built_in();
        let find = |name: &str| table.find(name.as_bytes()).unwrap_or_else(|| panic!("no {name}"));
        for name in [
            "AUTH",
            "HELLO",
            "MIGRATE",
            "ACL",
            "ACL SETUSER",
            "ACL GETUSER",
            "ACL LIST",
            "ACL DRYRUN",
            "CONFIG",
            "CONFIG SET",
            "CONFIG GET",
            "SENTINEL",
            "SENTINEL SET",
            "SENTINEL CONFIG",
            "MODULE LOAD",
            "MODULE LOADEX",
        ] {
            assert!(hides(table.get(find(name)).unwrap()) && hides_reply(table, find(name)), "{name}");
        }
        for name in ["SET", "CONFIG RESETSTAT", "CLIENT SETNAME", "SENTINEL MASTERS", "CLIENT", "MODULE LIST"] {
            assert!(!hides(table.get(find(name)).unwrap()) && !hides_reply(table, find(name)), "{name}");
        }
        assert!(hides_reply(table, find("SLOWLOG GET")) && !hides(table.get(find("SLOWLOG GET")).unwrap()));
        assert!(hides_reply(table, CommandId::UNKNOWN));
    }

    #[test]
    fn a_table_can_name_more_of_them() {
        let table = CommandTable::parse("B840FC\t-2\tsecret\t\nPLAIN\t-2\t\t\n").unwrap();
        assert_eq!(table.iter().map(hides).collect::<Vec<_>>(), [true, false]);
        let auth = CommandTable::parse("AUTH\t-2\t\t\n").unwrap();
        assert!(auth.iter().all(hides), "nor can it take one away");
    }

    #[test]
    fn keys_end_at_what_a_password_may_follow() {
        assert!(ends_keys(b"Auth", false) && ends_keys(b"AUTH2", false) && ends_keys(b"A", true));
        assert!(!ends_keys(b"AUTH3", false) && !ends_keys(b"", false));
    }

    #[test]
    fn an_unknown_command_is_named_if_its_server_knows_it() {
        assert!(is_named(true, None) && is_named(true, Some("WRONGTYPE")));
        assert!(!is_named(true, Some("ERR")) && !is_named(false, None));
    }

    #[test]
    fn what_errors_quote_is_cut_off() {
        for (text, kept) in [
            ("ERR unknown command 'AUHT', with args beginning with: 'hunter2' ", "ERR unknown command"),
            ("ERR unknown command `AUHT`, with args beginning with: `hunter2`, ", "ERR unknown command"),
            ("ERR unknown command, with args beginning with: hunter2", "ERR unknown command,"),
            ("ERR unknown subcommand 'hunter2'. Try CLIENT HELP.", "ERR unknown subcommand"),
            ("ERR Unknown subcommand (\"hunter2\")", "ERR Unknown subcommand ("),
            ("ERR it's 'hunter2'", "ERR it's"),
            ("MISCONF it's currently unable to persist", "MISCONF it's currently unable to persist"),
            ("WRONGTYPE Operation", "WRONGTYPE Operation"),
            ("'hunter2'", ""),
            ("", ""),
        ] {
            assert_eq!(error_text(text.as_bytes()), kept.as_bytes(), "{text}");
        }
    }

    #[test]
    fn lines_of_monitor_are_told_by_their_shape() {
        assert!(is_monitor_line(b"1795367238.519800 [0 127.0.0.1:41810] \"AUTH\" \"hunter2\""));
        for text in [&b"PONG"[..], b"1795367238.519800", b"1795367238 [0 x]", b"a.b [0 x]", b""] {
            assert!(!is_monitor_line(text), "{}", text.escape_ascii());
        }
    }
}
