//! Number, sum and sum of squares of a set of offsets: what a table says of its rows in one pass, and what it should say.
//! Pure, in the arithmetic of ClickHouse's `UInt64`, which wraps.
//!
//! Two sets with the same three figures are the same as long as they differ by no more than two offsets on either side:
//! whoever misses a and b and has c and d too many has c + d = a + b and c² + d² = a² + b², so {c, d} = {a, b}.

use std::ops::Range;

/// What tells one set of offsets from another.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sums {
    /// How many.
    pub count: u64,
    /// Their sum.
    pub sum: u64,
    /// The sum of their squares.
    pub squares: u64,
}

impl Sums {
    /// Of all offsets in a range.
    pub fn of_range(range: &Range<i64>) -> Self {
        if range.is_empty() {
            return Self::default();
        }
        Self::below(range.end.cast_unsigned()).without(Self::below(range.start.cast_unsigned()))
    }

    /// Of 0, 1, ... up to, not including, `end`.
    #[expect(clippy::cast_possible_truncation, reason = "all sums are modulo 2^64")]
    fn below(end: u64) -> Self {
        let last = end.wrapping_sub(1);
        if end == 0 {
            return Self::default();
        }
        // Divided before they are multiplied, since the products wrap.
        let [mut one, mut two, mut three] = [u128::from(last), u128::from(end), 2 * u128::from(end) - 1];
        if one.is_multiple_of(2) {
            one /= 2;
        } else {
            two /= 2;
        }
        let sum = (one as u64).wrapping_mul(two as u64);
        match [&mut one, &mut two, &mut three].into_iter().find(|factor| factor.is_multiple_of(3)) {
            Some(factor) => *factor /= 3,
            None => debug_assert!(false, "one of n - 1, n and 2n - 1 is a multiple of three"),
        }
        let squares = (one as u64).wrapping_mul(two as u64).wrapping_mul(three as u64);
        Self { count: end, sum, squares }
    }

    /// With one more.
    #[must_use]
    pub fn with(self, offset: i64) -> Self {
        let offset = offset.cast_unsigned();
        self.and(Self { count: 1, sum: offset, squares: offset.wrapping_mul(offset) })
    }

    /// Of both sets.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            count: self.count.wrapping_add(other.count),
            sum: self.sum.wrapping_add(other.sum),
            squares: self.squares.wrapping_add(other.squares),
        }
    }

    /// Of what is left without a part of the set.
    #[must_use]
    pub fn without(self, other: Self) -> Self {
        Self {
            count: self.count.wrapping_sub(other.count),
            sum: self.sum.wrapping_sub(other.sum),
            squares: self.squares.wrapping_sub(other.squares),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn one_by_one(range: Range<i64>) -> Sums {
        range.fold(Sums::default(), Sums::with)
    }

    #[test]
    fn the_first_offsets_of_a_topic() {
        for end in 0..50 {
            assert_eq!(Sums::of_range(&(0..end)), one_by_one(0..end), "{end}");
        }
        assert_eq!(Sums::of_range(&Range { start: 5, end: 3 }), Sums::default());
    }

    proptest! {
        #[test]
        fn the_closed_form_is_the_sum(
            start in prop_oneof![0..1_000_i64, 0..i64::MAX - 300, i64::MAX - 400..i64::MAX - 300], length in 0_i64..300
        ) {
            prop_assert_eq!(Sums::of_range(&(start..start + length)), one_by_one(start..start + length));
        }

        /// Up to two rows missing and up to two too many, anywhere.
        #[test]
        fn a_few_gaps_and_doubles_never_cancel_out(
            missing in proptest::collection::btree_set(0_i64..1 << 40, 0..3), extra in proptest::collection::vec(0_i64..1 << 40, 0..3)
        ) {
            let whole = Sums::of_range(&(0..1 << 40));
            let missing: Vec<_> = missing.into_iter().collect();
            let mut found = missing.iter().fold(whole, |sums, offset| sums.without(Sums::default().with(*offset)));
            found = extra.iter().fold(found, |sums, offset| sums.with(*offset));
            let mut extra = extra;
            extra.sort_unstable();
            prop_assert_eq!(found == whole, extra == missing);
        }
    }
}
