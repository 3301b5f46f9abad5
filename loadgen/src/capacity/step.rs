//! One step of a search: a trial at one rate, with what the stores were busy with, until it is decided and everything it wrote
//! has landed. What it wrote is removed at its end, so that every step finds the same tables. It never chooses a rate.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sluice_schemas::names::Names;
use sluice_schemas::stores::Stores;
use tokio_util::sync::CancellationToken;

use super::monitor::{Monitor, Observed, merges};
use super::scaling::Point;
use super::search::{Hold, Outcome};
use super::subject::{LENGTHENED, Subject};
use crate::account::Settled;
use crate::drive::Driven;
use crate::load::LoadError;
use crate::measure::DurationHistogram;
use crate::observer::Observer;
use crate::plan::Totals;
use crate::scenario::{Scenario, exact_duration};
use crate::session::Session;
use crate::trial::{Trial, TrialError};
use crate::verdict::{Findings, Judged, Overall, Validity, Verdict};

/// Seconds in which the records of a step must land: the age at which a batch is sealed, twice.
const LANDING: Duration = Duration::from_mins(1);
/// Longest wait for ClickHouse's merges after a step; they never end on busy tables.
const MERGING: Duration = Duration::from_secs(30);
/// Interval between two looks at the merges.
const POLL: Duration = Duration::from_millis(500);
/// Warm-up of all steps but the first: the stores are warm, and only connections are new.
const WARM_UP: Duration = Duration::from_secs(5);

/// A step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Step {
    /// Number of its trial, from 1.
    pub trial: u32,
    /// The factor on the scenario's rate.
    pub factor: f64,
    /// What the hold is for.
    pub hold: Hold,
    /// Seconds for which the rate was held.
    pub seconds: f64,
    /// What it says about its rate.
    pub outcome: Outcome,
    /// Whether the search goes by it: of an undecided step and its longer repeats, it goes by one.
    pub is_decisive: bool,
    /// Whether everything that it wrote landed, so that it could be removed before the next step.
    pub has_landed: bool,
    /// Why it did not pass, a sentence each.
    pub reasons: Vec<String>,
    /// Names of the SLOs that it missed or could not decide.
    pub slos: Vec<String>,
    /// Questions per second, as offered.
    pub questions: f64,
    /// Records per second that the stores acknowledged.
    pub records: f64,
    /// Each SLO's 95th percentile, in microseconds.
    pub p95_us: Vec<(String, Option<u64>)>,
    /// Load and throughput of the questions that are scaled; `None` if none was answered.
    pub point: Option<Point>,
    /// What the stores and the machine were busy with.
    pub observed: Observed,
}

/// What steps have in common.
pub(super) struct Steps<'a> {
    pub(super) session: &'a Session,
    pub(super) subject: Subject,
    pub(super) observer: &'a dyn Observer,
    pub(super) stop: &'a CancellationToken,
}

/// Says why the ingest worker no longer runs.
pub type Alive<'a> = dyn FnMut() -> Result<(), String> + Send + 'a;

