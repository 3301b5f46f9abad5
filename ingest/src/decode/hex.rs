//! Parses hyphenated UUIDs, eight digits at a time.
//! It accepts no other notation of a UUID.

/// Parses `6f2d8a4e-0d0c-4f0e-9a3b-0c1d2e3f4a5b`, digits in either case, into the high and low halves of its number.
pub(super) fn uuid(text: &str) -> Option<(u64, u64)> {
    let text: &[u8; 36] = text.as_bytes().try_into().ok()?;
    if (text[8], text[13], text[18], text[23]) != (b'-', b'-', b'-', b'-') {
        return None;
    }
    let first = |at: usize| u32::from_be_bytes([text[at], text[at + 1], text[at + 2], text[at + 3]]);
    let eight = |high: usize, low: usize| u64::from(first(high)) << 32 | u64::from(first(low));
    let digits = [eight(0, 4), eight(9, 14), eight(19, 24), eight(28, 32)];
    if digits.iter().fold(HIGH_BITS, |are_digits, word| are_digits & digits_in(*word)) != HIGH_BITS {
        return None;
    }
    let [a, b, c, d] = digits.map(value);
    Some((a << 32 | b, c << 32 | d))
}

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGH_BITS: u64 = 0x80 * ONES;

/// Sets the high bit of each byte that is a hexadecimal digit.
fn digits_in(word: u64) -> u64 {
    // Without its high bit no byte carries into the next one in the additions below.
    let low = word & !HIGH_BITS;
    let lower = low | (ONES * 0x20);
    let at_least = |bytes: u64, from: u8| bytes + ONES * u64::from(0x80 - from);
    let is_decimal = at_least(low, b'0') & !at_least(low, b'9' + 1);
    let is_letter = at_least(lower, b'a') & !at_least(lower, b'f' + 1);
    (is_decimal | is_letter) & !word
}

/// The value of eight digits, most significant first.
fn value(digits: u64) -> u64 {
    // A letter has bit 6 set and counts from 1 in the low four bits.
    let values = (digits & (ONES * 0x0f)) + 9 * (digits >> 6 & ONES);
    let bytes = (values | values >> 4) & 0x00ff_00ff_00ff_00ff;
    let pairs = (bytes | bytes >> 8) & 0x0000_ffff_0000_ffff;
    (pairs | pairs >> 16) & 0xffff_ffff
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use uuid::Uuid;

    #[test]
    fn only_hyphenated_uuids_are_accepted() {
        let good = "6f2d8a4e-0d0c-4F0E-9a3b-0c1d2e3f4a5b";
        assert!(uuid(good).is_some());
        for text in ["", &good[1..], &format!("{good}0"), &good.replace('-', ""), &format!("{{{}}}", &good[2..])] {
            assert_eq!(uuid(text), None, "{text}");
        }
    }

    #[test]
    fn every_byte_at_every_position_is_accepted_as_by_the_uuid_crate() {
        let good = "6f2d8a4e-0d0c-4f0e-9a3b-0c1d2e3f4a5b";
        for at in 0..36 {
            for byte in 0..0x80 {
                let mut bytes = good.as_bytes().to_vec();
                bytes[at] = byte;
                let text = String::from_utf8(bytes).unwrap();
                assert_eq!(uuid(&text), Uuid::try_parse(&text).ok().map(|id| id.as_u64_pair()), "{text:?}");
            }
        }
        assert_eq!(uuid(&good.replacen("2d", "\u{e4}", 1)), None);
    }

    proptest! {
        #[test]
        fn round_trips(id in any::<u128>(), is_upper in any::<bool>()) {
            let id = Uuid::from_u128(id);
            let text = if is_upper { format!("{id:X}") } else { id.to_string() };
            prop_assert_eq!(uuid(&text), Some(id.as_u64_pair()));
        }
    }
}
