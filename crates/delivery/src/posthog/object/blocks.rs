//! Which brackets of a JSON text stand outside of its strings, 64 bytes at a time and without a branch for each.
//!
//! Source of the method: Langdale and Lemire, "Parsing gigabytes of JSON per second" (2019), stage 1.

/// Bytes that are looked at at once.
pub(super) const BLOCK: usize = 64;

/// What one block tells the next.
#[derive(Debug, Default)]
pub(super) struct Blocks {
    /// All ones where a string goes on.
    inside: u64,
    /// 1 where a backslash came last that escapes what comes first.
    escapes: u64,
}

impl Blocks {
    /// Takes the next block, of which only the last may be shorter, and says where in it brackets stand outside of strings: a bit a
    /// byte, the first the lowest.
    pub(super) fn brackets(&mut self, bytes: &[u8]) -> u64 {
        let mut block = [b' '; BLOCK];
        block[..bytes.len()].copy_from_slice(bytes);
        let backslashes = positions(&block, |byte| byte == b'\\');
        let quotes = positions(&block, |byte| byte == b'"') & !self.escaped(backslashes);
        // square ones are the others without this bit
        let brackets = positions(&block, |byte| (byte | 0x20 == b'{') | (byte | 0x20 == b'}'));
        let inside = up_to_the_next(quotes) ^ self.inside;
        self.inside = 0_u64.wrapping_sub(inside >> 63);
        brackets & !inside
    }

    /// What a backslash stands before that is not escaped itself.
    fn escaped(&mut self, backslashes: u64) -> u64 {
        let mut escaped = std::mem::take(&mut self.escapes);
        let mut left = backslashes & !escaped;
        while left != 0 {
            let at = left.trailing_zeros();
            if at == 63 {
                self.escapes = 1;
                break;
            }
            escaped |= 2 << at;
            left &= !(3 << at);
        }
        escaped
    }
}

/// From each odd bit that is set, itself included, to the next that is, itself not.
fn up_to_the_next(mut bits: u64) -> u64 {
    for shift in [1, 2, 4, 8, 16, 32] {
        bits ^= bits << shift;
    }
    bits
}

/// Where in a block the bytes are that are meant: a bit a byte, the first the lowest.
///
/// Compilers make of the first loop few instructions for many bytes.
#[inline]
fn positions(block: &[u8; BLOCK], is_meant: impl Fn(u8) -> bool) -> u64 {
    let mut meant = [0; BLOCK];
    for (meant, byte) in meant.iter_mut().zip(block) {
        *meant = if is_meant(*byte) { 0xff } else { 0 };
    }
    let eights = meant.as_chunks::<8>().0.iter().enumerate();
    // of each byte its own bit is kept, and their sum is in the highest
    eights.fold(0, |all, (number, eight)| {
        let own = u64::from_le_bytes(*eight) & 0x8040_2010_0804_0201;
        all | (own.wrapping_mul(0x0101_0101_0101_0101) >> 56) << (8 * number)
    })
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*, sample::select};

    use super::*;

    /// The same, a byte after the other.
    fn one_by_one(json: &[u8]) -> Vec<bool> {
        let (mut inside, mut escaped) = (false, false);
        json.iter()
            .map(|byte| {
                let was_escaped = escaped;
                escaped = !was_escaped && *byte == b'\\';
                inside ^= *byte == b'"' && !was_escaped;
                !inside && matches!(byte, b'{' | b'}' | b'[' | b']')
            })
            .collect()
    }

    proptest! {
        #[test]
        fn brackets_outside_of_strings_are_found_and_no_others(
            json in vec(select(&b"\"\"\\\\{}[]a{; \xc3"[..]), 0..400)
        ) {
            let mut blocks = Blocks::default();
            let found: Vec<_> = json
                .chunks(BLOCK)
                .flat_map(|bytes| {
                    let bits = blocks.brackets(bytes);
                    (0..bytes.len()).map(move |at| bits >> at & 1 == 1)
                })
                .collect();
            prop_assert_eq!(found, one_by_one(&json));
        }
    }
}
