//! Exceedances by block of time, and the effective sample size estimated from them. It judges no objective.
//!
//! Exceedances come in bursts: a stall of five seconds at 200/s is a thousand exceedances and one event. The design
//! effect is the variance of the exceedance rate between blocks over the variance that independent samples would have
//! (Kish, 1965; the ratio estimator, since blocks differ in size). It is estimated for several block lengths, and the
//! smallest effective sample is used, so that bursts longer than one block are detected. See `docs/verdict.md`.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF as _, Normal, StudentsT};

/// Minimum number of blocks of a drive.
const MIN_BLOCKS: usize = 20;
/// Maximum number of blocks of a drive.
const MAX_BLOCKS: usize = 600;
/// Blocks are joined as long as this many remain. A variance of fewer says nothing.
const MIN_JOINED: usize = 8;
/// Minimum degrees of freedom of a variance. One or two bursts would otherwise be corrected to almost no sample at all;
/// `verdict/error_rates.rs` shows that the error rates hold.
const MIN_FREEDOM: f64 = 2.0;

/// Samples and exceedances of each block of the drive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blocks {
    length: Duration,
    samples: Vec<u64>,
    exceedances: Vec<u64>,
}

/// The effective sample: as many independent samples as carry the same information.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EffectiveSample {
    /// Effective sample size.
    pub samples: f64,
    /// Exceedances, in proportion.
    pub exceedances: f64,
    /// The design effect, before the correction for few blocks; 1 for independent samples.
    pub design_effect: f64,
    /// Number of samples that it was taken from: those of the drive, or of one window.
    pub taken_from: u64,
}

/// Number of intervals that a drive is divided into: one for each second, and 20 to 600.
pub(super) fn intervals(drive: Duration) -> usize {
    (drive.as_secs() as usize).clamp(MIN_BLOCKS, MAX_BLOCKS)
}

impl Blocks {
    /// Empty blocks over a drive: one for each second, and 20 to 600 of them.
    pub fn new(drive: Duration) -> Self {
        let count = intervals(drive);
        Self { length: drive / count as u32, samples: vec![0; count], exceedances: vec![0; count] }
    }

    /// Empty blocks over a drive that is also judged in windows of that length: each window has at least 20 whole blocks. What a
    /// drive has beyond a whole block counts into its last one.
    pub fn for_windows(drive: Duration, window: Duration) -> Self {
        let usual = drive / intervals(drive) as u32;
        let of_window = (window.div_duration_f64(usual).round() as usize).max(MIN_BLOCKS);
        let length = window / of_window as u32;
        // Lengths are cut to nanoseconds.
        let count = ((drive.div_duration_f64(length) + 1e-3).floor() as usize).max(1);
        Self { length, samples: vec![0; count], exceedances: vec![0; count] }
    }

    /// Blocks of that length, each with its samples and exceedances.
    pub fn of(length: Duration, counts: impl Iterator<Item = (u64, u64)>) -> Self {
        let (samples, exceedances) = counts.unzip();
        Self { length, samples, exceedances }
    }

    /// The windows of that length, each with its start; the last one also has what is left of the drive, so that all of it is
    /// judged.
    pub fn windows(&self, window: Duration) -> Vec<(Duration, Self)> {
        let (blocks, all) = ((window.div_duration_f64(self.length).round() as usize).max(1), self.samples.len());
        let windows = (all / blocks).max(1);
        let part = |index: usize| {
            let part = index * blocks..if index + 1 == windows { all } else { (index + 1) * blocks };
            let start = self.length * part.start as u32;
            let (samples, exceedances) = (self.samples[part.clone()].to_vec(), self.exceedances[part].to_vec());
            (start, Self { length: self.length, samples, exceedances })
        };
        (0..windows).map(part).collect()
    }

    /// Counts a sample by its intended start; the last block includes samples past the end.
    pub fn record(&mut self, intended: Duration, exceeds: bool) {
        let block = self.block(intended);
        self.samples[block] += 1;
        self.exceedances[block] += u64::from(exceeds);
    }

    /// Counts a sample by its time, unless that is past the end.
    pub fn record_within(&mut self, at: Duration) {
        if at < self.drive() {
            self.record(at, false);
        }
    }

    fn block(&self, intended: Duration) -> usize {
        let block = (intended.as_nanos() / self.length.as_nanos().max(1)) as usize;
        block.min(self.samples.len() - 1)
    }

