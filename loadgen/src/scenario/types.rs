//! The values of a checked scenario. This module never reads or checks a file.

use std::{collections::BTreeMap, time::Duration};

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::population::{Parameters, TenantClass, share_of_customers};
use crate::question::{Question, Store};

/// A checked scenario.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Scenario {
    /// Short name, used in reports and file names.
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
    /// Number of communications that the drive writes.
    pub communications: u64,
    /// Simulated time between two measurements of an agent.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub metric_interval: Duration,
    /// Spacing of the probes' intended starts.
    pub arrivals: Arrivals,
    /// Rate of each question, per second of wall time.
    pub probes: BTreeMap<Question, f64>,
    /// The SLOs that are judged.
    pub slos: Vec<Slo>,
    /// The availability that is judged, for each store.
    pub availability: Availability,
    /// Time-outs of answers.
    pub time_outs: TimeOuts,
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

/// The availability of each store: the share of its questions and writes that succeed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Availability {
    /// Share that must succeed, 0 to 1.
    pub objective: f64,
    /// Share of retried writes that must succeed at the first attempt, if that is judged.
    pub first_attempts: Option<f64>,
    /// What a run means that is too short to decide it.
    pub undecided: Undecided,
}

impl Default for Availability {
    fn default() -> Self {
        Self { objective: 0.9999, first_attempts: None, undecided: Undecided::Block }
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

/// An SLO: "`objective` of the answers to `questions` arrive within `within`."
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Slo {
    /// Name in reports, such as `customer-lookup`.
    pub name: String,
    /// The questions whose samples are judged together.
    pub questions: Vec<Question>,
    /// The tenants whose questions are judged; `None` for all.
    pub tenants: Option<TenantClass>,
    /// Share of answers that must be in time, 0 to 1.
    pub objective: f64,
    /// The limit, from the intended start to the last byte.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub within: Duration,
    /// The objective must hold in every window of this length; `None` for the drive as a whole.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "Option<String>")]
    pub in_every: Option<Duration>,
    /// Maximum accepted probability of a wrong PASS, and of a wrong FAIL, 0 to 1.
    pub alpha: f64,
    /// The verdict must hold for stalls of up to this length; `None` if it says itself for which it holds.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "Option<String>")]
    pub longest_stall: Option<Duration>,
}

/// Time-outs of answers, counted from the intended start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TimeOuts {
    /// PostgreSQL.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub postgres: Duration,
    /// Redis, including PostgreSQL behind it.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub redis: Duration,
    /// Elasticsearch.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub elasticsearch: Duration,
    /// ClickHouse.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub clickhouse: Duration,
}

impl TimeOuts {
    /// The time-out of a store.
    pub fn for_store(&self, store: Store) -> Duration {
        match store {
            Store::Postgres => self.postgres,
            Store::Redis => self.redis,
            Store::Elasticsearch => self.elasticsearch,
            Store::Clickhouse => self.clickhouse,
        }
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
            metric_interval: scenario.metric_interval,
        }
    }
}

impl Slo {
    /// Whether a question of a tenant of that class is judged by this SLO.
    pub fn judges(&self, question: Question, class: TenantClass) -> bool {
        self.questions.contains(&question) && self.tenants.is_none_or(|judged| judged == class)
    }
}

impl Scenario {
    /// Simulated seconds for each second of wall time.
    pub fn compression(&self) -> f64 {
        self.span.as_secs_f64() / self.duration.as_secs_f64()
    }

    /// The SLOs that judge a question.
    pub fn slos_of(&self, question: Question) -> impl Iterator<Item = &Slo> {
        self.slos.iter().filter(move |slo| slo.questions.contains(&question))
    }

    /// The tightest latency limit that judges a question.
    pub fn limit_of(&self, question: Question) -> Option<Duration> {
        self.slos_of(question).map(|slo| slo.within).min()
    }

    /// The time that an SLO is judged over: one of its windows, or the drive.
    pub fn judged_over(&self, slo: &Slo) -> Duration {
        slo.in_every.unwrap_or(self.duration)
    }

    /// Samples that an SLO will have, on average.
    pub fn planned_samples(&self, slo: &Slo) -> u64 {
        let rate: f64 = slo.questions.iter().filter_map(|question| self.probes.get(question)).sum();
        let share = slo.tenants.map_or(1.0, |class| share_of_customers(class, &self.into()));
        (rate * share * self.duration.as_secs_f64()) as u64
    }
}
