//! Measurements: latency from the intended start, exceedances, errors, wrong answers and send lag.
//! Recorders have a bounded size, never grow during a drive, and never read a clock.

pub mod blocks;
mod classes;
mod encoding;
mod series;
mod writes;

use std::ops::AddAssign;
use std::time::Duration;

use hdrhistogram::Histogram;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::population::TenantClass;
use crate::question::Question;
use crate::scenario::{Scenario, Slo};
use blocks::Blocks;

pub use classes::{ByClass, OfClass};
pub use series::{Point, Series};
pub use writes::WriteRecorder;

/// Maximum value of a histogram; longer durations count as this one.
const MAX_MICROS: u64 = 600_000_000;

/// The outcome of a probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The expected answer.
    Correct,
    /// Another answer.
    Wrong,
    /// An error of the store.
    Error,
    /// No answer in time.
    TimedOut,
}

impl Outcome {
    fn is_failure(self) -> bool {
        matches!(self, Self::Error | Self::TimedOut)
    }
}

/// One finished probe.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    /// Intended start, since the start of the drive.
    pub intended: Duration,
    /// Actual start minus intended start.
    pub lag: Duration,
    /// End minus intended start.
    pub latency: Duration,
    /// Part of the latency in which the probe waited for a connection of its client.
    pub waited: Duration,
    /// The outcome.
    pub outcome: Outcome,
}

impl Sample {
    fn exceeds(&self, limit: Option<Duration>) -> bool {
        self.outcome.is_failure() || limit.is_some_and(|limit| self.latency > limit)
    }
}

/// Probes by outcome.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Counts {
    /// All probes.
    pub samples: u64,
    /// Probes not answered within the SLO's limit, errors and time-outs included.
    pub exceedances: u64,
    /// Wrong answers, however fast.
    pub wrong: u64,
    /// Errors of the store.
    pub errors: u64,
    /// Time-outs.
    pub timed_out: u64,
}

impl Counts {
    fn of(outcome: Outcome, exceeds: bool) -> Self {
        Self {
            samples: 1,
            exceedances: u64::from(exceeds),
            wrong: u64::from(outcome == Outcome::Wrong),
            errors: u64::from(outcome == Outcome::Error),
            timed_out: u64::from(outcome == Outcome::TimedOut),
        }
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.samples += other.samples;
        self.exceedances += other.exceedances;
        self.wrong += other.wrong;
        self.errors += other.errors;
        self.timed_out += other.timed_out;
    }
}

/// A histogram of durations up to ten minutes, with three significant digits.
#[derive(Debug, Clone)]
pub struct DurationHistogram(Histogram<u64>);

impl Default for DurationHistogram {
    fn default() -> Self {
        Self(Histogram::new_with_bounds(1, MAX_MICROS, 3).expect("1 to 600,000,000 at 3 digits are legal bounds"))
    }
}

impl DurationHistogram {
    /// Records a duration.
    pub fn record(&mut self, duration: Duration) {
        self.0.saturating_record(duration.as_micros().min(u128::from(MAX_MICROS)) as u64);
    }

    /// Adds another histogram.
    pub fn merge(&mut self, other: &Self) {
        for bar in other.0.iter_recorded() {
            self.0.saturating_record_n(bar.value_iterated_to(), bar.count_at_value());
        }
    }

    /// Number of durations.
    pub fn len(&self) -> u64 {
        self.0.len()
    }

    /// Whether nothing was recorded.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The duration that the fraction `quantile` (0 to 1) of the recorded durations does not exceed; `None` if nothing was recorded.
    pub fn quantile(&self, quantile: f64) -> Option<Duration> {
        (!self.is_empty()).then(|| Duration::from_micros(self.0.value_at_quantile(quantile)))
    }

    /// Number of durations above `limit`, to the resolution of the histogram.
    pub fn count_above(&self, limit: Duration) -> u64 {
        let limit = limit.as_micros().min(u128::from(MAX_MICROS)) as u64;
        self.0.iter_recorded().filter(|bar| bar.value_iterated_to() > limit).map(|bar| bar.count_at_value()).sum()
    }

    /// The longest duration; `None` if nothing was recorded.
    pub fn max(&self) -> Option<Duration> {
        (!self.is_empty()).then(|| Duration::from_micros(self.0.max()))
    }
}

/// Samples of one question, or of one SLO.
#[derive(Debug, Clone)]
pub struct Measured {
    /// Counts by outcome.
    pub counts: Counts,
    /// Latencies of answers and time-outs. An error has no latency: failing fast is not being fast.
    pub latency: DurationHistogram,
    /// Send lag: how late the generator itself was.
    pub lag: DurationHistogram,
    /// Waits for a connection of the client.
    pub waited: DurationHistogram,
    /// Samples and exceedances by time.
    pub blocks: Blocks,
    /// Samples, and errors and time-outs, by time.
    pub failures: Blocks,
    /// Counts and latencies by time, for charts.
    pub series: Series,
}

