//! Copies short texts, as names of keys are: most are copied as their two ends, which may overlap, without a call.

/// Copies a text to where there is room for exactly it.
#[inline(always)]
pub fn copy(from: &[u8], to: &mut [u8]) {
    let length = from.len();
    if to.len() != length {
        debug_assert!(false, "{length} bytes have room for {}", to.len());
        return;
    }
    match length {
        8..=16 => ends::<8>(from, to),
        17..=32 => ends::<16>(from, to),
        _ => to.copy_from_slice(from),
    }
}

/// Copies a text that has `N` to 2 × `N` bytes.
#[inline(always)]
fn ends<const N: usize>(from: &[u8], to: &mut [u8]) {
    if let (Some(first), Some(last)) = (from.first_chunk::<N>(), from.last_chunk::<N>()) {
        let end = to.len() - N;
        to[..N].copy_from_slice(first);
        to[end..].copy_from_slice(last);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_all_lengths_are_copied() {
        let text: Vec<u8> = (1..=80).collect();
        for length in 0..=80 {
            let mut to = [0; 100];
            copy(&text[..length], &mut to[3..3 + length]);
            assert_eq!((&to[..3], &to[3..3 + length]), (&[0; 3][..], &text[..length]));
            assert!(to[3 + length..].iter().all(|&byte| byte == 0), "{length}");
        }
    }
}
