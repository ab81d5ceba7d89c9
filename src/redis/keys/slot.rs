//! The cluster slot of a key, as the cluster specification computes it.

/// The cluster slot of a key: CRC-16/XMODEM modulo 16384 of the part between the first `{` and the next `}` if that is not
/// empty, else of the whole key.
pub fn slot(key: &[u8]) -> u16 {
    crc16(if may_have_open_brace(key) { hashed(key) } else { key }) & 0x3fff
}

/// Whether there may be a `{` in it. Most keys are short, and have none.
#[inline]
fn may_have_open_brace(key: &[u8]) -> bool {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    let (chunks, rest) = key.as_chunks::<8>();
    // A byte that is one becomes zero; then its highest bit is borrowed.
    let found = chunks.iter().fold(0, |found, &bytes| {
        let others = u64::from_le_bytes(bytes) ^ (ONES * u64::from(b'{'));
        found | (others.wrapping_sub(ONES) & !others)
    });
    found & (ONES << 7) != 0 || rest.contains(&b'{')
}

#[cold]
fn hashed(key: &[u8]) -> &[u8] {
    let Some(open) = memchr::memchr(b'{', key) else { return key };
    match memchr::memchr(b'}', &key[open + 1..]) {
        Some(length) if length > 0 => &key[open + 1..open + 1 + length],
        _ => key,
    }
}

/// What a byte does to the checksum when so many others follow it: with these tables eight bytes are taken at once.
static TABLES: [[u16; 256]; 8] = {
    let mut tables = [[0u16; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = (byte as u16) << 8;
        let mut following = 0;
        while following < 8 {
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

fn crc16(bytes: &[u8]) -> u16 {
    let (chunks, rest) = bytes.as_chunks::<8>();
    let crc = chunks.iter().fold(0, |crc: u16, &[a, b, others @ ..]| {
        let [high, low] = crc.to_be_bytes();
        let bytes = [a ^ high, b ^ low].into_iter().chain(others);
        bytes.zip(TABLES.iter().rev()).fold(0, |crc, (byte, table)| crc ^ table[usize::from(byte)])
    });
    rest.iter().fold(crc, |crc, &byte| (crc << 8) ^ TABLES[0][usize::from((crc >> 8) as u8 ^ byte)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eight_bytes_at_once_make_the_same_checksum() {
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