impl Steps<'_> {
    /// Holds a rate until it is decided, at most four times as long as `length`; a confirming hold once. Adds every hold to
    /// `tried`, also where an error ends them; without one, the last of them that says something is decisive. `trial` is the number of
    /// the last trial.
    pub(super) async fn decide(
        &self,
        (factor, hold, length): (f64, Hold, Duration),
        trial: &mut u32,
        alive: &mut Alive<'_>,
        tried: &mut Vec<Step>,
    ) -> Result<(), TrialError> {
        let most = if hold == Hold::Confirm { 0 } else { LENGTHENED };
        let mut lengthened = 0;
        loop {
            *trial += 1;
            let length = length * 2_u32.pow(lengthened);
            let step = Box::pin(self.run((factor, hold, length), *trial, alive)).await?;
            let is_undecided = matches!(step.outcome, Outcome::Undecided | Outcome::TooFewSamples);
            let is_over = !is_undecided || lengthened == most;
            tried.push(step);
            if is_over {
                // If the generator can't even hold the rate for longer, what the shorter hold said is all that is known.
                let decisive = tried.iter().rposition(|step| step.outcome != Outcome::GeneratorGaveWay);
                tried[decisive.unwrap_or(0)].is_decisive = true;
                return Ok(());
            }
            lengthened += 1;
            let longer = exact_duration(length * 2);
            self.observer.step_finished(&format!("undecided, so the rate is held again for {longer}"));
        }
    }

    async fn run(
        &self,
        (factor, hold, length): (f64, Hold, Duration),
        number: u32,
        alive: &mut Alive<'_>,
    ) -> Result<Step, TrialError> {
        if !self.session.outlasts(length + LANDING) {
            return Err(TrialError::Expires);
        }
        let mut scenario = self.subject.step(self.session.scenario(), factor, length);
        if number > 1 {
            scenario.warm_up = scenario.warm_up.min(WARM_UP);
        }
        let context = self.session.context();
        let (stores, names) = (context.stores, context.names);
        let mut trial = Trial::numbered(number, scenario.clone(), self.session, self.observer, self.stop).await?;
        let monitor = Monitor::start(stores, names).await;
        let driven = Box::pin(trial.drive()).await;
        let mut observed = monitor.finish().await;
        let driven = driven?;
        // Without a worker every later rate would fail too, and say nothing about the stores.
        alive().map_err(TrialError::Worker)?;
        let settled = trial.settle(&driven).await?;
        // Before the first look, the last answers of the drive were awaited.
        if let Some(settled) = settled.filter(|settled| settled.behind > 0) {
            (observed.lag, observed.landed_after) = (settled.behind, settled.took.as_secs_f64());
        }
        settled.and_then(too_late).into_iter().for_each(|late| trial.fail(late));
        observed.pool_share = pool_share(&driven);
        if hold == Hold::Confirm {
            // Its differences are failures of the trial.
            drop(Box::pin(trial.account(&driven)).await?);
        }
        let has_landed = settled.is_some_and(|settled| settled.is_complete());
        if has_landed {
            self.session.restore(self.stop).await.map_err(|error| match error {
                LoadError::Stopped => TrialError::Stopped,
                error => TrialError::Restore(error),
            })?;
        }
        wait_for_merges(stores, names, self.stop).await;
        let point = point(self.subject, &driven, scenario.duration);
        let findings = trial.findings(&driven);
        Ok(step((number, factor, hold), &scenario, findings, (&driven, point, has_landed), observed))
    }
}

/// The failure of records that did not land in time, or never.
fn too_late(settled: Settled) -> Option<String> {
    if !settled.is_complete() {
        let missing = settled.produced - settled.arrived;
        return Some(format!("{missing} records never landed, nor were they dead-lettered"));
    }
    let took = settled.took.as_secs_f64();
    let limit = exact_duration(LANDING);
    (settled.behind > 0 && settled.took > LANDING).then(|| {
        format!("the last record landed {took:.0} s after the drive, and the limit is {limit}: ingest does not keep up")
    })
}

async fn wait_for_merges(stores: &Stores, names: &Names, stop: &CancellationToken) {
    let merged = async {
        while merges(stores, names).await.is_some_and(|merges| merges > 0) {
            tokio::time::sleep(POLL).await;
        }
    };
    tokio::select! {
        _ = tokio::time::timeout(MERGING, merged) => {}
        () = stop.cancelled() => {}
    }
}

/// Largest share of the latency of a question, or of a transaction, that was a wait for a connection of the generator, at the 95th
/// percentile.
fn pool_share(driven: &Driven) -> f64 {
    let share = |(waited, latency): (&DurationHistogram, &DurationHistogram)| {
        let (waited, latency) = (waited.quantile(0.95)?, latency.quantile(0.95)?);
        Some(waited.as_secs_f64() / latency.as_secs_f64().max(1e-6))
    };
    let measured = &driven.measured;
    let asked = measured.questions.iter().map(|one| (&one.measured().waited, &one.measured().latency));
    let written = measured.writes.iter().map(|one| (one.waited(), one.latency()));
    asked.chain(written).filter_map(share).fold(0.0, f64::max).min(1.0)
}

