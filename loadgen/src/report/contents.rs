//! The contents of a report, in the form of its JSON.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::generator::Generator;
use super::machine::Machine;
use super::rates::Rate;
use crate::account::Account;
use crate::measure::{Counts, GeneratorHealth, Recorder};
use crate::question::{Question, Store};
use crate::scenario::Scenario;
use crate::verdict::{Findings, Latency, Overall};

/// Version of the JSON form. Incremented when a field is removed, renamed or changes its meaning; not for new fields.
pub const VERSION: u32 = 4;

/// A run, as the JSON report contains it.
#[derive(Debug, Clone, Serialize)]
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
    /// Rates of each kind of record.
    pub rates: Vec<Rate>,
    /// The account of all records; `None` if nothing was written.
    pub account: Option<Account>,
}

/// The scenario, the machine and the stores of a run.
#[derive(Debug, Clone, Serialize)]
pub struct Header {
    /// Start of the drive.
    pub started_at: DateTime<Utc>,
    /// The scenario with all its values, including both seeds.
    pub scenario: Scenario,
    /// [`crate::plan::Plan::digest`].
    pub digest: String,
    /// The machine of the generator.
    pub machine: Machine,
    /// Versions of the stores, by name.
    pub stores: BTreeMap<String, String>,
    /// The configuration, its secrets hidden by their type.
    pub config: serde_json::Value,
}

/// Measurements of one question.
#[derive(Debug, Clone, Serialize)]
pub struct QuestionReport {
    /// The question.
    pub question: Question,
    /// The users who ask, one question after the other: latencies are service times, not corrected for coordinated
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
}

impl Report {
    /// Creates a report; the verdict follows from the findings.
    pub fn new(
        run: Header,
        findings: Findings,
        (recorders, health): (&[Recorder], &GeneratorHealth),
        rates: Vec<Rate>,
        account: Option<Account>,
    ) -> Self {
        let questions = recorders.iter().map(|recorder| question_report(&run.scenario, recorder)).collect();
        let (verdict, generator) = (findings.overall(), Generator::new(recorders, health));
        Self { version: VERSION, verdict, run, findings, generator, questions, rates, account }
    }
}

pub(super) fn question_report(scenario: &Scenario, recorder: &Recorder) -> QuestionReport {
    let (question, measured) = (recorder.question(), recorder.measured());
    QuestionReport {
        question,
        users: recorder.users().map(str::to_owned),
        store: question.store(),
        rate: if recorder.users().is_none() { scenario.mean_rate(question, None) } else { 0.0 },
        counts: measured.counts,
        latency: measured.into(),
        lag_p99_us: measured.lag.quantile(0.99).map(|lag| lag.as_micros() as u64),
    }
}
