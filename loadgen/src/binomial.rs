//! The exact binomial test of a proportion. `docs/verdict.md` has the sources. The test never checks that samples are
//! independent.
//!
//! "p95 <= T" is "at most 5 % of answers exceed T". With n samples and x exceedances, PASS means that at most
//! x exceedances would be unlikely (probability <= alpha) if the store missed its limit, FAIL that at least x would be
//! unlikely if it met it (Clopper and Pearson, 1934, one-sided). n and x may be fractions: an effective sample size
//! (Korn and Graubard, 1998) goes through the same incomplete beta function.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use statrs::function::beta::beta_reg;

/// The verdict on one objective.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Verdict {
    /// The objective is met; the probability of this result if it were missed is at most alpha.
    Pass,
    /// The objective is missed; the probability of this result if it were met is at most alpha.
    Fail,
    /// The samples don't decide either way.
    Inconclusive,
}

/// Maximum sample size that [`samples_to_decide`] considers.
const MAX_SAMPLES: u64 = 10_000_000;

/// Probability of at most `x` exceedances among `n` when each has probability `p`.
pub(crate) fn at_most(x: f64, n: f64, p: f64) -> f64 {
    if x >= n { 1.0 } else { beta_reg(n - x, x + 1.0, 1.0 - p) }
}

/// Probability of at least `x` exceedances among `n` when each has probability `p`. Of an effective sample, `x` may be a fraction of one: then
/// it is the probability of one among as many samples as have one at this share, since what was seen was a whole burst.
pub(crate) fn at_least(x: f64, n: f64, p: f64) -> f64 {
    if x <= 0.0 {
        return 1.0;
    }
    let (x, n) = if x < 1.0 { (1.0, n / x) } else { (x, n) };
    beta_reg(x, n - x + 1.0, p)
}

/// The verdict on `x` exceedances among `n` samples, of which a share of `limit` is allowed; both errors at most
/// `alpha`.
pub(crate) fn decide(x: f64, n: f64, limit: f64, alpha: f64) -> Verdict {
    if n > 0.0 && at_most(x, n, limit) <= alpha {
        Verdict::Pass
    } else if n > 0.0 && at_least(x, n, limit) <= alpha {
        Verdict::Fail
    } else {
        Verdict::Inconclusive
    }
}

/// The lower and the upper bound on the true share of exceedances, each wrong with probability `alpha` at most.
pub(crate) fn bounds(x: f64, n: f64, alpha: f64) -> (f64, f64) {
    if n <= 0.0 {
        return (0.0, 1.0);
    }
    let lower = if x <= 0.0 { 0.0 } else { bisect(|p| at_least(x, n, p) > alpha) };
    let upper = if x >= n { 1.0 } else { bisect(|p| at_most(x, n, p) <= alpha) };
    (lower, upper)
}

/// The value in 0..1 from which `beyond` is true, by bisection.
fn bisect(beyond: impl Fn(f64) -> bool) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if beyond(middle) { high = middle } else { low = middle }
    }
    high
}

/// Minimum sample size that can PASS, without any exceedance: 59 for 5 % and 5 %.
pub(crate) fn min_samples(limit: f64, alpha: f64) -> u64 {
    (alpha.ln() / (1.0 - limit).ln()).ceil() as u64
}

