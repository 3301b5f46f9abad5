//! A permutation of `0..modulus` that needs no table: `n * factor + shift`. Its factor is near the golden section, so
//! neighbours are spread evenly. It draws nothing at random.

/// Products of two numbers below it fit into 64 bits.
const MAX_MODULUS: u64 = 1 << 32;

/// A permutation and its inverse.
#[derive(Debug, Clone, Copy)]
pub(super) struct Affine {
    modulus: u64,
    factor: u64,
    inverse: u64,
    shift: u64,
}

impl Affine {
    /// A permutation of `0..modulus`, which is at most 2^32. One of nothing permutes 0 alone.
    pub(super) fn new(modulus: u64, shift: u64) -> Self {
        debug_assert!(modulus <= MAX_MODULUS, "{modulus}");
        let modulus = modulus.max(1);
        let mut factor = ((modulus as f64 * 0.618_033_988_749) as u64).max(1);
        while gcd(factor, modulus) != 1 {
            factor += 1;
        }
        let factor = factor % modulus;
        Self { modulus, factor, inverse: inverse(factor, modulus), shift: shift % modulus }
    }

    /// Number of items.
    pub(super) fn len(&self) -> u64 {
        self.modulus
    }

    /// The place of item `n`, `0..len`.
    pub(super) fn apply(&self, n: u64) -> u64 {
        (n * self.factor + self.shift) % self.modulus
    }

    /// The item at `place`, `0..len`.
    pub(super) fn invert(&self, place: u64) -> u64 {
        (place + self.modulus - self.shift) % self.modulus * self.inverse % self.modulus
    }
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// The multiplicative inverse of `a` (extended Euclid); `a` and `modulus` are coprime.
fn inverse(a: u64, modulus: u64) -> u64 {
    let (mut old, mut new) = ((i128::from(a), 1_i128), (i128::from(modulus), 0_i128));
    while new.0 != 0 {
        let quotient = old.0 / new.0;
        (old, new) = (new, (old.0 - quotient * new.0, old.1 - quotient * new.1));
    }
    old.1.rem_euclid(i128::from(modulus)) as u64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_place_is_taken_once(modulus in 1_u64..2_000, shift in any::<u64>()) {
            let affine = Affine::new(modulus, shift);
            let mut places: Vec<u64> = (0..modulus).map(|n| affine.apply(n)).collect();
            prop_assert!(places.iter().zip(0..).all(|(&place, n)| affine.invert(place) == n));
            places.sort_unstable();
            prop_assert!(places.into_iter().eq(0..modulus));
        }

        #[test]
        fn large_ones_have_an_inverse(modulus in 1_u64..=MAX_MODULUS, shift in any::<u64>(), n in any::<u64>()) {
            let (affine, n) = (Affine::new(modulus, shift), n % modulus);
            prop_assert_eq!(affine.invert(affine.apply(n)), n);
        }
    }
}
