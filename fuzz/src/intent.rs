//! The metadata of a committed offset. An input is used twice: as metadata, and as numbers from which an intent is built.

use sluice_ingest::exactly_once::intent::{Announced, Doubt, Intent, MAX_RANGES};
use sluice_ingest::exactly_once::range::Range;

/// Checks one input.
///
/// # Panics
/// If an invariant is violated.
pub fn check(input: &[u8]) {
    if let Ok(text) = std::str::from_utf8(input)
        && let Some(intent) = Intent::parse(text)
    {
        if text.starts_with("sluice1 ") {
            assert_eq!(
                Intent::parse(&intent.encode()).as_ref(),
                Some(&intent),
                "an earlier version is encoded as the current one"
            );
        } else {
            assert_eq!(intent.encode(), text, "an intent has exactly one encoding");
        }
        assert!(intent.ranges.len() <= MAX_RANGES);
        assert!(
            intent
                .ranges
                .iter()
                .all(|announced| announced.range.first >= 0 && announced.range.first <= announced.range.last)
        );
        assert!(
            intent.ranges.windows(2).all(|pair| pair[0].range.last < pair[1].range.first),
            "the ranges are in order"
        );
    }
    let intent = build_intent(input);
    let text = intent.encode();
    assert_eq!(Intent::parse(&text), Some(intent), "{text}");
    assert!(text.len() <= 4096, "the text fits into the metadata of an offset");
}

/// Builds an intent with one range for every four bytes.
fn build_intent(input: &[u8]) -> Intent {
    let (head, numbers) =
        input.split_first_chunk().map_or((0, input), |(head, numbers)| (u64::from_le_bytes(*head), numbers));
    let mut next = 0;
    let range = |bytes: &[u8; 4]| {
        let [gap, gap_shift, span, mark] = *bytes;
        let first = next + (i64::from(gap) << (gap_shift % 40));
        let range = Range { first, last: first + i64::from(span) };
        next = range.last + 1;
        let doubt = [Doubt::No, Doubt::SendMissing, Doubt::AllOrNothing][usize::from(mark) % 3];
        Announced { range, digest: u128::from(head).wrapping_mul(u128::from(mark) << 64 | 0x9e37_79b9), doubt }
    };
    let ranges = numbers.as_chunks().0.iter().take(MAX_RANGES).map(range).collect();
    Intent { decoder: head, announced_at: head >> 1, ranges }
}