impl Measured {
    /// Empty measurements of a drive of that length.
    pub fn new(drive: Duration) -> Self {
        let [latency, lag, waited] = std::array::from_fn(|_| DurationHistogram::default());
        let (blocks, failures) = (Blocks::new(drive), Blocks::new(drive));
        Self { counts: Counts::default(), latency, lag, waited, blocks, failures, series: Series::new(drive) }
    }

    fn record(&mut self, sample: Sample, limit: Option<Duration>) {
        let Sample { intended, lag, latency, waited, outcome } = sample;
        let (failed, exceeds) = (outcome.is_failure(), sample.exceeds(limit));
        self.counts += Counts::of(outcome, exceeds);
        self.series.record(sample);
        self.blocks.record(intended, exceeds);
        self.failures.record(intended, failed);
        self.lag.record(lag);
        self.waited.record(waited);
        if outcome != Outcome::Error {
            self.latency.record(latency);
        }
    }
}

/// Everything measured about one question.
#[derive(Debug, Clone)]
pub struct Recorder {
    question: Question,
    users: Option<String>,
    limit: Option<Duration>,
    measured: Measured,
    classes: ByClass,
}

impl Recorder {
    /// An empty recorder for a drive of that length. `limit` is the latency above which a sample is an exceedance, the
    /// tightest that judges the question; without one, only errors and time-outs are.
    pub fn new(question: Question, limit: Option<Duration>, drive: Duration) -> Self {
        Self { question, users: None, limit, measured: Measured::new(drive), classes: ByClass::default() }
    }

    /// The users who ask, whose latencies are service times; `None` if the question is asked at a rate.
    pub fn users(&self) -> Option<&str> {
        self.users.as_deref()
    }

    /// The question.
    pub fn question(&self) -> Question {
        self.question
    }

    /// What was measured.
    pub fn measured(&self) -> &Measured {
        &self.measured
    }

    /// What was measured for each class of tenants.
    pub fn classes(&self) -> &ByClass {
        &self.classes
    }

    /// Counts the sample of a tenant of that class. Whether it exceeds the limit is decided here, from the exact latency
    /// and not from a histogram.
    pub fn record(&mut self, class: TenantClass, sample: Sample) {
        self.measured.record(sample, self.limit);
        let of_class = self.classes.of_mut(class);
        of_class.counts += Counts::of(sample.outcome, sample.exceeds(self.limit));
        if sample.outcome != Outcome::Error {
            of_class.latency.record(sample.latency);
        }
    }
}

/// What was measured for one SLO: the samples of its questions and tenants.
#[derive(Debug, Clone)]
pub struct SloRecorder {
    slo: Slo,
    measured: Measured,
}

impl SloRecorder {
    /// The SLO.
    pub fn slo(&self) -> &Slo {
        &self.slo
    }

    /// What was measured.
    pub fn measured(&self) -> &Measured {
        &self.measured
    }
}

/// Everything that a drive measures.
#[derive(Debug, Clone)]
pub struct Measurements {
    /// One recorder for each question that is asked.
    pub questions: Vec<Recorder>,
    /// One recorder for each SLO, in the scenario's order.
    pub slos: Vec<SloRecorder>,
    /// Outcomes of writes, one recorder for each store that is written to.
    pub writes: Vec<WriteRecorder>,
}

impl Measurements {
    /// Empty measurements of a scenario; writes are recorded elsewhere and added at the end.
    pub fn new(scenario: &Scenario) -> Self {
        let drive = scenario.duration;
        let recorder = |&question: &Question| Recorder::new(question, scenario.limit_of(question, None), drive);
        let slo = |slo: &Slo| {
            let blocks = slo.in_every.map_or_else(|| Blocks::new(drive), |window| Blocks::for_windows(drive, window));
            SloRecorder { slo: slo.clone(), measured: Measured { blocks, ..Measured::new(drive) } }
        };
        let of_users = scenario.users.iter().flat_map(|users| {
            users.questions.keys().map(|&question| Recorder {
                users: Some(users.name.clone()),
                ..Recorder::new(question, scenario.limit_of(question, Some(&users.name)), drive)
            })
        });
        let questions = scenario.probes.keys().map(recorder).chain(of_users).collect();
        Self { questions, slos: scenario.slos.iter().map(slo).collect(), writes: Vec::new() }
    }

    /// Counts the sample of a question that a tenant of that class asked, for the question and for each SLO that judges it.
    pub fn record(&mut self, question: Question, class: TenantClass, sample: Sample) {
        self.record_of(None, question, class, sample);
    }

