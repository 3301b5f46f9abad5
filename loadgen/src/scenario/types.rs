//! The values of a checked scenario. This module never reads or checks a file.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::limits::{Connections, TimeOuts};
use super::rates::{Piece, Rates};
use super::slo::{Operation, Slo};
use super::stages::{Factor, Stage, factors};
use crate::population::Parameters;
use crate::question::Question;
use crate::question::custom::CustomQuestion;

/// A checked scenario.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Scenario {
    /// Short name, used in reports.
    pub name: String,
    /// A one-sentence description.
    pub description: String,
    /// Seed of all data.
    pub seed: u64,
    /// Seed of the probes' keys; with another one, a rerun on the same data does not hit warm caches.
    pub key_seed: u64,
    /// First instant of the simulated time that is driven.
    pub start: DateTime<Utc>,
    /// Simulated time that is driven.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub span: Duration,
    /// Wall time in which that simulated time is driven.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub duration: Duration,
    /// Wall time before the drive in which questions are asked and answers are not recorded.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub warm_up: Duration,
    /// Whether records are also written during the warm-up.
    pub warm_up_writes: bool,
    /// Maximum time in which the account waits for the next record to land.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub settle: Duration,
    /// Number of tenants.
    pub tenants: u32,
    /// Exponent of the tenants' sizes (Zipf): 0 makes them equal.
    pub tenant_skew: f64,
    /// Number of customers of all tenants.
    pub customers: u64,
    /// Number of customers per campaign.
    pub customers_per_campaign: u64,
    /// Number of customers per agent.
    pub customers_per_agent: u64,
    /// Number of past communications, loaded before the drive.
    pub history: u64,
    /// Simulated time before `start` over which they are spread.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub history_span: Duration,
    /// Number of communications that a drive without stages and without a warm-up that writes would write.
    pub communications: u64,
    /// How the writes are spread over the drive.
    pub pace: Pace,
    /// Simulated time between two measurements of an agent.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub metric_interval: Duration,
    /// Spacing of the probes' intended starts.
    pub arrivals: Arrivals,
    /// The factor on the communications and on the questions' rates that is already part of both.
    pub rate: f64,
    /// Rate of each question outside the stages, per second of wall time.
    pub probes: BTreeMap<Question, f64>,
    /// The questions whose rates follow the calendar.
    pub by_calendar: BTreeSet<Question>,
    /// The questions of the scenario's own.
    #[serde(default)]
    pub questions: Vec<CustomQuestion>,
    /// Whether there is a population with records; without one, the scenario only asks an existing deployment.
    #[serde(default = "is_described")]
    pub describes_population: bool,
    /// Factors on the rates over time, in order of time; those of all tenants first.
    pub stages: Vec<Stage>,
    /// The users who ask one question at a time.
    pub users: Vec<Users>,
    /// The SLOs that are judged.
    pub slos: Vec<Slo>,
    /// The availability that is judged, for each store.
    pub availability: Availability,
    /// Time-outs of answers.
    pub time_outs: TimeOuts,
    /// Connections of the generator.
    pub connections: Connections,
}

/// Every scenario of earlier reports describes its population.
fn is_described() -> bool {
    true
}

/// What a run may do to the stores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Write records, and ask.
    ReadWrite,
    /// Only ask, and so that no store executes a write.
    ReadOnly,
}

/// The arrival process: how intended starts are spaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Arrivals {
    /// Exponential gaps, as of many independent users.
    Poisson,
    /// Equal gaps.
    Constant,
}

/// How the writes are spread over the drive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Pace {
    /// As simulated time passes: office hours are busier than nights.
    Calendar,
    /// Evenly: quiet hours of simulated time pass faster than busy ones.
    Steady,
}

/// The availability of each store: the share of its questions and writes that succeed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Availability {
    /// Share that must succeed, 0 to 1.
    pub objective: f64,
    /// Share of retried writes that must succeed at the first attempt, if that is judged.
    pub first_attempts: Option<f64>,
    /// A PASS must hold for outages of up to this length; `None` if it says itself for which it holds.
    #[serde(default, with = "humantime_serde")]
    #[schemars(with = "Option<String>")]
    pub longest_outage: Option<Duration>,
    /// What a run means that is too short to decide it.
    pub undecided: Undecided,
}

impl Availability {
    /// Maximum accepted probability of a wrong PASS, and of a wrong FAIL.
    pub(crate) const ALPHA: f64 = 0.05;
}

impl Default for Availability {
    fn default() -> Self {
        Self { objective: 0.9999, first_attempts: None, longest_outage: None, undecided: Undecided::Block }
    }
}

/// What an undecided objective means for the verdict on the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Undecided {
    /// The run is INCONCLUSIVE.
    Block,
    /// The objective is shown as INCONCLUSIVE, and the run may pass.
    Allow,
}

/// A group of users, each of whom thinks, asks, waits for the answer and thinks again (a closed loop). A slow store is
/// asked less often, so their latencies are service times, not corrected for coordinated omission.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Users {
    /// Name in reports and in [`Slo::users`].
    pub name: String,
    /// Number of users.
    pub count: u32,
    /// Mean time before a question; exponentially distributed.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub think_time: Duration,
    /// Each question with its part of all questions.
    pub questions: BTreeMap<Question, u64>,
}

impl Users {
    /// Share of their questions that is this one, 0 to 1.
    pub fn share_of(&self, question: Question) -> f64 {
        let all: u64 = self.questions.values().sum();
        self.questions.get(&question).copied().unwrap_or(0) as f64 / all.max(1) as f64
    }

