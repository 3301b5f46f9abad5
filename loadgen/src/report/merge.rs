//! Merges the reports of all shards of a run into the report of the run: histograms, counts and series are added, and the
//! objectives are judged again on all samples together. Nothing is averaged. It reads and writes no file.

use serde::{Deserialize, Serialize};

use super::contents::{Header, Report};
use super::rates::Rate;
use super::wording::instant;
use crate::measure::{GeneratorHealth, Measurements};
use crate::plan::Shard;
use crate::shards::Agreed;
use crate::verdict::{Findings, Validity, failures, judge, wrong_without_slo};

/// What the report of a shard needs to be merged, besides what every report has.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Parts {
    /// The run, the same for all its shards and for no other run.
    pub run: String,
    /// Everything that was measured.
    measured: Measurements,
    /// How the generator kept up.
    health: GeneratorHealth,
}

impl Parts {
    /// The measurements of a shard of a run.
    pub fn new(run: String, (measured, health): (&Measurements, &GeneratorHealth)) -> Self {
        Self { run, measured: measured.clone(), health: health.clone() }
    }
}

/// Why reports can't be merged.
#[derive(Debug, thiserror::Error)]
pub enum MergeError {
    /// A report is of a whole run, or there is none.
    #[error("merge the reports: {0} is no shard of a run; name the reports of all shards of one run")]
    NoShard(String),
    /// Reports are of several runs.
    #[error(
        "merge the reports: shard {0} is of another run than the others, with its own start; name the reports of one run"
    )]
    OtherRun(Shard),
    /// Reports are of several plans, or of another number of shards.
    #[error(
        "merge the reports: shard {shard} does not drive or judge the same as shard {first}: {difference}; name the reports of \
         one run"
    )]
    OtherPlan {
        /// The shard.
        shard: Shard,
        /// The one that it was compared with.
        first: Shard,
        /// What differs, with the values of both.
        difference: String,
    },
    /// A shard is there twice.
    #[error("merge the reports: shard {0} is there twice; name each report once")]
    Twice(Shard),
    /// Shards are missing.
    #[error("merge the reports: of {of} shards, these are missing: {}; name the reports of all", .missing.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))]
    Missing {
        /// Their numbers.
        missing: Vec<u32>,
        /// The number of all shards.
        of: u32,
    },
}

/// A report of a shard, taken apart.
struct Part {
    shard: Shard,
    parts: Parts,
    report: Report,
}

/// Merges the reports of all shards of one run, in any order.
pub fn merge(reports: Vec<Report>) -> Result<Report, MergeError> {
    let mut parts = reports.into_iter().map(Part::new).collect::<Result<Vec<_>, _>>()?;
    parts.sort_by_key(|part| part.shard);
    check(&parts)?;
    let mut all = parts.into_iter();
    let Some(first) = all.next() else { return Err(MergeError::NoShard("nothing".to_owned())) };
    let Part { shard, parts: Parts { mut measured, mut health, .. }, report: mut merged } = first;
    let mut validity = reasons(shard, &merged.findings.validity);
    let mut interrupted = interruption(shard, &merged.findings);
    for Part { shard, parts, report } in all {
        measured.merge(&parts.measured);
        health.merge(&parts.health);
        validity.extend(reasons(shard, &report.findings.validity));
        interrupted = interrupted.or_else(|| interruption(shard, &report.findings));
        merged.findings.failures.extend(report.findings.failures);
        add_rates(&mut merged.rates, &report.rates);
        merged.account = merged.account.or(report.account);
    }
    let scenario = &merged.run.scenario;
    let (slos, availability) = judge(scenario, &measured);
    let failures = failures(merged.findings.failures, scenario, &measured.questions);
    let validity = if validity.is_empty() { Validity::Valid } else { Validity::Invalid(validity) };
    let findings = Findings { slos, availability, validity, interrupted, failures };
    let header = Header { shard: None, merged_shards: Some(shard.of()), ..merged.run };
    Ok(Report::new(header, findings, (&measured, &health), merged.rates, merged.account))
}

impl Part {
    fn new(mut report: Report) -> Result<Self, MergeError> {
        let whole = || MergeError::NoShard(format!("the run of {}", instant(&report.run.started_at)));
        let shard = report.run.shard.ok_or_else(whole)?;
        let parts = report.parts.clone().ok_or_else(whole)?;
        report.parts = None;
        // Each shard says what it knows of its own answers; the questions of all shards are judged again.
        let own = wrong_without_slo(&report.run.scenario, &parts.measured.questions);
        report.findings.failures.retain(|failure| !own.contains(failure));
        Ok(Self { shard, parts: *parts, report })
    }

    fn agreed(&self) -> Agreed {
        Agreed::new(&self.report.run.scenario, &self.report.run.digest, self.shard.of())
    }
}

fn check(parts: &[Part]) -> Result<(), MergeError> {
    let Some(first) = parts.first() else { return Ok(()) };
    let (of, agreed) = (first.shard.of(), first.agreed());
    for part in parts {
        if let Some(difference) = part.agreed().difference(&agreed) {
            return Err(MergeError::OtherPlan { shard: part.shard, first: first.shard, difference });
        }
        if part.parts.run != first.parts.run {
            return Err(MergeError::OtherRun(part.shard));
        }
    }
    if let Some(twice) = parts.windows(2).find(|pair| pair[0].shard == pair[1].shard) {
        return Err(MergeError::Twice(twice[0].shard));
    }
    let missing: Vec<u32> =
        (1..=of).filter(|number| !parts.iter().any(|part| part.shard.number() == *number)).collect();
    if missing.is_empty() { Ok(()) } else { Err(MergeError::Missing { missing, of }) }
}

/// Why a shard was invalid, each with its name: every generator was judged on its own machine.
fn reasons(shard: Shard, validity: &Validity) -> Vec<String> {
    match validity {
        Validity::Valid => Vec::new(),
        Validity::Invalid(reasons) => reasons.iter().map(|reason| format!("shard {shard}: {reason}")).collect(),
    }
}

/// What a shard was doing when it was interrupted, with its name.
fn interruption(shard: Shard, findings: &Findings) -> Option<String> {
    findings.interrupted.as_ref().map(|doing| format!("{doing} (shard {shard})"))
}

/// Adds what a shard planned and produced. Only the first shard sees when everything has landed.
fn add_rates(all: &mut [Rate], more: &[Rate]) {
    for rate in all {
        if let Some(other) = more.iter().find(|other| other.kind == rate.kind) {
            rate.planned += other.planned;
            rate.produced += other.produced;
            rate.produced_in = rate.produced_in.max(other.produced_in);
        }
    }
}
