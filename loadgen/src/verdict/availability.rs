//! The tests of availability: for each store, the share of its questions and writes that succeed, and for writes that
//! the drive retries, the share that succeeds at the first attempt. An answer within its time-out is no failure here,
//! however slow or wrong.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sluice_schemas::Store;

use super::hypothesis::Hypothesis;
use super::proportion::Proportion;
use super::reason::Bad;
use crate::binomial::Verdict;
use crate::measure::{Measurements, WriteRecorder, blocks::Blocks};
use crate::scenario::{self, Undecided};

/// What must succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// Questions and writes, after all attempts.
    Operations,
    /// The first attempts of writes.
    FirstAttempts,
}

/// The availability of one store, judged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Availability {
    /// The store.
    #[schemars(with = "String")]
    pub store: Store,
    /// What must succeed.
    pub subject: Subject,
    /// Share that must succeed, 0 to 1.
    pub objective: f64,
    /// Questions and writes.
    pub samples: u64,
    /// Errors and time-outs.
    pub failed: u64,
    /// The test, and the verdict.
    #[serde(flatten)]
    pub test: Proportion,
    /// What an INCONCLUSIVE verdict means for the run.
    pub undecided: Undecided,
}

impl Availability {
    /// Whether it keeps the run from a PASS: it is missed, or undecided where that blocks. What the scenario allows is a run that is too
    /// short to show the objective, not one in which more failed than the objective allows.
    pub fn blocks(&self) -> bool {
        let is_allowed =
            self.undecided == Undecided::Allow && self.failed as f64 <= self.samples as f64 * self.test.allowed;
        match self.test.verdict {
            Verdict::Pass => false,
            Verdict::Fail => true,
            Verdict::Inconclusive => !is_allowed,
        }
    }
}

/// Tests every store that was asked or written to.
pub(super) fn test(measured: &Measurements, objective: scenario::Availability) -> Vec<Availability> {
    let Measurements { questions: recorders, writes, .. } = measured;
    let asked = recorders.first().map(|one| &one.measured().failures);
    let drive = asked.or(writes.first().map(WriteRecorder::outcomes)).map_or(Duration::from_secs(1), Blocks::drive);
    let operations = Store::ALL.iter().filter_map(|&store| {
        let mut together = Blocks::new(drive);
        let asked = recorders.iter().filter(|recorder| Store::from(recorder.question().store()) == store);
        let failures = asked.map(|recorder| &recorder.measured().failures);
        let behind = recorders.iter().filter(|one| one.question().backing_store().map(Store::from) == Some(store));
        let behind = behind.map(|recorder| &recorder.measured().backing);
        failures
            .chain(behind)
            .chain(written(writes, store).map(WriteRecorder::outcomes))
            .for_each(|one| together.merge(one));
        let is_used =
            together.samples() > 0 || recorders.iter().any(|one| Store::from(one.question().store()) == store);
        is_used.then(|| judge(store, (Subject::Operations, objective.objective), objective, &together))
    });
    let first_attempts = objective.first_attempts.into_iter().flat_map(|share| {
        let attempts = writes.iter().filter_map(|one| Some((one.store(), one.first_attempts()?)));
        attempts.map(move |(store, blocks)| judge(store, (Subject::FirstAttempts, share), objective, blocks))
    });
    operations.chain(first_attempts).collect()
}

fn written(writes: &[WriteRecorder], store: Store) -> impl Iterator<Item = &WriteRecorder> {
    writes.iter().filter(move |one| one.store() == store)
}

fn judge(
    store: Store,
    (subject, objective): (Subject, f64),
    scenario::Availability { longest_outage, undecided, .. }: scenario::Availability,
    outcomes: &Blocks,
) -> Availability {
    let hypothesis =
        Hypothesis { allowed: 1.0 - objective, alpha: scenario::Availability::ALPHA, longest_stall: longest_outage };
    let (samples, failed) = (outcomes.samples(), outcomes.exceedances());
    let test = Proportion::test(outcomes, hypothesis, Bad::Failures);
    Availability { store, subject, objective, samples, failed, test, undecided }
}
