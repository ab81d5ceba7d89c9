//! The cluster slot of a key, as the cluster specification computes it.

/// The cluster slot of a key: CRC-16/XMODEM modulo 16384 of the part between the first `{` and the next `}` if that is not
/// empty, else of the whole key.
#[inline(never)]
pub fn slot(key: &[u8]) -> u16 {
    crc16(if may_have_open_brace(key) { hashed(key) } else { key }) & 0x3fff
}

/// The same of a key in which there is no `{`.
#[inline(always)]
pub fn slot_of_whole(key: &[u8]) -> u16 {
    crc16(key) & 0x3fff
}

/// Whether there may be a `{` in it. Most keys are short, and have none.
#[inline]
#[expect(clippy::needless_bitwise_bool, reason = "all bytes are looked at side by side, none before another")]
fn may_have_open_brace(key: &[u8]) -> bool {
    let has_one = |bytes: &[u8; 16]| bytes.iter().fold(false, |found, &byte| found | (byte == b'{'));
    match (key.first_chunk(), key.last_chunk()) {
        // Two pieces that overlap; each is looked at as a whole.
        (Some(first), Some(last)) if key.len() <= 32 => has_one(first) | has_one(last),
        _ => key.contains(&b'{'),
    }
}

#[cold]
fn hashed(key: &[u8]) -> &[u8] {
    let Some(open) = memchr::memchr(b'{', key) else { return key };
    match memchr::memchr(b'}', &key[open + 1..]) {
        Some(length) if length > 0 => &key[open + 1..open + 1 + length],
        _ => key,
    }
}

/// What a byte does to the checksum when so many others follow it: with these tables sixteen bytes are taken at once.
static TABLES: [[u16; 256]; 16] = {
    let mut tables = [[0u16; 256]; 16];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = (byte as u16) << 8;
        let mut following = 0;
        while following < 16 {
            let mut bit = 0;
            while bit < 8 {
                crc = if crc & 0x8000 != 0 { (crc << 1) ^ 0x1021 } else { crc << 1 };
                bit += 1;
            }
            tables[following][byte] = crc;
            following += 1;
        }
        byte += 1;
    }
    tables
};

#[inline(always)]
fn crc16(bytes: &[u8]) -> u16 {
    match bytes.split_first_chunk::<16>() {
        Some((first, [])) => crc16_on(0, *first),
        Some((first, others)) => crc16_behind(crc16_on(0, *first), others),
        None => crc16_behind(0, bytes),
    }
}

/// The checksum of what had this one before, and these bytes behind it.
#[inline(never)]
fn crc16_behind(crc: u16, bytes: &[u8]) -> u16 {
    let (chunks, rest) = bytes.as_chunks::<8>();
    let crc = chunks.iter().fold(crc, |crc, &bytes| crc16_on(crc, bytes));
    rest.iter().fold(crc, |crc, &byte| (crc << 8) ^ TABLES[0][usize::from((crc >> 8) as u8 ^ byte)])
}

/// The same, of so many bytes.
#[inline(always)]
fn crc16_on<const N: usize>(crc: u16, mut bytes: [u8; N]) -> u16 {
    const { assert!(N >= 2 && N <= TABLES.len()) };
    let [high, low] = crc.to_be_bytes();
    bytes[0] ^= high;
    bytes[1] ^= low;
    bytes.iter().zip(TABLES[..N].iter().rev()).fold(0, |crc, (&byte, table)| crc ^ table[usize::from(byte)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_bytes_at_once_make_the_same_checksum() {
        let one_by_one = |bytes: &[u8]| {
            bytes.iter().fold(0, |crc: u16, &byte| {
                let crc = crc ^ u16::from(byte) << 8;
                (0..8).fold(crc, |crc, _| if crc & 0x8000 != 0 { (crc << 1) ^ 0x1021 } else { crc << 1 })
            })
        };
        let text: Vec<u8> = (0..100u8).map(|n| n.wrapping_mul(197) ^ n >> 2).collect();
        for length in 0..text.len() {
            assert_eq!(crc16(&text[..length]), one_by_one(&text[..length]), "{length} bytes");
        }
    }

    #[test]
    fn a_tag_is_found_wherever_it_is() {
        for before in 0..20 {
            let key = [&vec![b'k'; before][..], b"{user}", &vec![0xfb; 19 - before]].concat();
            assert_eq!(slot(&key), slot(b"user"), "{before}");
        }
    }

    #[test]
    fn slots_follow_the_cluster_specification() {
        assert_eq!(crc16(b"123456789"), 0x31c3, "the check value that the cluster specification gives");
        assert_eq!(slot(b"user:1"), 10778, "the specification's example record");
        assert_eq!(slot(b"{user1000}.following"), slot(b"{user1000}.followers"));
        assert_eq!(slot(b"foo{}{bar}"), crc16(b"foo{}{bar}") & 0x3fff);
        assert_eq!(slot(b"foo{{bar}}zap"), crc16(b"{bar") & 0x3fff);
    }
}