/// How many of the scaled questions were in progress on average, and how many were answered per second.
fn point(subject: Subject, driven: &Driven, drive: Duration) -> Option<Point> {
    let scaled = driven.measured.questions.iter().filter(|one| subject.scales(one.question()));
    let (mut took, mut answered) = (0.0, 0);
    for measured in scaled.map(crate::measure::Recorder::measured) {
        let (latency, counts) = (&measured.latency, measured.counts);
        // One that was given up was in progress too, but is no throughput.
        took += latency.mean().as_secs_f64() * latency.len() as f64;
        answered += counts.samples - counts.errors - counts.timed_out;
    }
    // Little's law: the seconds that all of them took, by the seconds of the drive.
    let [load, throughput] = [took, answered as f64].map(|sum| sum / drive.as_secs_f64());
    (answered > 0 && load > 0.0).then_some(Point { load, throughput })
}

fn step(
    (trial, factor, hold): (u32, f64, Hold),
    scenario: &Scenario,
    findings: Findings,
    (driven, point, has_landed): (&Driven, Option<Point>, bool),
    observed: Observed,
) -> Step {
    let seconds = scenario.duration.as_secs_f64();
    let outcome = match findings.overall() {
        Overall::Pass => Outcome::Passed,
        Overall::Fail => Outcome::Failed,
        Overall::Inconclusive if findings.slos.iter().any(has_too_few_samples) => Outcome::TooFewSamples,
        Overall::Inconclusive => Outcome::Undecided,
        Overall::Invalid => Outcome::GeneratorGaveWay,
    };
    // Those of a warm-up that writes are in that time too.
    let written_in = driven.written_in.as_secs_f64();
    let records: u64 = driven.acknowledged.iter().map(Totals::all).sum();
    let missed = findings.slos.iter().filter(|one| Some(one.test.verdict) == counted(outcome));
    let slos: Vec<String> = missed.map(|one| one.slo.name.clone()).collect();
    Step {
        trial,
        factor,
        hold,
        seconds,
        outcome,
        is_decisive: false,
        has_landed,
        slos,
        questions: scenario.probes.values().sum(),
        records: records as f64 / written_in,
        p95_us: findings.slos.iter().map(|one| (one.slo.name.clone(), one.latency.p95_us)).collect(),
        point,
        observed,
        reasons: reasons(outcome, findings),
    }
}

/// Whether nothing exceeded an SLO's limit, and the samples are too few to show that nothing does.
fn has_too_few_samples(judged: &Judged) -> bool {
    let test = &judged.test;
    test.verdict == Verdict::Inconclusive
        && judged.counts.exceedances == 0
        && test.has_too_few_samples(judged.slo.alpha)
}

/// The verdict on an SLO that keeps a step from passing.
fn counted(outcome: Outcome) -> Option<Verdict> {
    match outcome {
        Outcome::Failed => Some(Verdict::Fail),
        Outcome::Undecided | Outcome::TooFewSamples => Some(Verdict::Inconclusive),
        Outcome::Passed | Outcome::GeneratorGaveWay => None,
    }
}

/// Why a step did not pass: what no latency outweighs, the generator's faults, and the SLOs.
fn reasons(outcome: Outcome, findings: Findings) -> Vec<String> {
    let mut reasons = findings.failures;
    if let Validity::Invalid(faults) = findings.validity {
        reasons.extend(faults);
    }
    let Some(verdict) = counted(outcome) else { return reasons };
    let slos = findings.slos.into_iter().filter(|one| one.test.verdict == verdict);
    reasons.extend(slos.map(|one| format!("{}: {}", one.slo.name, one.test.reason)));
    let availability = findings.availability.into_iter().filter(|one| one.test.verdict == verdict && one.blocks());
    reasons.extend(availability.map(|one| format!("availability of {}: {}", one.store, one.test.reason)));
    reasons
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_that_land_late_or_never_fail_a_step() {
        let settled =
            |arrived, seconds| Settled { produced: 10, arrived, behind: 5, took: Duration::from_secs(seconds) };
        assert_eq!(too_late(Settled { behind: 0, ..settled(10, 75) }), None, "only the last answers took so long");
        assert_eq!(too_late(settled(10, 31)), None);
        insta::assert_snapshot!(too_late(settled(10, 75)).unwrap(), @"the last record landed 75 s after the drive, and the limit is 1 min: ingest does not keep up");
        insta::assert_snapshot!(too_late(settled(7, 5)).unwrap(), @"3 records never landed, nor were they dead-lettered");
    }
}
