//! The intent: the ranges that a worker is about to write, encoded as the metadata of an offset commit.
//! It performs no I/O, and never decides what to do with a range.
//!
//! # Format, version 2
//! Fields separated by one space: `sluice2`, the decoder's fingerprint in 16 hex digits, the time at which the oldest of the
//! ranges was announced (seconds since 1970), then one field per range, in order: `FIRST+SPAN:DIGEST`. The last
//! offset is FIRST + SPAN, and the digest has 32 hex digits; a trailing `?` or `!` is its [`Doubt`].
//!
//! Version 1 has the same format, but its ranges were sent with other tokens (ADR 0018): they are sealed with the same bounds
//! and looked up in their table before any of their rows is sent.
//!
//! A broker keeps 4,096 bytes of it (`offset.metadata.max.bytes`); [`MAX_RANGES`] stays below that limit.

use std::fmt::Write;

use super::range::Range;

/// Maximum number of ranges in an intent: 48 fields of at most 65 bytes and a header of 45 fit into 4,096 bytes.
pub const MAX_RANGES: usize = 48;
/// First field of the format.
const VERSION: &str = "sluice2";
/// First field of version 1.
const VERSION_1: &str = "sluice1";

/// Whether a range has to be looked up in its table before it is sent, however recent it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Doubt {
    /// No lookup: ClickHouse recognizes its token if it has landed.
    #[default]
    No,
    /// `?`: some rows may have landed under other tokens; the missing rows are sent.
    SendMissing,
    /// `!`: it was decoded by another decoder, or its records have changed. The table must hold all of its rows or none, else
    /// an operator has to decide.
    AllOrNothing,
}

impl Doubt {
    const fn mark(self) -> &'static str {
        match self {
            Self::No => "",
            Self::SendMissing => "?",
            Self::AllOrNothing => "!",
        }
    }
}

/// An announced range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Announced {
    /// Offsets of the range.
    pub range: Range,
    /// Digest of the raw records, see [`crate::batch`].
    pub digest: u128,
    /// Whether the range has to be looked up before it is sent.
    pub doubt: Doubt,
}

/// The metadata of a committed offset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intent {
    /// Fingerprint of the decoder of the ranges, see [`crate::decode::table::Plan`].
    pub decoder: u64,
    /// When the oldest range was announced, in seconds since 1970; the time of encoding if there is no range.
    pub announced_at: u64,
    /// Every sealed range above the committed offset, in order.
    pub ranges: Vec<Announced>,
}

impl Intent {
    /// Encodes the metadata of the commit.
    pub fn encode(&self) -> String {
        let mut text = format!("{VERSION} {:016x} {}", self.decoder, self.announced_at);
        for Announced { range, digest, doubt } in &self.ranges {
            let mark = doubt.mark();
            let span = range.last - range.first;
            write!(text, " {}+{span}:{digest:032x}{mark}", range.first).expect("writing to a String does not fail");
        }
        text
    }

    /// Parses metadata; `None` if it is not in this format, for example if it is empty, or was written by another program or
    /// a newer version.
    pub fn parse(text: &str) -> Option<Self> {
        let mut fields = text.split(' ');
        let minimum_doubt = match fields.next()? {
            VERSION => Doubt::No,
            VERSION_1 => Doubt::SendMissing,
            _ => return None,
        };
        let decoder = u64::from_str_radix(hex(fields.next()?, 16)?, 16).ok()?;
        let announced_at = decimal(fields.next()?)?.try_into().ok()?;
        let ranges: Option<Vec<_>> = fields.map(announced).collect();
        let with_doubt = |range: Announced| Announced { doubt: range.doubt.max(minimum_doubt), ..range };
        let ranges: Vec<_> = ranges?.into_iter().map(with_doubt).collect();
        let is_in_order = ranges.windows(2).all(|pair| pair[0].range.last < pair[1].range.first);
        (is_in_order && ranges.len() <= MAX_RANGES).then_some(Self { decoder, announced_at, ranges })
    }
}

fn announced(field: &str) -> Option<Announced> {
    let doubts = [Doubt::SendMissing, Doubt::AllOrNothing];
    let marked = doubts.iter().find_map(|doubt| Some((field.strip_suffix(doubt.mark())?, *doubt)));
    let (field, doubt) = marked.unwrap_or((field, Doubt::No));
    let (offsets, digest) = field.split_once(':')?;
    let (first, span) = offsets.split_once('+')?;
    let first = decimal(first)?;
    let last = first.checked_add(decimal(span)?)?;
    let digest = u128::from_str_radix(hex(digest, 32)?, 16).ok()?;
    Some(Announced { range: Range { first, last }, digest, doubt })
}

