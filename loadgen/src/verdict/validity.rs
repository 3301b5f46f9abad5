//! Whether the generator kept up. A store's fault never makes a run invalid.

use std::time::Duration;

use serde::Serialize;

use crate::{
    measure::{DurationHistogram, GeneratorHealth, Recorder},
    scenario::Slo,
};

/// Limit of the writes' send lag at the 99th percentile. It shifts load by that much, and no latency depends on it.
const MAX_WRITE_LAG: Duration = Duration::from_secs(1);
/// Limit of the probes' send lag if no SLO has a latency limit.
const DEFAULT_MAX_PROBE_LAG: Duration = Duration::from_millis(50);
/// Minimum share of offered writes and probes that must be started.
const MIN_STARTED: f64 = 0.99;
/// Limit of the difference between the two clocks over a drive.
const MAX_CLOCK_JUMP: Duration = Duration::from_millis(500);

/// Whether a run can be judged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Validity {
    /// The run can be judged.
    Valid,
    /// The run can't be judged; each reason is a sentence with its limit.
    Invalid(Vec<String>),
}

/// Judges the generator by its send lag, the probes and writes that it never started, and its clocks.
pub fn validity(slos: &[Slo], recorders: &[Recorder], health: &GeneratorHealth) -> Validity {
    let reasons: Vec<String> =
        [probe_lag(slos, recorders), write_lag(health), never_started(health), clock_jump(health)]
            .into_iter()
            .flatten()
            .collect();
    if reasons.is_empty() { Validity::Valid } else { Validity::Invalid(reasons) }
}

/// Half of the tightest SLO is the limit of the probes' lag at the 99th percentile.
fn probe_lag(slos: &[Slo], recorders: &[Recorder]) -> Option<String> {
    let limit = slos.iter().map(|slo| slo.within / 2).min().unwrap_or(DEFAULT_MAX_PROBE_LAG);
    let mut lag = DurationHistogram::default();
    for recorder in recorders {
        lag.merge(&recorder.measured().lag);
    }
    let p99 = lag.quantile(0.99).filter(|p99| *p99 > limit)?;
    Some(format!("1 % of the probes were sent more than {p99:.1?} late; the limit is {limit:?}"))
}

fn write_lag(health: &GeneratorHealth) -> Option<String> {
    let p99 = health.write_lag.quantile(0.99).filter(|p99| *p99 > MAX_WRITE_LAG)?;
    Some(format!("1 % of the writes were sent more than {p99:.1?} late; the limit is {MAX_WRITE_LAG:?}"))
}

fn never_started(health: &GeneratorHealth) -> Option<String> {
    let GeneratorHealth { offered, sent, held_back, .. } = *health;
    let lost = offered.saturating_sub(sent + held_back);
    (lost as f64 > offered as f64 * (1.0 - MIN_STARTED)).then(|| {
        format!(
            "{lost} of {offered} writes and probes were never started, and no store held them back; the limit is 1 %"
        )
    })
}

fn clock_jump(health: &GeneratorHealth) -> Option<String> {
    let jump = health.system.abs_diff(health.monotonic);
    (jump > MAX_CLOCK_JUMP)
        .then(|| format!("the system clock jumped by {jump:.1?} during the drive; the limit is {MAX_CLOCK_JUMP:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        measure::{Outcome, Sample},
        question::Question,
        scenario::Scenario,
    };

    fn scenario() -> Scenario {
        Scenario::parse(include_str!("../../../scenarios/smoke.toml"), "smoke.toml").unwrap()
    }

    fn probes_late_by(lag: Duration) -> Vec<Recorder> {
        let scenario = scenario();
        let mut recorder = Recorder::new(Question::Search, scenario.limit_of(Question::Search), scenario.duration);
        for second in 0..100 {
            let intended = Duration::from_secs(second % 60);
            recorder.record(Sample { intended, lag, latency: lag, outcome: Outcome::Correct });
        }
        vec![recorder]
    }

    fn good() -> GeneratorHealth {
        let minute = Duration::from_mins(1);
        GeneratorHealth { offered: 1_000, sent: 1_000, monotonic: minute, system: minute, ..GeneratorHealth::default() }
    }

    #[test]
    fn a_generator_that_kept_up_is_valid() {
        assert_eq!(validity(&scenario().slos, &probes_late_by(Duration::from_millis(49)), &good()), Validity::Valid);
    }

    #[test]
    fn what_a_store_held_back_is_not_the_generators_fault() {
        let health = GeneratorHealth { sent: 100, held_back: 900, ..good() };
        assert_eq!(validity(&scenario().slos, &[], &health), Validity::Valid);
    }

    #[test]
    fn each_fault_of_the_generator_has_its_own_reason() {
        let mut health = GeneratorHealth { sent: 900, system: Duration::from_secs(62), ..good() };
        health.write_lag.record(Duration::from_secs(3));
        let Validity::Invalid(reasons) =
            validity(&scenario().slos, &probes_late_by(Duration::from_millis(80)), &health)
        else {
            panic!("valid")
        };
        insta::assert_snapshot!(reasons.join("\n"));
    }
}
