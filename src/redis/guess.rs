//! Whether the first argument of a command that the table does not have is taken for its key.
//!
//! Commands of modules and of newer servers mostly name their key first, and what is grouped by key is better guessed than
//! lost: such a transaction is marked `key_guessed`. But an unknown command may also be `AUTH`, renamed or mistyped, with a
//! password behind it. A guess is therefore made only where a password is not to be expected, and only of multibulk commands:
//! people type inline ones, and what speaks HTTP sends lines that look like them.

use super::keys::finder::UNKNOWN_COUNT;

/// Parts of a command's name after which an argument may be a secret.
const SECRETIVE: [&[u8]; 6] = [b"AUTH", b"PASS", b"SECRET", b"LOGIN", b"CONFIG", b"ACL"];

/// Whether a key is guessed for the unknown command of this name with `count` words.
///
/// Not for a name that no record would show (SPEC section 3), nor for one that sounds of secrets; and a command of one argument
/// (`AUTH password` by another name) must have a dot in its name, as those of modules do.
pub(super) fn has_key(name: &[u8], count: u32) -> bool {
    let shown = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let has = |part: &[u8]| name.windows(part.len()).any(|window| window.eq_ignore_ascii_case(part));
    count != UNKNOWN_COUNT
        && (count > 2 || name.contains(&b'.'))
        && name.first().is_some_and(u8::is_ascii_alphabetic)
        && name.iter().all(shown)
        && !SECRETIVE.into_iter().any(has)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_of_modules_have_their_key_first() {
        for (name, count) in [("JSON.GET", 2), ("FT.SEARCH", 3), ("ts.add", 4), ("GETFOO", 3), ("ML_X-1.run", 2)] {
            assert!(has_key(name.as_bytes(), count), "{name}");
        }
    }

    #[test]
    fn nothing_is_guessed_where_a_password_may_stand() {
        for (name, count) in [
            ("AUHT", 2),
            ("b840fc02d524045429941cc15f59e41cb7be6c52", 2),
            ("xauth", 3),
            ("MY.AUTH", 2),
            ("SETPASSWORD", 3),
            ("myconfig", 4),
            ("r-ACL", 4),
            ("Authorization:", 3),
            ("A\0B", 3),
            ("", 3),
            ("0x", 3),
            ("JSON.GET", UNKNOWN_COUNT),
        ] {
            assert!(!has_key(name.as_bytes(), count), "{name}");
        }
    }
}
