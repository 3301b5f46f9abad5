//! The retry policy: decides by the class of a failure and the number of attempts.
//! The caller supplies the jitter and waits. It never gives up.

use std::time::Duration;

use crate::config::Retry;
use crate::failure::Class;

/// What to do after a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Wait, then retry; the partition continues to consume.
    Again(Duration),
    /// Pause the partition, wait, then retry, without limit.
    Probe(Duration),
}

/// Decides after `attempt` (from 1) failed with `class`; `jitter` is uniformly distributed. Refused rows are removed before
/// this is called; if they cannot be, an operator has to repair the table.
pub fn decide(retry: &Retry, class: Class, attempt: u32, jitter: u64) -> Decision {
    match class {
        Class::Row | Class::Operator => Decision::Probe(with_jitter(retry.operator_wait, jitter)),
        Class::Transient => {
            let backoff = retry.first_wait.saturating_mul(1 << attempt.saturating_sub(1).min(31));
            let wait = with_jitter(backoff.min(retry.longest_wait), jitter);
            if attempt <= retry.quick_retries { Decision::Again(wait) } else { Decision::Probe(wait) }
        }
    }
}

/// Returns a wait between 80 % and 120 % of `wait`, so that workers that failed together do not retry together.
fn with_jitter(wait: Duration, jitter: u64) -> Duration {
    wait.mul_f64(0.8 + 0.4 * (jitter % 1000) as f64 / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn three_quick_retries_then_endless_probes() {
        let retry = Retry::default();
        for attempt in 1..=3 {
            assert!(matches!(decide(&retry, Class::Transient, attempt, 0), Decision::Again(_)), "{attempt}");
        }
        for attempt in [4, 5, 100, u32::MAX] {
            assert!(matches!(decide(&retry, Class::Transient, attempt, 0), Decision::Probe(_)), "{attempt}");
        }
    }

    #[test]
    fn failures_that_need_an_operator_are_probed_at_once() {
        let retry = Retry::default();
        for class in [Class::Operator, Class::Row] {
            assert!(matches!(decide(&retry, class, 1, 0), Decision::Probe(_)));
        }
    }

    #[test]
    fn the_names_of_classes_are_stable() {
        let names = [Class::Transient, Class::Row, Class::Operator].map(Class::as_str);
        assert_eq!(names, ["transient", "row", "operator"], "dashboards and dead letters depend on them");
    }

    fn retries() -> impl Strategy<Value = Retry> {
        let wait = || (1_u64..86_400_000).prop_map(Duration::from_millis);
        let retry = |(quick_retries, first_wait, longest_wait, operator_wait)| Retry {
            quick_retries,
            first_wait,
            longest_wait,
            operator_wait,
        };
        (0_u32..10, (1_u64..60_000).prop_map(Duration::from_millis), wait(), wait()).prop_map(retry)
    }

    /// The wait without jitter, doubled once per attempt up to the maximum.
    fn backoff(retry: &Retry, attempt: u32) -> Duration {
        let mut wait = retry.first_wait.min(retry.longest_wait);
        for _ in 1..attempt {
            wait = (wait * 2).min(retry.longest_wait);
        }
        wait
    }

    proptest! {
        /// Agrees with a model that doubles once per attempt, for any settings: quick retries, then probes; failures that need
        /// an operator are probed from the first attempt.
        #[test]
        fn waits_double_to_their_limit_with_jitter(
            retry in retries(), attempt in prop_oneof![1_u32..40, 1_u32..10_000], jitter in any::<u64>(), class in 0_usize..3
        ) {
            let class = [Class::Transient, Class::Row, Class::Operator][class];
            let (wait, is_quick) = match decide(&retry, class, attempt, jitter) {
                Decision::Again(wait) => (wait, true),
                Decision::Probe(wait) => (wait, false),
            };
            let is_transient = class == Class::Transient;
            prop_assert_eq!(is_quick, is_transient && attempt <= retry.quick_retries);
            let base = if is_transient { backoff(&retry, attempt) } else { retry.operator_wait };
            let thousandths = 800 + 400 * u128::from(jitter % 1000) / 1000;
            let off_by = (base.as_nanos() * thousandths / 1000).abs_diff(wait.as_nanos());
            // Integer arithmetic here loses less than a thousandth of the jitter.
            prop_assert!(off_by <= base.as_nanos() / 1000, "{wait:?} for {base:?} and {jitter}");
            prop_assert!(wait >= base.mul_f64(0.8) && wait < base.mul_f64(1.2));
        }

        /// Workers that failed together retry at different times.
        #[test]
        fn different_jitter_results_in_different_waits(one in 0_u64..1000, other in 0_u64..1000) {
            let retry = Retry::default();
            let wait = |jitter| decide(&retry, Class::Transient, 1, jitter);
            prop_assert_eq!(wait(one) == wait(other), one == other);
        }
    }
}
