//! Keys by their hash (`--hash-keys`): who may see records but not the names of keys can still tell keys apart, and who has the
//! file can look a key up.
//!
//! A name is shown as HMAC-SHA-256 (RFC 2104, FIPS 180-4) under the file's content, of which the first 128 bits, in hex:
//! `openssl dgst -sha256 -hmac "$(cat FILE)"` gives the same. Allocates nothing; meant for the writer, not for workers.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::limits::HASH_KEY_BYTES_MAX;

/// Hex digits of a hash.
pub const HASH_DIGITS: usize = 32;

/// Why a file can't be the secret of hashes.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say what the fields are")]
pub enum KeyHashError {
    #[error("the secret that keys are to be hashed with, {path} (--hash-keys), can't be read: {source}")]
    Read { path: PathBuf, source: std::io::Error },
    #[error(
        "the secret that keys are to be hashed with, {path} (--hash-keys), is empty; write something into it that nobody can guess, such as with: openssl rand -hex 32 > {path}"
    )]
    Empty { path: PathBuf },
    #[error(
        "the secret that keys are to be hashed with, {path} (--hash-keys), is longer than {most} bytes; is it another file?",
        most = HASH_KEY_BYTES_MAX
    )]
    TooLong { path: PathBuf },
}

/// Hashes names of keys.
#[derive(Clone)]
pub struct KeyHasher(Hmac<Sha256>);

impl KeyHasher {
    /// With the content of a file as the secret; a newline at its end is none of it.
    pub fn read(path: &Path) -> Result<KeyHasher, KeyHashError> {
        let mut secret = Vec::new();
        File::open(path)
            .and_then(|file| file.take(HASH_KEY_BYTES_MAX + 1).read_to_end(&mut secret))
            .map_err(|source| KeyHashError::Read { path: path.to_owned(), source })?;
        let secret = secret.strip_suffix(b"\n").unwrap_or(&secret);
        if secret.is_empty() {
            return Err(KeyHashError::Empty { path: path.to_owned() });
        }
        if secret.len() as u64 > HASH_KEY_BYTES_MAX {
            return Err(KeyHashError::TooLong { path: path.to_owned() });
        }
        Ok(KeyHasher::new(secret))
    }

    /// With this secret.
    pub fn new(secret: &[u8]) -> KeyHasher {
        KeyHasher(Hmac::new_from_slice(secret).expect("HMAC takes a secret of any length"))
    }

    /// The hash of a name, in hex.
    pub fn hash(&self, name: &[u8]) -> [u8; HASH_DIGITS] {
        let digit = |nibble: u8| b"0123456789abcdef"[usize::from(nibble & 15)];
        let whole = self.0.clone().chain_update(name).finalize().into_bytes();
        let mut digits = [0; HASH_DIGITS];
        for (pair, byte) in digits.chunks_exact_mut(2).zip(whole) {
            pair.copy_from_slice(&[digit(byte >> 4), digit(byte)]);
        }
        digits
    }
}

impl std::fmt::Debug for KeyHasher {
    /// Without the secret.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("KeyHasher")
    }
}

impl PartialEq for KeyHasher {
    fn eq(&self, other: &KeyHasher) -> bool {
        self.hash(b"") == other.hash(b"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(content: &[u8]) -> Result<KeyHasher, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        std::fs::write(&path, content).unwrap();
        KeyHasher::read(&path).map_err(|error| error.to_string())
    }

    #[test]
    fn hashes_are_those_of_the_published_vectors() {
        // RFC 4231, cases 1, 2 and 6.
        for (secret, name, hash) in [
            (&[0x0b; 20][..], &b"Hi There"[..], b"b0344c61d8db38535ca8afceaf0bf12b"),
            (b"Jefe", b"what do ya want for nothing?", b"5bdcc146bf60754e6a042426089575c7"),
            (
                &[0xaa; 131],
                b"Test Using Larger Than Block-Size Key - Hash Key First",
                b"60e431591ee0b67f0d8a26aacbf5b77f",
            ),
        ] {
            assert_eq!(KeyHasher::new(secret).hash(name), *hash);
        }
    }

    #[test]
    fn one_newline_at_the_end_of_the_file_is_none_of_the_secret() {
        let jefe = KeyHasher::new(b"Jefe");
        assert_eq!(read(b"Jefe"), Ok(jefe.clone()));
        assert_eq!(read(b"Jefe\n"), Ok(jefe.clone()));
        assert_ne!(read(b"Jefe\n\n"), Ok(jefe.clone()));
        assert_ne!(read(b"Jefe\r\n"), Ok(jefe));
    }

    #[test]
    fn a_file_that_can_be_no_secret_is_refused_with_what_to_do() {
        for content in [&b""[..], b"\n"] {
            let error = read(content).unwrap_err();
            assert!(error.contains("is empty") && error.contains("openssl rand -hex 32 > "), "{error}");
        }
        assert!(read(&vec![7; HASH_KEY_BYTES_MAX as usize]).is_ok());
        assert!(read(&vec![7; HASH_KEY_BYTES_MAX as usize + 1]).unwrap_err().contains("is longer than 65536 bytes"));
        let absent = KeyHasher::read(Path::new("/no/such")).unwrap_err().to_string();
        assert!(absent.contains("/no/such (--hash-keys), can't be read: No such file"), "{absent}");
    }

    #[test]
    fn the_secret_is_not_printed() {
        assert_eq!(format!("{:?}", KeyHasher::new(b"Jefe")), "KeyHasher");
    }
}
