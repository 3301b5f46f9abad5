//! Exceedances by block of time, and the effective sample size estimated from them.
//!
//! Exceedances come in bursts: a stall of five seconds at 200/s is a thousand exceedances and one event. The design
//! effect is the variance of the exceedance rate between blocks over the variance that independent samples would have
//! (Kish, 1965; the ratio estimator, since blocks differ in size). It is estimated for several block lengths, and the
//! largest is used, so that bursts longer than one block are detected. See `docs/verdicts.md`.

use std::time::Duration;

use serde::Serialize;
use statrs::distribution::{ContinuousCDF as _, Normal, StudentsT};

/// Minimum number of blocks from which a variance is estimated.
pub const MIN_BLOCKS: usize = 20;
const MAX_BLOCKS: usize = 600;

/// Samples and exceedances of each block of the drive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blocks {
    length: Duration,
    samples: Vec<u64>,
    exceedances: Vec<u64>,
}

/// The effective sample: as many independent samples as carry the same information.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct EffectiveSample {
    /// Effective sample size.
    pub samples: f64,
    /// Exceedances, in proportion.
    pub exceedances: f64,
    /// The design effect, before the correction for few blocks; 1 for independent samples.
    pub design_effect: f64,
}

impl Blocks {
    /// Empty blocks over a drive: one for each second, and 20 to 600 of them.
    pub fn new(drive: Duration) -> Self {
        let count = (drive.as_secs() as usize).clamp(MIN_BLOCKS, MAX_BLOCKS);
        Self { length: drive / count as u32, samples: vec![0; count], exceedances: vec![0; count] }
    }

    /// Counts a sample by its intended start; the last block includes samples past the end.
    pub fn record(&mut self, intended: Duration, exceeds: bool) {
        let block = (intended.as_nanos() / self.length.as_nanos().max(1)) as usize;
        let block = block.min(self.samples.len() - 1);
        self.samples[block] += 1;
        self.exceedances[block] += u64::from(exceeds);
    }

    /// Adds the blocks of another recorder of the same drive.
    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.samples.iter_mut().zip(&other.samples) {
            *mine += theirs;
        }
        for (mine, theirs) in self.exceedances.iter_mut().zip(&other.exceedances) {
            *mine += theirs;
        }
    }

    /// All samples.
    pub fn samples(&self) -> u64 {
        self.samples.iter().sum()
    }

    /// All exceedances.
    pub fn exceedances(&self) -> u64 {
        self.exceedances.iter().sum()
    }

    /// The effective sample, for one-sided tests at `alpha`.
    pub fn effective(&self, alpha: f64) -> EffectiveSample {
        let (n, x) = (self.samples() as f64, self.exceedances() as f64);
        let mut worst = EffectiveSample { samples: n, exceedances: x, design_effect: 1.0 };
        let mut width = 1;
        while x > 0.0 && x < n && self.samples.len() / width >= MIN_BLOCKS {
            let (design_effect, groups) = self.design_effect(width, x / n);
            let samples = n / design_effect.max(1.0) * small_sample_correction(groups, alpha);
            if design_effect > 1.0 && samples < worst.samples {
                worst = EffectiveSample { samples, exceedances: x * samples / n, design_effect };
            }
            width *= 2;
        }
        worst
    }

    /// The design effect with `width` blocks joined, and the number of joined blocks.
    fn design_effect(&self, width: usize, rate: f64) -> (f64, usize) {
        let n = self.samples() as f64;
        let groups = self.samples.len().div_ceil(width);
        let squares: f64 = self
            .samples
            .chunks(width)
            .zip(self.exceedances.chunks(width))
            .map(|(samples, exceedances)| {
                let (n, x): (u64, u64) = (samples.iter().sum(), exceedances.iter().sum());
                (x as f64 - rate * n as f64).powi(2)
            })
            .sum();
        let variance = groups as f64 / (groups as f64 - 1.0) * squares / (n * n);
        (variance * n / (rate * (1.0 - rate)), groups)
    }
}

/// Corrects for the uncertainty of a variance from few blocks: the squared ratio of the normal to the t quantile
/// (Korn and Graubard, 1998).
fn small_sample_correction(groups: usize, alpha: f64) -> f64 {
    let normal = Normal::standard().inverse_cdf(1.0 - alpha);
    let student = StudentsT::new(0.0, 1.0, groups as f64 - 1.0).map_or(normal, |t| t.inverse_cdf(1.0 - alpha));
    (normal / student).powi(2).min(1.0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn filled(blocks: usize, sample: impl Fn(usize, usize) -> bool) -> Blocks {
        let mut filled = Blocks::new(Duration::from_secs(blocks as u64));
        for block in 0..blocks {
            for i in 0..100 {
                filled.record(Duration::from_secs(block as u64), sample(block, i));
            }
        }
        filled
    }

    #[test]
    fn evenly_spread_exceedances_keep_the_whole_sample() {
        let even = filled(60, |_, i| i % 25 == 0).effective(0.05);
        assert_eq!((even.samples, even.exceedances, even.design_effect), (6000.0, 240.0, 1.0));
    }

    #[test]
    fn a_stall_is_one_event_however_many_samples_it_catches() {
        let stall = filled(60, |block, _| (20..25).contains(&block)).effective(0.05);
        assert!(stall.design_effect > 50.0, "{stall:?}");
        assert!(stall.samples < 100.0, "{stall:?}");
        assert!((stall.exceedances / stall.samples - 500.0 / 6000.0).abs() < 1e-9);
    }

    #[test]
    fn without_exceedances_every_sample_counts() {
        let worth = |blocks: &Blocks| blocks.effective(0.05).samples as u64;
        assert_eq!(worth(&filled(60, |_, _| false)), 6000);
        assert_eq!(worth(&filled(60, |_, _| true)), 6000);
        assert_eq!(worth(&Blocks::new(Duration::from_mins(1))), 0);
    }

    #[test]
    fn a_short_drive_still_has_twenty_blocks_and_a_long_one_not_too_many() {
        assert_eq!(Blocks::new(Duration::from_secs(3)).samples.len(), 20);
        assert_eq!(Blocks::new(Duration::from_hours(24)).samples.len(), 600);
    }

    proptest! {
        #[test]
        fn the_effective_sample_is_never_larger_than_the_sample(seed in any::<u64>(), modulus in 2_usize..50) {
            let blocks = filled(40, |block, i| (seed as usize).wrapping_mul(block * 100 + i + 1).is_multiple_of(modulus));
            let effective = blocks.effective(0.05);
            prop_assert!(effective.samples <= blocks.samples() as f64);
            prop_assert!(effective.exceedances <= effective.samples);
        }

        #[test]
        fn merging_is_the_same_as_recording_together(samples in prop::collection::vec((0_u64..70_000, any::<bool>()), 0..200)) {
            let drive = Duration::from_mins(1);
            let (mut all, mut even, mut odd) = (Blocks::new(drive), Blocks::new(drive), Blocks::new(drive));
            for (i, &(at, exceeds)) in samples.iter().enumerate() {
                let at = Duration::from_millis(at);
                all.record(at, exceeds);
                if i % 2 == 0 { even.record(at, exceeds) } else { odd.record(at, exceeds) }
            }
            even.merge(&odd);
            prop_assert_eq!(all, even);
        }
    }
}