    /// Adds the blocks of another recorder of the same drive.
    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.samples.iter_mut().zip(&other.samples) {
            *mine += theirs;
        }
        self.add_exceedances(other);
    }

    /// All samples.
    pub fn samples(&self) -> u64 {
        self.samples.iter().sum()
    }

    /// All exceedances.
    pub fn exceedances(&self) -> u64 {
        self.exceedances.iter().sum()
    }

    /// Turns counted samples into exceedances: as many as `other`, of the same drive, has.
    pub fn add_exceedances(&mut self, other: &Self) {
        for (mine, theirs) in self.exceedances.iter_mut().zip(&other.exceedances) {
            *mine += theirs;
        }
    }

    /// Length of a block.
    pub fn length(&self) -> Duration {
        self.length
    }

    /// Samples and exceedances of each block, in order of time.
    pub fn counts(&self) -> impl Iterator<Item = (u64, u64)> {
        self.samples.iter().copied().zip(self.exceedances.iter().copied())
    }

    /// Length of the drive.
    pub fn drive(&self) -> Duration {
        self.length * self.samples.len() as u32
    }

    /// The effective sample, for one-sided tests at `alpha`. At most one sample counts for each `longest_stall`, if given:
    /// a stall of that length is one event, whether or not one was observed.
    pub fn effective(&self, alpha: f64, longest_stall: Option<Duration>) -> EffectiveSample {
        let measured = self.measured_effect(alpha);
        let stalls = longest_stall.map_or(f64::INFINITY, |stall| self.drive().as_secs_f64() / stall.as_secs_f64());
        if measured.samples <= stalls {
            return measured;
        }
        EffectiveSample { samples: stalls, exceedances: measured.exceedances * stalls / measured.samples, ..measured }
    }

    fn measured_effect(&self, alpha: f64) -> EffectiveSample {
        let (n, x) = (self.samples() as f64, self.exceedances() as f64);
        let mut worst = EffectiveSample { samples: n, exceedances: x, design_effect: 1.0, taken_from: self.samples() };
        let mut width = 1;
        while x > 0.0 && x < n && self.samples.len() / width >= MIN_JOINED {
            let (design_effect, freedom) = self.design_effect(width, x / n);
            // Also below 1: a variance that happens to be a little small is known no better than one that is a little large.
            let samples = n / design_effect * small_sample_correction(freedom, alpha);
            if samples < worst.samples {
                worst = EffectiveSample { samples, exceedances: x * samples / n, design_effect, ..worst };
            }
            width *= 2;
        }
        worst
    }

    /// The design effect with `width` blocks joined, and the degrees of freedom of its variance.
    fn design_effect(&self, width: usize, rate: f64) -> (f64, f64) {
        let n = self.samples() as f64;
        let groups = self.samples.len().div_ceil(width) as f64;
        let (mut deviations, mut exceedances, mut squares) = (0.0, 0.0, 0.0);
        for (samples, exceeding) in self.samples.chunks(width).zip(self.exceedances.chunks(width)) {
            let (samples, exceeding): (u64, u64) = (samples.iter().sum(), exceeding.iter().sum());
            deviations += (exceeding as f64 - rate * samples as f64).powi(2);
            exceedances += exceeding as f64;
            squares += (exceeding as f64).powi(2);
        }
        let variance = groups / (groups - 1.0) * deviations / (n * n);
        // A variance is known no better than the number of bursts that it comes from, however many blocks are empty.
        // The inverse of Simpson's index is that number when bursts differ in size.
        let bursts = exceedances * exceedances / squares;
        let freedom = (bursts.min(groups) - 1.0).max(MIN_FREEDOM);
        (variance * n / (rate * (1.0 - rate)), freedom)
    }
}