/// A decimal number without sign and without leading zeros.
fn decimal(text: &str) -> Option<i64> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    is_plain.then(|| text.parse().ok())?
}

/// Exactly `digits` lower-case hex digits.
fn hex(text: &str, digits: usize) -> Option<&str> {
    let is_hex = text.len() == digits && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    is_hex.then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sample() -> Intent {
        let doubt = |first| if first == 9 { Doubt::SendMissing } else { Doubt::No };
        let range = |first, last| Announced { range: Range { first, last }, digest: 0xab, doubt: doubt(first) };
        Intent { decoder: 0x1f, announced_at: 1_792_000_000, ranges: vec![range(0, 8), range(9, 9)] }
    }

    #[test]
    fn the_format_is_readable_and_stable() {
        insta::assert_snapshot!(sample().encode(), @"sluice2 000000000000001f 1792000000 0+8:000000000000000000000000000000ab 9+0:000000000000000000000000000000ab?");
    }

    #[test]
    fn other_metadata_is_not_parsed() {
        let text = sample().encode();
        for foreign in [
            String::new(),
            "sluice3 0 0".to_owned(),
            "{\"lag\": 3}".to_owned(),
            text.replace("sluice2", "sluice2 "),
            text.replace(" 9+0", " 8+0"),
            text.replace("ab?", "ab??"),
            text.replace("ab?", "AB?"),
            text.replace("0+8", "00+8"),
            text.replace("0+8", "0+-8"),
            text.replace("0+8", "9223372036854775807+8"),
            format!("{text} "),
            text[..text.len() - 3].to_owned(),
        ] {
            assert_eq!(Intent::parse(&foreign), None, "{foreign:?}");
        }
    }

    #[test]
    fn ranges_of_the_earlier_version_are_looked_up() {
        let earlier = Intent::parse(&sample().encode().replace("sluice2", "sluice1")).unwrap();
        let doubts: Vec<_> = earlier.ranges.iter().map(|range| range.doubt).collect();
        assert_eq!(doubts, [Doubt::SendMissing; 2]);
        let doubted = Intent::parse("sluice1 000000000000001f 7 0+8:000000000000000000000000000000ab!").unwrap();
        assert_eq!(doubted.ranges[0].doubt, Doubt::AllOrNothing);
    }

    #[test]
    fn the_longest_intent_fits_the_limit_of_a_broker() {
        let count = i64::try_from(MAX_RANGES).unwrap();
        let first = i64::MAX - 2 * count;
        let range = |n| Range { first: first + 2 * n, last: first + 2 * n + 1 };
        let announced = |n| Announced { range: range(n), digest: u128::MAX, doubt: Doubt::AllOrNothing };
        let mut intent =
            Intent { decoder: u64::MAX, announced_at: i64::MAX as u64, ranges: (0..count).map(announced).collect() };
        assert!(intent.encode().len() <= 4096, "{}", intent.encode().len());
        assert_eq!(Intent::parse(&intent.encode()).as_ref(), Some(&intent));
        intent.ranges[0].range = Range { first: 0, last: first - 1 };
        assert!(intent.encode().len() <= 4096);
    }

    proptest! {
        #[test]
        fn every_intent_round_trips(
            decoder in any::<u64>(),
            announced_at in 0..i64::MAX as u64,
            steps in proptest::collection::vec((0_i64..1 << 40, 0_i64..1 << 20, any::<u128>(), 0_usize..3), 0..MAX_RANGES)
        ) {
            let mut next = 0;
            let mut ranges = Vec::new();
            for (gap, span, digest, doubt) in steps {
                let doubt = [Doubt::No, Doubt::SendMissing, Doubt::AllOrNothing][doubt];
                let range = Range { first: next + gap, last: next + gap + span };
                next = range.last + 1;
                ranges.push(Announced { range, digest, doubt });
            }
            let intent = Intent { decoder, announced_at, ranges };
            prop_assert_eq!(Intent::parse(&intent.encode()), Some(intent));
        }

        #[test]
        fn no_text_panics_and_parsed_text_round_trips(text in "(sluice2 )?[0-9a-f+:?! ]{0,120}") {
            if let Some(intent) = Intent::parse(&text) {
                prop_assert_eq!(intent.encode(), text);
            }
        }
    }
}
