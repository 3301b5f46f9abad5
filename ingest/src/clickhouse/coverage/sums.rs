//! Count, sum and sum of squares of a set of offsets: computed by a table over its rows in one pass, and computed here
//! for the rows it should hold.
//! They use the wrapping arithmetic of ClickHouse's `UInt64`. This module sends no query.
//!
//! Two sets with the same three figures are equal if each has at most two offsets that the other lacks: if a and b are
//! missing and c and d are surplus, then c + d = a + b and c² + d² = a² + b², so {c, d} = {a, b}.

use std::ops::Range;

/// Figures that distinguish one set of offsets from another.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sums {
    /// Number of offsets.
    pub count: u64,
    /// Sum of the offsets.
    pub sum: u64,
    /// Sum of the squares of the offsets.
    pub squares: u64,
}

impl Sums {
    /// Sums of all offsets in a range.
    pub fn of_range(range: &Range<i64>) -> Self {
        if range.is_empty() {
            return Self::default();
        }
        Self::up_to(range.end.cast_unsigned()).minus(Self::up_to(range.start.cast_unsigned()))
    }

    /// Sums of 0, 1, ... up to, not including, `end`.
    #[expect(clippy::cast_possible_truncation, reason = "all sums are modulo 2^64")]
    fn up_to(end: u64) -> Self {
        let last = end.wrapping_sub(1);
        if end == 0 {
            return Self::default();
        }
        // Divide before multiplying, since the products wrap.
        let [mut a, mut b, mut c] = [u128::from(last), u128::from(end), 2 * u128::from(end) - 1];
        if a.is_multiple_of(2) {
            a /= 2;
        } else {
            b /= 2;
        }
        let sum = (a as u64).wrapping_mul(b as u64);
        match [&mut a, &mut b, &mut c].into_iter().find(|factor| factor.is_multiple_of(3)) {
            Some(factor) => *factor /= 3,
            None => debug_assert!(false, "one of n - 1, n and 2n - 1 is a multiple of three"),
        }
        let squares = (a as u64).wrapping_mul(b as u64).wrapping_mul(c as u64);
        Self { count: end, sum, squares }
    }

    /// Adds one offset.
    #[must_use]
    pub fn with(self, offset: i64) -> Self {
        let offset = offset.cast_unsigned();
        self.plus(Self { count: 1, sum: offset, squares: offset.wrapping_mul(offset) })
    }

    /// Sums of both sets together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            count: self.count.wrapping_add(other.count),
            sum: self.sum.wrapping_add(other.sum),
            squares: self.squares.wrapping_add(other.squares),
        }
    }

    /// Sums of the set without a subset.
    #[must_use]
    pub fn minus(self, other: Self) -> Self {
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

    fn added_one_by_one(range: Range<i64>) -> Sums {
        range.fold(Sums::default(), Sums::with)
    }

    #[test]
    fn sums_of_small_ranges() {
        for end in 0..50 {
            assert_eq!(Sums::of_range(&(0..end)), added_one_by_one(0..end), "{end}");
        }
        assert_eq!(Sums::of_range(&Range { start: 5, end: 3 }), Sums::default());
    }

    proptest! {
        #[test]
        fn the_closed_form_equals_the_sum(
            start in prop_oneof![0..1_000_i64, 0..i64::MAX - 300, i64::MAX - 400..i64::MAX - 300], length in 0_i64..300
        ) {
            prop_assert_eq!(Sums::of_range(&(start..start + length)), added_one_by_one(start..start + length));
        }

        /// Up to two rows missing and up to two surplus, anywhere.
        #[test]
        fn two_gaps_and_two_duplicates_never_cancel_out(
            missing in proptest::collection::btree_set(0_i64..1 << 40, 0..3), extra in proptest::collection::vec(0_i64..1 << 40, 0..3)
        ) {
            let whole = Sums::of_range(&(0..1 << 40));
            let missing: Vec<_> = missing.into_iter().collect();
            let mut found = missing.iter().fold(whole, |sums, offset| sums.minus(Sums::default().with(*offset)));
            found = extra.iter().fold(found, |sums, offset| sums.with(*offset));
            let mut extra = extra;
            extra.sort_unstable();
            prop_assert_eq!(found == whole, extra == missing);
        }
    }
}
