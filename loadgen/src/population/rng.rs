//! Keyed random numbers: the same (seed, domain, ids) always yields the same stream, in any order and on any thread.
//! SplitMix64 (Steele, Lea and Flood, 2014), seeded with the XXH3 hash of the key. Do not use it for secrets.

use uuid::Uuid;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// The stream of random numbers of one key.
#[derive(Debug, Clone)]
pub(crate) struct KeyedRng {
    state: u64,
}

impl KeyedRng {
    /// The stream of a key. `domain` keeps streams for different purposes apart.
    pub(crate) fn new(seed: u64, domain: &str, ids: [u64; 2]) -> Self {
        let mut key = [0; 24];
        for (bytes, value) in key.chunks_exact_mut(8).zip([seed, ids[0], ids[1]]) {
            bytes.copy_from_slice(&value.to_le_bytes());
        }
        Self { state: xxh3_64_with_seed(&key, xxh3_64(domain.as_bytes())) }
    }

    /// 64 random bits.
    pub(crate) fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number in `0.0..1.0`.
    pub(crate) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// A number in `0..n`; 0 if `n` is 0.
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(n)) >> 64) as u64
    }

    /// True with probability `p`.
    pub(crate) fn chance(&mut self, p: f64) -> bool {
        self.unit() < p
    }

    /// One of the values, uniformly.
    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }

    /// One of the values, by its weight.
    pub(crate) fn weighted<T: Copy>(&mut self, from: &[(T, u64)]) -> T {
        let mut drawn = self.below(from.iter().map(|(_, weight)| weight).sum());
        for &(value, weight) in from {
            if drawn < weight {
                return value;
            }
            drawn -= weight;
        }
        from[from.len() - 1].0
    }

    /// An exponentially distributed number.
    pub(crate) fn exponential(&mut self, mean: f64) -> f64 {
        -mean * (1.0 - self.unit()).ln()
    }

    /// A number with the standard normal distribution, by the method of Box and Muller (1958).
    pub(crate) fn normal(&mut self) -> f64 {
        (2.0 * self.exponential(1.0)).sqrt() * (std::f64::consts::TAU * self.unit()).cos()
    }

    /// A UUID of version 8, for custom formats.
    pub(crate) fn uuid(&mut self) -> Uuid {
        let bits = (u128::from(self.next()) << 64) | u128::from(self.next());
        uuid::Builder::from_custom_bytes(bits.to_be_bytes()).into_uuid()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_of_the_key_matters() {
        let first = |seed, domain, ids| KeyedRng::new(seed, domain, ids).next();
        let reference = first(1, "a", [2, 3]);
        assert_eq!(reference, first(1, "a", [2, 3]));
        for other in [first(9, "a", [2, 3]), first(1, "b", [2, 3]), first(1, "a", [9, 3]), first(1, "a", [2, 9])] {
            assert_ne!(reference, other);
        }
    }

    #[test]
    fn distributions_have_their_expected_shape() {
        let mut rng = KeyedRng::new(1, "shape", [0, 0]);
        let n = 20_000;
        let mean = (0..n).map(|_| rng.exponential(5.0)).sum::<f64>() / f64::from(n);
        assert!((4.8..5.2).contains(&mean), "{mean}");
        let heavy = (0..n).filter(|_| rng.weighted(&[('a', 1), ('b', 3)]) == 'b').count();
        assert!((14_500..15_500).contains(&heavy), "{heavy}");
        assert!((0..n).all(|_| rng.below(7) < 7) && rng.below(0) == 0);
    }

    #[test]
    fn identifiers_are_valid_uuids() {
        let uuid = KeyedRng::new(1, "id", [0, 0]).uuid();
        assert_eq!((uuid.get_version_num(), uuid.get_variant()), (8, uuid::Variant::RFC4122));
    }
}