    /// Counts the sample of a question as [`Measurements::record`] does, asked by users or at a rate.
    pub fn record_of(&mut self, users: Option<&str>, question: Question, class: TenantClass, sample: Sample) {
        let mut recorders = self.questions.iter_mut();
        if let Some(recorder) = recorders.find(|one| one.question == question && one.users.as_deref() == users) {
            recorder.record(class, sample);
        }
        for SloRecorder { slo, measured } in self.slos.iter_mut().filter(|one| one.slo.judges(question, class, users)) {
            measured.record(sample, Some(slo.within));
        }
    }
}

/// How many operations of one kind were started; what a store held back is counted separately.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Started {
    /// Operations planned.
    pub offered: u64,
    /// Operations that were started.
    pub sent: u64,
    /// Operations never started because a store pushed back with a full queue.
    pub held_back: u64,
}

/// How well the generator kept to the plan.
#[derive(Debug, Clone, Default)]
pub struct GeneratorHealth {
    /// Writes.
    pub writes: Started,
    /// Probes.
    pub probes: Started,
    /// Send lag of writes, without the time that a store held them back.
    pub write_lag: DurationHistogram,
    /// Time that tasks of the generator waited for a thread: it delays questions and answers.
    pub task_delay: DurationHistogram,
    /// Whether its threads ran with a raised priority.
    pub priority_is_raised: bool,
    /// Share of all processors that the generator used, 0 to 1; `None` where the system doesn't tell.
    pub processor_share: Option<f64>,
    /// Share of all processors that the hypervisor took, 0 to 1; `None` where the system doesn't tell.
    pub steal_share: Option<f64>,
    /// Length of the drive by the monotonic clock.
    pub monotonic: Duration,
    /// Length of the drive by the system clock; a difference means that the clock jumped.
    pub system: Duration,
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Option<Duration> = Some(Duration::from_millis(100));

    fn sample(micros: u64, outcome: Outcome) -> Sample {
        let (intended, lag, waited) = Default::default();
        Sample { intended, lag, latency: Duration::from_micros(micros), waited, outcome }
    }

    #[test]
    fn exceedances_are_exact_although_histograms_round() {
        let mut measured = Measured::new(Duration::from_mins(1));
        measured.record(sample(100_000, Outcome::Correct), LIMIT);
        assert_eq!(measured.counts.exceedances, 0);
        measured.record(sample(100_001, Outcome::Correct), LIMIT);
        assert_eq!(measured.counts.exceedances, 1);
    }

    #[test]
    fn a_fast_error_is_an_exceedance_without_a_latency() {
        let mut measured = Measured::new(Duration::from_mins(1));
        measured.record(sample(10, Outcome::Error), LIMIT);
        measured.record(sample(2_000_000, Outcome::TimedOut), LIMIT);
        measured.record(sample(10, Outcome::Wrong), LIMIT);
        let Counts { samples, exceedances, wrong, errors, timed_out } = measured.counts;
        assert_eq!((samples, exceedances, wrong, errors, timed_out), (3, 2, 1, 1, 1));
        assert_eq!(measured.latency.len(), 2);
    }

    #[test]
    fn without_an_slo_only_errors_are_exceedances() {
        let mut measured = Measured::new(Duration::from_mins(1));
        measured.record(sample(5_000_000, Outcome::Correct), None);
        measured.record(sample(5_000_000, Outcome::Correct), None);
        measured.record(sample(7_000_000, Outcome::Error), None);
        let exceedances = (measured.counts.exceedances, measured.blocks.exceedances());
        assert_eq!((measured.counts.samples, exceedances), (3, (1, 1)));
        assert_eq!(measured.latency.max().map(|longest| longest.as_secs()), Some(5));
    }

    #[test]
    fn merged_histograms_hold_the_durations_of_both() {
        let (mut first, mut second) = (DurationHistogram::default(), DurationHistogram::default());
        first.record(Duration::from_secs(5));
        second.record(Duration::from_secs(7));
        first.merge(&second);
        assert_eq!((first.len(), first.max().map(|longest| longest.as_secs())), (2, Some(7)));
    }

    #[test]
    fn an_empty_histogram_has_no_quantiles() {
        let mut measured = Measured::new(Duration::from_mins(1));
        measured.record(sample(10, Outcome::Error), LIMIT);
        assert_eq!((measured.latency.quantile(0.5), measured.latency.max()), (None, None));
        measured.record(sample(10, Outcome::Correct), LIMIT);
        let ten = Some(Duration::from_micros(10));
        assert_eq!((measured.latency.quantile(0.5), measured.latency.max()), (ten, ten));
    }
}
