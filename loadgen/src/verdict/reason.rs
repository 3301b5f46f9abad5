//! The reason of a verdict on one objective, in words: what was seen, what that proves, and what would decide. It decides nothing.

use std::time::Duration;

use statrs::distribution::{ContinuousCDF as _, Normal};

use super::forecast::Behavior;
use super::hypothesis::Hypothesis;
use super::proportion::Proportion;
use crate::binomial::{self, Verdict};
use crate::measure::blocks::Blocks;
use crate::number::{percent, separated};
use crate::scenario::{brief_duration, exact_duration};

/// What bad samples are called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bad {
    /// Exceedances of a limit.
    Exceedances,
    /// Operations that failed.
    Failures,
}

/// Longer drives are no advice.
const LONGEST_DRIVE: Duration = Duration::from_hours(72);
/// The standard normal quantile of a power of 90 %, that of a forecast.
const QUANTILE_OF_POWER: f64 = 1.282;

impl Bad {
    fn verb(self) -> &'static str {
        match self {
            Self::Exceedances => "exceed",
            Self::Failures => "fail",
        }
    }

    fn one(self) -> &'static str {
        match self {
            Self::Exceedances => "an exceedance",
            Self::Failures => "a failure",
        }
    }

    fn period(self) -> &'static str {
        match self {
            Self::Exceedances => "stalls",
            Self::Failures => "outages",
        }
    }

    fn in_general(self) -> &'static str {
        match self {
            Self::Exceedances => "slowness is",
            Self::Failures => "failures are",
        }
    }
}

/// The reason of a verdict, from the samples of the drive or window that it judges.
pub(super) fn explain(test: &Proportion, judged: (&Blocks, &str), hypothesis: Hypothesis, bad: Bad) -> String {
    let outcome = match test.verdict {
        Verdict::Pass => "met",
        Verdict::Fail => "missed",
        Verdict::Inconclusive => return undecided(test, judged, hypothesis, bad),
    };
    let unless = test.excluded.map_or_else(String::new, |excluded| {
        let [stall, correlation] = [excluded.stall, excluded.correlation].map(brief_duration);
        let (period, in_general) = (bad.period(), bad.in_general());
        format!(" unless {period} last longer than {stall}, or {in_general} correlated over more than {correlation}")
    });
    // No bound on the share: it would hold for shorter stalls alone.
    format!("{}; the objective is {outcome}{unless}", seen(judged.0, bad))
}

/// How many samples were bad.
fn seen(blocks: &Blocks, bad: Bad) -> String {
    let [bad_ones, samples] = [blocks.exceedances(), blocks.samples()].map(separated);
    let share = percent(blocks.exceedances() as f64 / blocks.samples().max(1) as f64);
    let share = if blocks.exceedances() > 0 { format!(" ({share})") } else { String::new() };
    format!("{bad_ones} of {samples}{share} {}", bad.verb())
}

fn undecided(test: &Proportion, (blocks, period): (&Blocks, &str), hypothesis: Hypothesis, bad: Bad) -> String {
    let Hypothesis { allowed, alpha, longest_stall } = hypothesis;
    let (drive, needed, effective) = (blocks.drive(), binomial::min_samples(allowed, alpha), test.effective.samples);
    let seen = seen(blocks, bad);
    let seen_first = if blocks.exceedances() > 0 { format!("{seen}; ") } else { String::new() };
    if let Some(stall) = longest_stall.filter(|stall| drive.div_duration_f64(*stall) < needed as f64) {
        let [stall, needed] = [exact_duration(stall), brief_duration(stall * needed as u32)];
        return format!("{seen_first}a PASS that excludes {} of {stall} needs a {period} of {needed}", bad.period());
    }
    if test.has_too_few_samples(alpha) {
        let longer = more_time(drive, needed as f64 / effective).filter(|_| blocks.exceedances() == 0);
        let longer = longer.map_or_else(
            || format!(" without {}", bad.one()),
            |longer| format!(", as many as a {period} of about {longer} has"),
        );
        let needed = separated(needed);
        let found = match test.effective_samples() {
            Some(effective) => format!("an effective sample of {}", separated(effective)),
            None => format!("{} samples", separated(effective as u64)),
        };
        return format!("{seen_first}{found} can't show {}; that needs {needed}{longer}", percent(1.0 - allowed));
    }
    let [low, high] = [test.low, test.high].map(percent);
    let share = Behavior::measured(test.effective.taken_from, effective, test.effective.exceedances).share;
    let advice = match more_time(drive, samples_to_decide(allowed, alpha, share) / effective) {
        Some(longer) => format!("a {period} of about {longer} probably decides"),
        None => format!("that is too close to the limit for a longer {period} to decide"),
    };
    format!("{seen}, so between {low} and {high} do; {advice}")
}

/// The time that has so many times the samples, if it is no longer than anyone would wait.
fn more_time(drive: Duration, factor: f64) -> Option<String> {
    let needed = Duration::try_from_secs_f64(drive.as_secs_f64() * factor.max(1.0)).ok()?;
    (needed < LONGEST_DRIVE).then(|| brief_duration(needed))
}

/// About how many independent samples decide nine times in ten at that share of bad ones (the normal approximation of
/// [`binomial::samples_to_decide`], which takes too long for a verdict that is shown every second).
fn samples_to_decide(allowed: f64, alpha: f64, share: f64) -> f64 {
    let deviation = |share: f64| (share * (1.0 - share)).max(0.0).sqrt();
    let quantile = Normal::standard().inverse_cdf(1.0 - alpha);
    ((quantile * deviation(allowed) + QUANTILE_OF_POWER * deviation(share)) / (allowed - share)).powi(2)
}

#[cfg(test)]
mod tests {
    use super::super::forecast::POWER;
    use super::*;

    #[test]
    fn the_approximation_is_near_the_exact_number() {
        for (allowed, alpha, share) in [
            (0.05, 0.05, 0.01),
            (0.05, 0.05, 0.04),
            (0.05, 0.05, 0.1),
            (0.05, 0.001, 0.03),
            (0.05, 0.001, 0.032),
            (0.05, 0.01, 0.07),
            (0.001, 0.05, 0.0004),
        ] {
            let exact = binomial::samples_to_decide(allowed, alpha, share, POWER).unwrap() as f64;
            let ratio = samples_to_decide(allowed, alpha, share) / exact;
            assert!((0.7..1.3).contains(&ratio), "{allowed} {alpha} {share}: {ratio}");
        }
    }

    #[test]
    fn an_undecided_verdict_says_what_was_seen_and_what_would_decide() {
        let reason = |exceeds: fn(u64) -> bool, samples: u64, longest_stall, bad| {
            let drive = Duration::from_mins(5);
            let mut blocks = Blocks::new(drive);
            (0..samples).for_each(|i| blocks.record(drive.mul_f64(i as f64 / samples as f64), exceeds(i)));
            let hypothesis = Hypothesis { allowed: 0.05, alpha: 0.05, longest_stall };
            Proportion::test(&blocks, hypothesis, bad).reason
        };
        let reasons = [
            reason(|i| i.is_multiple_of(25), 1_000, None, Bad::Exceedances),
            reason(|i| i.is_multiple_of(20), 1_000, None, Bad::Exceedances),
            reason(|_| false, 50, None, Bad::Failures),
            reason(|i| i == 7, 50, None, Bad::Failures),
            reason(|i| i < 9, 1_000, Some(Duration::from_secs(20)), Bad::Failures),
        ];
        insta::assert_snapshot!(reasons.join("\n"));
    }
}
