//! Finds where a JSON string ends or is interrupted, many bytes at a time.
//! It depends on JSON only for the bytes that are marks.

/// Bytes per block.
const BLOCK: usize = 64;

/// Positions of the bytes that end or interrupt a string: `"`, `\` and control characters. One block's marks are
/// cached, so a block is scanned once however many strings it contains.
#[derive(Debug)]
pub(super) struct Marks {
    /// Number of the block.
    block: usize,
    /// One bit per byte.
    bits: u64,
}

impl Default for Marks {
    fn default() -> Self {
        Self { block: usize::MAX, bits: 0 }
    }
}

impl Marks {
    /// Index of the next mark at or after `from`; the end of the text if there is none.
    #[inline]
    pub(super) fn next(&mut self, bytes: &[u8], mut from: usize) -> usize {
        loop {
            if from / BLOCK == self.block {
                let ahead = self.bits >> (from % BLOCK);
                if ahead != 0 {
                    return from + ahead.trailing_zeros() as usize;
                }
                from = (self.block + 1) * BLOCK;
            }
            self.load(bytes, from / BLOCK);
        }
    }

    #[inline(never)]
    fn load(&mut self, bytes: &[u8], block: usize) {
        let start = (block * BLOCK).min(bytes.len());
        let remainder = &bytes[start..];
        self.block = block;
        self.bits = match (remainder.first_chunk(), bytes.last_chunk()) {
            (Some(whole), _) => marks(whole),
            // Positions past the end count as marked.
            (None, Some(last)) => last_marks(last, remainder.len()) | u64::MAX << remainder.len(),
            (None, None) => {
                let mut padded = [0; BLOCK];
                padded[..remainder.len()].copy_from_slice(remainder);
                marks(&padded)
            }
        };
    }
}

/// The marks of the last bytes of a block, as bits from the first of them.
fn last_marks(block: &[u8; BLOCK], bytes: usize) -> u64 {
    if bytes == 0 { 0 } else { marks(block) >> (BLOCK - bytes) }
}

/// One bit per marked byte. Branchless, so that one instruction compares many bytes.
fn marks(block: &[u8; BLOCK]) -> u64 {
    let marked = block.map(|byte| u8::from(byte < b' ') | u8::from(byte == b'"') | u8::from(byte == b'\\'));
    let (words, _) = marked.as_chunks();
    // The product gathers the low bits of eight bytes in its highest byte.
    let gather = |word: &[u8; 8]| u64::from_le_bytes(*word).wrapping_mul(0x0102_0408_1020_4080) >> 56;
    words.iter().zip((0..).step_by(8)).fold(0, |bits, (word, at)| bits | gather(word) << at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn finds_the_same_marks_as_a_plain_loop(
            bytes in proptest::collection::vec(prop_oneof![8 => any::<u8>(), 1 => Just(b'"'), 1 => Just(b'\\')], 0..200),
            step in 1_usize..70,
        ) {
            let mut marks = Marks::default();
            for from in (0..=bytes.len()).step_by(step) {
                let plain = bytes[from..].iter().take_while(|b| **b >= 0x20 && **b != b'"' && **b != b'\\').count();
                prop_assert_eq!(marks.next(&bytes, from), from + plain);
            }
        }
    }
}
