//! Measurements: latency from the intended start, exceedances, errors, wrong answers and send lag.
//! Recorders have a bounded size, never grow during a drive, and never read a clock.

pub mod blocks;
mod classes;
mod encoding;
mod health;
mod histogram;
mod intervals;
mod sample;
mod series;
mod sparse;
mod writes;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::population::TenantClass;
use crate::question::Question;
use crate::scenario::{Operation, Scenario, Slo};
use blocks::Blocks;

pub use classes::{ByClass, OfClass};
pub use health::{GeneratorHealth, Started};
pub use histogram::DurationHistogram;
pub use intervals::Intervals;
pub use sample::{Backing, Counts, Outcome, Sample};
pub use series::{Point, Series};
pub use writes::{Deliveries, WriteRecorder};

/// Samples of one question, or of one SLO.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Measured {
    /// Counts by outcome.
    pub counts: Counts,
    /// Latencies of answers and time-outs. An error has no latency: failing fast is not being fast.
    pub latency: DurationHistogram,
    /// Send lag: how late the generator itself was.
    pub lag: DurationHistogram,
    /// Waits for a connection of the client.
    pub waited: DurationHistogram,
    /// Exceedances that would have been none without these waits.
    pub kept_waiting: u64,
    /// Samples and exceedances by time.
    pub blocks: Blocks,
    /// Samples, and errors and time-outs of the question's own store, by time.
    pub failures: Blocks,
    /// The same of the store behind it, of the samples that asked it.
    pub backing: Blocks,
    /// Counts and latencies by time, for charts.
    pub series: Series,
}

impl Measured {
    /// Empty measurements of a drive of that length.
    pub fn new(drive: Duration) -> Self {
        let [latency, lag, waited] = std::array::from_fn(|_| DurationHistogram::default());
        let [blocks, failures, backing] = std::array::from_fn(|_| Blocks::new(drive));
        let (counts, kept_waiting, series) = (Counts::default(), 0, Series::new(drive));
        Self { counts, latency, lag, waited, kept_waiting, blocks, failures, backing, series }
    }

    /// A copy of what is judged: without the series and the waits, which take longer to copy and only appear in reports.
    fn judged(&self) -> Self {
        let Self { counts, latency, lag, blocks, failures, backing, .. } = self;
        Self {
            counts: *counts,
            latency: latency.clone(),
            lag: lag.clone(),
            blocks: blocks.clone(),
            failures: failures.clone(),
            backing: backing.clone(),
            ..Self::new(Duration::from_secs(1))
        }
    }

    /// Adds what was measured elsewhere in a drive of the same length.
    fn merge(&mut self, other: &Self) {
        self.counts += other.counts;
        self.latency.merge(&other.latency);
        self.lag.merge(&other.lag);
        self.waited.merge(&other.waited);
        self.kept_waiting += other.kept_waiting;
        self.blocks.merge(&other.blocks);
        self.failures.merge(&other.failures);
        self.backing.merge(&other.backing);
        self.series.merge(&other.series);
    }

    fn record(&mut self, sample: Sample, limit: Option<Duration>) {
        let Sample { intended, lag, latency, waited, outcome, backing } = sample;
        let (failed, exceeds) = (outcome.is_failure(), sample.exceeds(limit));
        self.counts += Counts::of(outcome, exceeds);
        self.series.record(sample);
        self.blocks.record(intended, exceeds);
        self.failures.record(intended, failed && backing != Backing::Failed);
        if backing != Backing::NotAsked {
            self.backing.record(intended, failed && backing == Backing::Failed);
        }
        self.kept_waiting += u64::from(sample.is_kept_waiting(limit));
        if outcome != Outcome::HeldBack {
            self.lag.record(lag);
            self.waited.record(waited);
        }
        if outcome.has_latency() {
            self.latency.record(latency);
        }
    }
}

/// Everything measured about one question.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Recorder {
    question: Question,
    users: Option<String>,
    limit: Option<Duration>,
    measured: Measured,
    intervals: Intervals,
    classes: ByClass,
}

