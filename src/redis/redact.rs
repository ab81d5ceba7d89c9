//! Secrets, cut before anything is copied: which commands carry them, and what of an error's text may be kept.
//!
//! Coarse on purpose: of a command that can carry a secret no argument is kept, whatever it is, nor its reply.

/// Whether arguments (and replies) of a command are never shown.
pub fn hides_arguments(command: &str) -> bool {
    match command.split_once(' ') {
        None => matches!(command, "AUTH" | "HELLO" | "MIGRATE" | "ACL" | "CONFIG" | "SENTINEL"),
        Some((container, subcommand)) => match container {
            "ACL" => true,
            "CONFIG" | "SENTINEL" => matches!(subcommand, "SET" | "GET" | "CONFIG"),
            _ => false,
        },
    }
}

/// What may be kept of an error's text: servers echo arguments behind `with args beginning with:`.
pub fn error_text(text: &[u8]) -> &[u8] {
    const ECHO: &[u8] = b"with args beginning with";
    let end = memchr::memmem::find(text, ECHO).map_or(text.len(), |at| at);
    text[..end].trim_ascii_end()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_that_carry_secrets_hide_them_and_others_do_not() {
        for command in
            ["AUTH", "HELLO", "ACL SETUSER", "ACL LIST", "CONFIG SET", "CONFIG GET", "MIGRATE", "SENTINEL SET", "ACL"]
        {
            assert!(hides_arguments(command), "{command}");
        }
        for command in ["SET", "CONFIG RESETSTAT", "CLIENT SETNAME", "SENTINEL MASTERS"] {
            assert!(!hides_arguments(command), "{command}");
        }
    }

    #[test]
    fn echoed_arguments_are_cut_off_an_error() {
        let text = b"ERR unknown command 'AUHT', with args beginning with: 'hunter2' ";
        assert_eq!(error_text(text), b"ERR unknown command 'AUHT',");
        assert_eq!(error_text(b"WRONGTYPE Operation"), b"WRONGTYPE Operation");
    }
}