/// Corrects for the uncertainty of an estimated variance: the squared ratio of the normal to the t quantile (Korn and
/// Graubard, 1998).
fn small_sample_correction(freedom: f64, alpha: f64) -> f64 {
    let normal = Normal::standard().inverse_cdf(1.0 - alpha);
    let student = StudentsT::new(0.0, 1.0, freedom).map_or(normal, |t| t.inverse_cdf(1.0 - alpha));
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
        let even = filled(60, |_, i| i % 25 == 0).effective(0.05, None);
        assert_eq!((even.samples, even.exceedances, even.design_effect), (6000.0, 240.0, 1.0));
    }

    #[test]
    fn a_stall_is_one_event_however_many_samples_it_catches() {
        let stall = filled(60, |block, _| (20..25).contains(&block)).effective(0.05, None);
        assert!(stall.design_effect > 50.0, "{stall:?}");
        assert!(stall.samples < 100.0, "{stall:?}");
        assert!((stall.exceedances / stall.samples - 500.0 / 6000.0).abs() < 1e-9);
    }

    #[test]
    fn without_exceedances_every_sample_counts() {
        let worth = |blocks: &Blocks| blocks.effective(0.05, None).samples as u64;
        assert_eq!(worth(&filled(60, |_, _| false)), 6000);
        assert_eq!(worth(&filled(60, |_, _| true)), 6000);
        assert_eq!(worth(&Blocks::new(Duration::from_mins(1))), 0);
    }

    #[test]
    fn windows_cover_the_drive_and_have_blocks_of_their_own() {
        let day = Blocks::for_windows(Duration::from_hours(24), Duration::from_mins(1));
        assert_eq!(day.samples.len(), 24 * 60 * MIN_BLOCKS);
        let mut minutes = Blocks::for_windows(Duration::from_secs(150), Duration::from_mins(1));
        for second in 0..150 {
            minutes.record(Duration::from_secs(second), second >= 60);
        }
        let windows = minutes.windows(Duration::from_mins(1));
        let counts: Vec<_> =
            windows.iter().map(|(from, one)| (from.as_secs(), one.samples(), one.exceedances())).collect();
        assert_eq!(counts, [(0, 60, 0), (60, 90, 90)], "the rest belongs to the last window");
    }

    #[test]
    fn no_part_of_a_drive_is_left_out_of_its_windows() {
        for minutes in [2, 7, 11, 70, 125] {
            let drive = Duration::from_mins(minutes);
            let mut blocks = Blocks::for_windows(drive, Duration::from_mins(1));
            (0..minutes * 60).for_each(|second| blocks.record(Duration::from_secs(second), second / 60 == minutes - 1));
            let windows = blocks.windows(Duration::from_mins(1));
            assert_eq!(windows.len() as u64, minutes);
            assert!(windows.iter().all(|(_, one)| one.samples() == 60), "{minutes} min: {windows:?}");
            assert_eq!(windows.last().map(|(_, one)| one.exceedances()), Some(60));
        }
    }

    #[test]
    fn at_most_one_sample_counts_for_each_stall_that_must_be_excluded() {
        let five = Some(Duration::from_secs(5));
        let clean = filled(60, |_, _| false).effective(0.05, five);
        assert_eq!((clean.samples as u64, clean.exceedances as u64), (12, 0));
        let even = filled(60, |_, i| i % 25 == 0).effective(0.05, five);
        assert!((even.exceedances / even.samples - 0.04).abs() < 1e-9 && even.samples as u64 == 12, "{even:?}");
    }

    #[test]
    fn one_exceedance_counts_the_same_wherever_it_falls() {
        let effective = |at: u64| {
            let mut blocks = Blocks::new(Duration::from_mins(1));
            let seconds = (0..60).flat_map(|second| std::iter::repeat_n(second, 3 + second as usize % 4));
            seconds.for_each(|second| blocks.record(Duration::from_secs(second), false));
            blocks.record(Duration::from_secs(at), true);
            blocks.effective(0.05, None).samples
        };
        let each: Vec<f64> = (0..60).map(effective).collect();
        let [least, most] = [each.iter().copied().fold(f64::MAX, f64::min), each.iter().copied().fold(0.0, f64::max)];
        assert!(most < 1.2 * least, "{least} to {most}");
    }

    #[test]
    fn a_variance_from_few_bursts_is_corrected_more_than_one_from_many() {
        let bursts = |blocks: &'static [usize]| filled(600, move |block, _| blocks.contains(&block));
        let of_each = |blocks| {
            let effective = bursts(blocks).effective(0.05, None);
            // What remains of the sample besides the design effect.
            effective.samples * effective.design_effect / 60_000.0
        };
        let (few, many) = (of_each(&[10, 300]), of_each(&[10, 70, 150, 210, 290, 350, 430, 500, 560, 590]));
        assert!(few < 0.5 && many > 0.7, "{few} {many}");
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
            let effective = blocks.effective(0.05, None);
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
