//! Zipf's law over the ranks of a vocabulary: the word of rank k is drawn with a frequency proportional to 1/k. Weights are
//! integers, so frequencies are exact and the same on every machine. A draw takes one table lookup (Walker's alias method).
//! This module has no randomness of its own: the caller passes the bits.

use std::sync::LazyLock;

/// Number of ranks; a power of two, so that a draw needs no division.
pub(crate) const RANKS: usize = 1 << RANK_BITS;
const RANK_BITS: u32 = 13;
/// Weight of a slot of the table; the weights of all ranks add up to `RANKS` times this.
const SLOT: u64 = 1 << 32;

/// The law for [`RANKS`] ranks.
pub(super) static ZIPF: LazyLock<Zipf> = LazyLock::new(Zipf::new);

/// Ranks with their weights. Ranks count from 0.
#[derive(Debug)]
pub(super) struct Zipf {
    slots: Vec<Slot>,
}

/// A slot belongs to the rank of its index below a limit, and to another rank above it.
#[derive(Debug, Clone, Copy)]
struct Slot {
    limit: u32,
    other: u16,
}

impl Zipf {
    fn new() -> Self {
        Self { slots: slots(weights()) }
    }

    /// The rank that 64 random bits draw. The 19 bits from bit 32 on do not matter.
    pub(super) fn rank(&self, bits: u64) -> u16 {
        let place = (bits >> (u64::BITS - RANK_BITS)) as u16;
        let Slot { limit, other } = self.slots[usize::from(place)];
        if (bits as u32) < limit { place } else { other }
    }
}

/// The probability of drawing a rank.
#[cfg(test)]
pub(super) fn frequency(rank: u16) -> f64 {
    static WEIGHTS: LazyLock<Vec<u64>> = LazyLock::new(weights);
    WEIGHTS[usize::from(rank)] as f64 / (SLOT * RANKS as u64) as f64
}

/// Weights in proportion to 1/k; the first rank gets what rounding leaves.
fn weights() -> Vec<u64> {
    const ONE: u128 = 1 << 60;
    let reciprocals: Vec<u128> = (1..=RANKS as u128).map(|k| ONE / k).collect();
    let sum: u128 = reciprocals.iter().sum();
    let total = SLOT * RANKS as u64;
    let mut weights: Vec<u64> = reciprocals.iter().map(|one| (u128::from(total) * one / sum) as u64).collect();
    weights[0] += total - weights.iter().sum::<u64>();
    weights
}

/// Pairs each rank that has less than a slot with one that has more (Vose).
fn slots(mut left: Vec<u64>) -> Vec<Slot> {
    let mut slots: Vec<Slot> = (0..RANKS).map(|rank| Slot { limit: u32::MAX, other: rank as u16 }).collect();
    let (mut large, mut small): (Vec<usize>, Vec<usize>) = (0..RANKS).partition(|&rank| left[rank] >= SLOT);
    while let (Some(&rich), Some(poor)) = (large.last(), small.pop()) {
        slots[poor] = Slot { limit: left[poor] as u32, other: rich as u16 };
        left[rich] -= SLOT - left[poor];
        if left[rich] < SLOT {
            large.pop();
            small.push(rich);
        }
    }
    slots
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_draws_each_rank_with_exactly_its_weight() {
        let zipf = &*ZIPF;
        let mut drawn = vec![0; RANKS];
        for (place, slot) in zipf.slots.iter().enumerate() {
            // A slot of one rank alone has the limit 2^32 - 1, and the rest goes to the same rank.
            drawn[place] += u64::from(slot.limit);
            drawn[usize::from(slot.other)] += SLOT - u64::from(slot.limit);
        }
        assert_eq!(drawn, weights());
        assert_eq!(drawn.iter().sum::<u64>(), SLOT * RANKS as u64);
    }

    #[test]
    fn frequencies_are_inverse_to_the_rank() {
        let frequency = |k: u16| frequency(k - 1);
        // The harmonic number of 8,192 is 9.588.
        assert!((frequency(1) * 9.588 - 1.0).abs() < 1e-4, "{}", frequency(1));
        for k in [2, 10, 1_000, 8_192] {
            assert!((frequency(k) * f64::from(k) / frequency(1) - 1.0).abs() < 1e-6, "{k}");
        }
    }
}