impl Recorder {
    /// An empty recorder for a drive of that length. `limit` is the latency above which a sample is an exceedance, the
    /// tightest that judges the question; without one, only errors and time-outs are.
    pub fn new(question: Question, limit: Option<Duration>, drive: Duration) -> Self {
        let (measured, intervals) = (Measured::new(drive), Intervals::new(drive));
        Self { question, users: None, limit, measured, intervals, classes: ByClass::default() }
    }

    /// A copy of what is judged, without what only appears in reports.
    pub(crate) fn judged(&self) -> Self {
        let Self { question, users, limit, measured, .. } = self;
        Self {
            users: users.clone(),
            measured: measured.judged(),
            ..Self::new(*question, *limit, Duration::from_secs(1))
        }
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

    /// The latencies by interval of the drive.
    pub fn intervals(&self) -> &Intervals {
        &self.intervals
    }

    /// What was measured for each class of tenants.
    pub fn classes(&self) -> &ByClass {
        &self.classes
    }

    /// Counts the sample of a tenant of that class. Whether it exceeds the limit is decided here, from the exact latency
    /// and not from a histogram.
    pub fn record(&mut self, class: TenantClass, sample: Sample) {
        self.measured.record(sample, self.limit);
        self.intervals.record(sample);
        let of_class = self.classes.of_mut(class);
        of_class.counts += Counts::of(sample.outcome, sample.exceeds(self.limit));
        if sample.outcome.has_latency() {
            of_class.latency.record(sample.latency);
        }
    }
}

/// What was measured for one SLO: the samples of its questions and tenants.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SloRecorder {
    slo: Slo,
    measured: Measured,
}

impl SloRecorder {
    /// A copy of what is judged, without what only appears in reports.
    pub(crate) fn judged(&self) -> Self {
        Self { slo: self.slo.clone(), measured: self.measured.judged() }
    }

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
#[derive(Debug, Clone, Serialize, Deserialize)]
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

    /// Adds what another generator measured in a drive of the same scenario.
    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.questions.iter_mut().zip(&other.questions) {
            mine.measured.merge(&theirs.measured);
            mine.intervals.merge(&theirs.intervals);
            mine.classes.merge(&theirs.classes);
        }
        for (mine, theirs) in self.slos.iter_mut().zip(&other.slos) {
            mine.measured.merge(&theirs.measured);
        }
        for (mine, theirs) in self.writes.iter_mut().zip(&other.writes) {
            mine.merge(theirs);
        }
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

    /// Counts the sample of an operation that is no question, of a tenant of that class, for each SLO that judges it.
    pub fn record_operation(&mut self, of: Operation, class: TenantClass, sample: Sample) {
        let judging = |one: &&mut SloRecorder| one.slo.of == of && one.slo.tenants.is_none_or(|judged| judged == class);
        for SloRecorder { slo, measured } in self.slos.iter_mut().filter(judging) {
            measured.record(sample, Some(slo.within));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Option<Duration> = Some(Duration::from_millis(100));

    fn sample(micros: u64, outcome: Outcome) -> Sample {
        let (intended, lag, waited) = Default::default();
        Sample { intended, lag, latency: Duration::from_micros(micros), waited, outcome, backing: Backing::NotAsked }
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
    fn exceedances_that_the_client_itself_caused_are_counted() {
        let mut measured = Measured::new(Duration::from_mins(1));
        let mut record = |waited: u64, latency: u64, outcome, limit| {
            let [waited, latency] = [waited, latency].map(Duration::from_millis);
            measured.record(Sample { latency, waited, ..sample(0, outcome) }, limit);
            std::mem::take(&mut measured.kept_waiting) == 1
        };
        assert!(record(60, 150, Outcome::Correct, LIMIT));
        assert!(!record(40, 150, Outcome::Correct, LIMIT), "the store itself took too long");
        assert!(!record(60, 90, Outcome::Correct, LIMIT), "in time");
        assert!(!record(60, 150, Outcome::Error, LIMIT), "an exceedance anyway");
        assert!(record(9_000, 9_050, Outcome::TimedOut, LIMIT));
        assert!(record(9_000, 9_050, Outcome::TimedOut, None) && !record(1_000, 9_050, Outcome::TimedOut, None));
        assert!(!record(9_000, 9_050, Outcome::Correct, None), "no exceedance without a limit");
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
