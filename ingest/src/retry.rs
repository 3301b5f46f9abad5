//! When to try again: the class of a failure and the number of attempts go in, a decision comes out.
//! Pure: the clock and the jitter are the caller's. It never gives up on a failure that is not the row's fault.

use std::time::Duration;

use crate::config::Retry;

/// Whose fault a failure is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Class {
    /// Passes by itself, or nobody knows whether the write took place.
    Transient,
    /// The store will never take this row.
    Row,
    /// The table, the privilege or the configuration is wrong: somebody has to repair it.
    Operator,
}

impl Class {
    /// The word in metrics, logs and dead letters.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Transient => "transient",
            Self::Row => "row",
            Self::Operator => "operator",
        }
    }
}

/// What to do after a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Wait, then try again; the partition goes on taking records in.
    Again(Duration),
    /// Pause the partition, wait, then try again, for as long as it takes.
    Probe(Duration),
}

/// Decides after `attempt` (from 1) failed with `class`; `jitter` is any number, spread evenly. Rows that are refused are
/// cut out before it comes to this; where that is not possible, somebody has to repair the table.
pub fn decide(retry: &Retry, class: Class, attempt: u32, jitter: u64) -> Decision {
    match class {
        Class::Row | Class::Operator => Decision::Probe(spread(retry.operator_wait, jitter)),
        Class::Transient => {
            let doubled = retry.first_wait.saturating_mul(1 << attempt.saturating_sub(1).min(20));
            let wait = spread(doubled.min(retry.longest_wait), jitter);
            if attempt <= retry.quick { Decision::Again(wait) } else { Decision::Probe(wait) }
        }
    }
}

/// A wait between four and six fifths of `wait`, so that workers which failed together do not come back together.
fn spread(wait: Duration, jitter: u64) -> Duration {
    wait.mul_f64(0.8 + 0.4 * (jitter % 1000) as f64 / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn three_quick_retries_then_probes_without_end() {
        let retry = Retry::default();
        for attempt in 1..=3 {
            assert!(matches!(decide(&retry, Class::Transient, attempt, 0), Decision::Again(_)), "{attempt}");
        }
        for attempt in [4, 5, 100, u32::MAX] {
            assert!(matches!(decide(&retry, Class::Transient, attempt, 0), Decision::Probe(_)), "{attempt}");
        }
    }

    #[test]
    fn an_operator_is_waited_for_at_once() {
        let retry = Retry::default();
        for class in [Class::Operator, Class::Row] {
            assert!(matches!(decide(&retry, class, 1, 0), Decision::Probe(_)));
        }
    }

    proptest! {
        #[test]
        fn waits_grow_to_their_limit_and_no_further(attempt in 1_u32..200, jitter in any::<u64>()) {
            let retry = Retry::default();
            let wait = |attempt| match decide(&retry, Class::Transient, attempt, jitter) {
                Decision::Again(wait) | Decision::Probe(wait) => wait,
            };
            prop_assert!(wait(attempt) <= wait(attempt + 1));
            prop_assert!(wait(attempt) >= retry.first_wait.mul_f64(0.8));
            prop_assert!(wait(attempt) <= retry.longest_wait.mul_f64(1.2));
        }
    }
}
