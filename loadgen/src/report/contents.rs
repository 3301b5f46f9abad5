//! The contents of a report, in the form of its JSON. It renders nothing.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::generator::Generator;
use super::machine::Machine;
use super::merge::Parts;
use super::rates::Rate;
use super::series::{SeriesReport, SloReport, WriteReport};
use crate::account::Account;
use crate::measure::{Counts, DurationHistogram, GeneratorHealth, Intervals, Measurements, OfClass, Recorder};
use crate::plan::Shard;
use crate::population::TenantClass;
use crate::question::{Question, Store};
use crate::scenario::Scenario;
use crate::verdict::{Findings, Latency, Overall};

/// Version of the JSON form. Incremented when a field is removed, renamed or changes its meaning; not for new fields.
pub const VERSION: u32 = 6;

/// A run, as the JSON report contains it. `docs/report.schema.json` is its schema.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Report {
    /// [`VERSION`].
    pub version: u32,
    /// The scenario, the machine and the stores of a run.
    pub run: Header,
    /// The verdict on the run.
    pub verdict: Overall,
    /// What the verdict is based on.
    pub findings: Findings,
    /// How the generator kept up.
    pub generator: Generator,
    /// Each question separately; only SLOs are judged.
    pub questions: Vec<QuestionReport>,
    /// The latencies of each SLO; its verdict is in the findings.
    pub slos: Vec<SloReport>,
    /// Writes to each store by time.
    pub writes: Vec<WriteReport>,
    /// Rates of each kind of record.
    pub rates: Vec<Rate>,
    /// The account of all records; `None` if nothing was written, or the run was interrupted after its drive.
    pub account: Option<Account>,
    /// What `sluice report merge` needs of a shard; `None` if the whole plan was driven.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<serde_json::Value>")]
    pub parts: Option<Box<Parts>>,
}

/// The scenario, the machine and the stores of a run.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Header {
    /// Start of the drive.
    pub started_at: DateTime<Utc>,
    /// The scenario with all its values, including both seeds.
    pub scenario: Scenario,
    /// [`crate::plan::Digests::plan`].
    pub digest: String,
    /// The machine of the generator.
    pub machine: Machine,
    /// The version of each store, as the store tells it, by name of the store; without those that don't tell.
    pub stores: BTreeMap<String, String>,
    /// The configuration, its secrets hidden by their type.
    pub config: serde_json::Value,
    /// The part of the plan that was driven; `None` if all of it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shard: Option<Shard>,
    /// The number of shards from which the report was merged; `None` if it was not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub merged_shards: Option<u32>,
}

/// Measurements of one question.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct QuestionReport {
    /// The question.
    pub question: Question,
    /// The users who ask, one question at a time: latencies are service times, not corrected for coordinated
    /// omission. `None` if the question is asked at a rate.
    pub users: Option<String>,
    /// The store that answers.
    pub store: Store,
    /// Planned average rate, per second; 0 for users, who ask at no rate.
    pub rate: f64,
    /// Probes by outcome.
    pub counts: Counts,
    /// Latencies from the intended start.
    pub latency: Latency,
    /// 99th percentile of the send lag, in microseconds; `None` if nothing was sent.
    pub lag_p99_us: Option<u64>,
    /// 95th percentile of the wait for a connection of the generator, which is part of the latency, in microseconds;
    /// `None` if nothing was sent.
    pub waited_p95_us: Option<u64>,
    /// Latencies of answers and time-outs.
    pub histogram: DurationHistogram,
    /// Samples by time.
    pub series: SeriesReport,
    /// The latencies by longer intervals, in full; `None` in reports of versions that did not keep them.
    #[serde(default)]
    pub intervals: Option<IntervalsReport>,
    /// Each class of tenants that asked this question.
    pub classes: Vec<ClassReport>,
}

/// Latencies of answers and time-outs by interval of the drive: of ten seconds, or a 60th of the drive if that is longer.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct IntervalsReport {
    /// Length of an interval in seconds; the last one may be shorter.
    pub length_s: f64,
    /// The latencies of each interval, by intended start.
    pub histograms: Vec<DurationHistogram>,
}

impl From<&Intervals> for IntervalsReport {
    fn from(intervals: &Intervals) -> Self {
        Self { length_s: intervals.length().as_secs_f64(), histograms: intervals.histograms().collect() }
    }
}

/// Measurements of one question, of the tenants of one class.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct ClassReport {
    /// The class of tenants.
    pub tenants: TenantClass,
    /// Probes by outcome.
    pub counts: Counts,
    /// Latencies from the intended start.
    pub latency: Latency,
    /// Latencies of answers and time-outs.
    pub histogram: DurationHistogram,
}

impl QuestionReport {
    /// The question, and the users who ask it.
    pub fn name(&self) -> String {
        let question = self.question;
        self.users.as_ref().map_or_else(|| question.to_string(), |users| format!("{question} ({users})"))
    }
}

impl Report {
    /// Creates a report; the verdict follows from the findings.
    pub fn new(
        run: Header,
        findings: Findings,
        (measured, health): (&Measurements, &GeneratorHealth),
        rates: Vec<Rate>,
        account: Option<Account>,
    ) -> Self {
        let Measurements { questions, slos, writes } = measured;
        Self {
            version: VERSION,
            verdict: findings.overall(),
            findings,
            generator: Generator::new(questions, health),
            questions: questions.iter().map(|recorder| question_report(&run.scenario, recorder)).collect(),
            slos: slos.iter().map(SloReport::from).collect(),
            writes: writes.iter().map(WriteReport::from).collect(),
            rates,
            account,
            parts: None,
            run,
        }
    }
}

impl Report {
    /// The same report with what it takes to merge it with those of the other shards of `run`.
    #[must_use]
    pub fn with_parts(self, run: String, measured: (&Measurements, &GeneratorHealth)) -> Self {
        Self { parts: Some(Box::new(Parts::new(run, measured))), ..self }
    }
}

pub(super) fn question_report(scenario: &Scenario, recorder: &Recorder) -> QuestionReport {
    let (question, measured) = (recorder.question(), recorder.measured());
    // The values of a question of the scenario's own come from no tenant of the population.
    let is_about_tenants = !matches!(question, Question::Custom(_));
    let classes = recorder.classes().sampled().filter(|_| is_about_tenants);
    QuestionReport {
        question,
        users: recorder.users().map(str::to_owned),
        store: question.store(),
        rate: if recorder.users().is_none() { scenario.mean_rate(question, None) } else { 0.0 },
        counts: measured.counts,
        latency: (&measured.latency).into(),
        lag_p99_us: measured.lag.quantile(0.99).map(|lag| lag.as_micros() as u64),
        waited_p95_us: measured.waited.quantile(0.95).map(|waited| waited.as_micros() as u64),
        histogram: measured.latency.clone(),
        series: (&measured.series).into(),
        intervals: Some(recorder.intervals().into()),
        classes: classes.map(class_report).collect(),
    }
}

fn class_report((tenants, measured): (TenantClass, &OfClass)) -> ClassReport {
    let OfClass { counts, latency: histogram } = measured;
    ClassReport { tenants, counts: *counts, latency: histogram.into(), histogram: histogram.clone() }
}