    /// The questions per second that they never exceed, on average: those of a store that answers at once.
    pub fn highest_rate(&self) -> f64 {
        f64::from(self.count) / self.think_time.as_secs_f64()
    }
}

impl From<&Scenario> for Parameters {
    fn from(scenario: &Scenario) -> Self {
        Self {
            seed: scenario.seed,
            start: scenario.start,
            span: scenario.span,
            history_span: scenario.history_span,
            tenants: scenario.tenants,
            tenant_skew: scenario.tenant_skew,
            customers: scenario.customers,
            customers_per_campaign: scenario.customers_per_campaign,
            customers_per_agent: scenario.customers_per_agent,
            history: scenario.history,
            communications: scenario.communications,
            driven_factors: (0..scenario.tenants).map(|tenant| scenario.write_factor(tenant)).collect(),
            metric_interval: scenario.metric_interval,
        }
    }
}

impl Scenario {
    /// Its name, with its description if it has one.
    pub fn title(&self) -> String {
        let separator = if self.description.is_empty() { "" } else { ": " };
        format!("{}{separator}{}", self.name, self.description)
    }

    /// Simulated seconds for each second of wall time.
    pub fn compression(&self) -> f64 {
        self.span.as_secs_f64() / self.duration.as_secs_f64()
    }

    /// The scenario with a factor on what `drive.rate` scales: the communications and the questions that are asked at a
    /// rate. The population and its past stay.
    #[must_use]
    pub fn at_rate(&self, factor: f64) -> Self {
        Self {
            communications: ((self.communications as f64 * factor).round() as u64).max(1),
            probes: self.probes.iter().map(|(question, rate)| (*question, rate * factor)).collect(),
            rate: self.rate * factor,
            ..self.clone()
        }
    }

    /// The SLOs that judge a question which is asked by those users, or at a rate.
    pub fn slos_of(&self, question: Question, users: Option<&str>) -> impl Iterator<Item = &Slo> {
        self.slos.iter().filter(move |slo| slo.is_about(question, users))
    }

    /// The tightest latency limit that judges a question which is asked by those users, or at a rate.
    pub fn limit_of(&self, question: Question, users: Option<&str>) -> Option<Duration> {
        self.slos_of(question, users).map(|slo| slo.within).min()
    }

    /// The longest latency limit that judges an operation which is no question.
    pub(crate) fn longest_limit(&self, of: Operation) -> Option<Duration> {
        self.slos.iter().filter(|slo| slo.of == of).map(|slo| slo.within).max()
    }

    /// The shortest latency limit that judges an operation which is no question.
    pub(crate) fn shortest_limit(&self, of: Operation) -> Option<Duration> {
        self.slos.iter().filter(|slo| slo.of == of).map(|slo| slo.within).min()
    }

    /// The shortest latency limit of each question that an SLO judges, whoever asks it.
    pub(crate) fn limits(&self) -> BTreeMap<Question, Duration> {
        let mut limits = BTreeMap::new();
        for slo in &self.slos {
            for &question in &slo.questions {
                let limit = limits.entry(question).or_insert(slo.within);
                *limit = slo.within.min(*limit);
            }
        }
        limits
    }

    /// Every question that is asked, at a rate or by users.
    pub fn questions_asked(&self) -> BTreeSet<Question> {
        self.probes.keys().chain(self.users.iter().flat_map(|users| users.questions.keys())).copied().collect()
    }

    /// Whether a run with that access can do all that the scenario says. Reading a scenario for an access says what can't.
    pub fn fits(&self, access: Access) -> bool {
        match access {
            Access::ReadWrite => self.describes_population,
            Access::ReadOnly => {
                !self.questions_asked().into_iter().any(Question::needs_writes)
                    && self.slos.iter().all(|slo| slo.of == Operation::Questions)
            }
        }
    }

    /// The users of that name.
    pub fn users_named(&self, name: &str) -> Option<&Users> {
        self.users.iter().find(|users| users.name == name)
    }

    /// The time that an SLO is judged over: one of its windows, or the drive.
    pub fn judged_over(&self, slo: &Slo) -> Duration {
        slo.in_every.unwrap_or(self.duration)
    }

    /// Wall time before the drive in which records are written.
    pub fn lead(&self) -> Duration {
        if self.warm_up_writes { self.warm_up } else { Duration::ZERO }
    }

    /// The factor on a tenant's writes over the seconds since the first write, at which the lead begins.
    pub(crate) fn write_factors(&self, tenant: u32) -> Rates {
        let lead = self.lead().as_secs_f64();
        let driven = self.factors_of(tenant, |stage| stage.writes);
        let shifted =
            driven.pieces().iter().map(|piece| Piece { start: piece.start + lead, end: piece.end + lead, ..*piece });
        Rates::new(std::iter::once(Piece::constant(0.0..lead, 1.0)).chain(shifted))
    }

    /// The factor on a tenant's questions over the seconds of the drive.
    pub(crate) fn probe_factors(&self, tenant: u32) -> Rates {
        self.factors_of(tenant, |stage| stage.probes)
    }

    fn factors_of(&self, tenant: u32, select: impl Fn(&Stage) -> Factor + Copy) -> Rates {
        let all = factors(&self.stages, None, self.duration, select);
        if self.stages.iter().any(|stage| stage.tenant == Some(tenant)) {
            all.times(&factors(&self.stages, Some(tenant), self.duration, select))
        } else {
            all
        }
    }

    /// How many of a tenant's communications are written for each one in [`Scenario::communications`].
    pub(crate) fn write_factor(&self, tenant: u32) -> f64 {
        if self.stages.is_empty() && self.lead().is_zero() {
            return 1.0;
        }
        self.write_factors(tenant).total() / self.duration.as_secs_f64()
    }
}