/// Minimum sample size with which a store with a true share of `truth` exceedances passes, or fails if `truth` is above
/// `limit`, with probability `power`. Exact up to 1,000 samples and within 0.1 % above; `None` if no sample size that is
/// considered is enough, as for a store exactly at its limit.
pub(crate) fn samples_to_decide(limit: f64, alpha: f64, truth: f64, power: f64) -> Option<u64> {
    let passes = truth < limit;
    let mut n = if passes { min_samples(limit, alpha).max(1) } else { 1 };
    let mut border = 0.0;
    while n < MAX_SAMPLES {
        let size = n as f64;
        let decided = if passes {
            while at_most(border + 1.0, size, limit) <= alpha {
                border += 1.0;
            }
            at_most(border, size, truth)
        } else {
            while border <= size && at_least(border, size, limit) > alpha {
                border += 1.0;
            }
            if border > size { 0.0 } else { at_least(border, size, truth) }
        };
        if decided >= power {
            return Some(n);
        }
        n += (n / 1000).max(1);
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Sample size, maximum exceedances of a PASS, minimum of a FAIL, at a limit of 5 % and alpha 5 %.
    const TABLE: [(f64, f64, f64); 6] = [
        (100.0, 1.0, 10.0),
        (200.0, 4.0, 16.0),
        (500.0, 16.0, 34.0),
        (1_000.0, 38.0, 63.0),
        (5_000.0, 224.0, 277.0),
        (10_000.0, 463.0, 537.0),
    ];

    #[test]
    fn one_burst_decides_only_what_it_makes_improbable() {
        // 119 failures of 4,797 in one stall, which is worth 12 samples.
        let (x, n) = (12.0 * 119.0 / 4_797.0, 12.0);
        assert_eq!(decide(x, n, 0.000_1, 0.05), Verdict::Fail, "99.99 % allow such a stall once in eleven hours");
        assert_eq!(decide(x, n, 0.05, 0.05), Verdict::Inconclusive, "and 95 % once in a minute and a half");
        assert!((at_least(x, n, 0.000_1) - 0.000_1 * 4_797.0 / 119.0).abs() < 1e-4);
    }

    #[test]
    fn verdicts_change_where_the_table_says() {
        for (n, pass, fail) in TABLE {
            let verdict = |x| decide(x, n, 0.05, 0.05);
            assert_eq!(verdict(pass), Verdict::Pass, "{n}");
            assert_eq!(verdict(pass + 1.0), Verdict::Inconclusive, "{n}");
            assert_eq!(verdict(fail - 1.0), Verdict::Inconclusive, "{n}");
            assert_eq!(verdict(fail), Verdict::Fail, "{n}");
        }
    }

    #[test]
    fn fifty_eight_samples_can_never_pass() {
        assert_eq!(min_samples(0.05, 0.05), 59);
        assert_eq!(min_samples(0.05, 0.01), 90);
        assert_eq!(decide(0.0, 58.0, 0.05, 0.05), Verdict::Inconclusive);
        assert_eq!(decide(0.0, 59.0, 0.05, 0.05), Verdict::Pass);
        assert_eq!(decide(0.0, 0.0, 0.05, 0.05), Verdict::Inconclusive);
    }

    #[test]
    fn samples_needed_for_a_power_of_nine_in_ten() {
        let needed = [0.01, 0.02, 0.03, 0.04, 0.045].map(|truth| samples_to_decide(0.05, 0.05, truth, 0.9).unwrap());
        assert_eq!(needed[..3], [153, 311, 832]);
        assert!((3_700..=3_740).contains(&needed[3]), "{needed:?}");
        assert!((15_500..=15_700).contains(&needed[4]), "{needed:?}");
        assert_eq!(samples_to_decide(0.05, 0.05, 0.05, 0.9), None);
    }

    #[test]
    fn a_store_beyond_its_limit_needs_more_samples_to_fail_the_closer_it_is() {
        let needed = [1.0, 0.5, 0.1, 0.07, 0.06].map(|truth| samples_to_decide(0.05, 0.05, truth, 0.9).unwrap());
        assert!(needed.is_sorted() && needed[0] <= 2 && needed[4] > 3_000, "{needed:?}");
        let size = needed[2] as f64;
        let border = (0..1_000).map(f64::from).find(|&x| at_least(x, size, 0.05) <= 0.05).unwrap();
        assert!(at_least(border, size, 0.1) >= 0.9);
    }

    #[test]
    fn the_bounds_are_those_of_clopper_and_pearson() {
        let (lower, upper) = bounds(10.0, 100.0, 0.025);
        assert!((lower - 0.049_005).abs() < 1e-5 && (upper - 0.176_223).abs() < 1e-5, "{lower} {upper}");
        assert_eq!(bounds(0.0, 0.0, 0.05), (0.0, 1.0));
    }

    fn rank(verdict: Verdict) -> u8 {
        match verdict {
            Verdict::Pass => 0,
            Verdict::Inconclusive => 1,
            Verdict::Fail => 2,
        }
    }

    proptest! {
        #[test]
        fn more_exceedances_never_make_a_verdict_better(n in 1_u32..20_000, x in 0_u32..20_000, limit in 0.001..0.5_f64, alpha in 0.001..0.2_f64) {
            let x = f64::from(x.min(n - 1));
            let (one, two) = (decide(x, n.into(), limit, alpha), decide(x + 1.0, n.into(), limit, alpha));
            prop_assert!(rank(one) <= rank(two));
        }

        #[test]
        fn more_samples_in_time_never_make_a_verdict_worse(n in 1_u32..20_000, x in 0_u32..20_000, limit in 0.001..0.5_f64, alpha in 0.001..0.2_f64) {
            let x = f64::from(x.min(n));
            let (one, two) = (decide(x, n.into(), limit, alpha), decide(x, f64::from(n) + 1.0, limit, alpha));
            prop_assert!(rank(two) <= rank(one));
        }

        #[test]
        fn a_verdict_and_its_bounds_agree(n in 1_u32..5_000, x in 0_u32..5_000, limit in 0.01..0.5_f64) {
            let (x, n) = (f64::from(x.min(n)), f64::from(n));
            let (lower, upper) = bounds(x, n, 0.05);
            prop_assert!(lower <= x / n && x / n <= upper);
            match decide(x, n, limit, 0.05) {
                Verdict::Pass => prop_assert!(upper <= limit + 1e-9),
                Verdict::Fail => prop_assert!(lower >= limit - 1e-9),
                Verdict::Inconclusive => prop_assert!(lower <= limit + 1e-9 && upper >= limit - 1e-9),
            }
        }
    }
}
