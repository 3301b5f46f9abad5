//! An SLO of a checked scenario: what its samples are, and what must hold. It judges nothing.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::population::TenantClass;
use crate::question::Question;

/// What the samples of an SLO are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// Questions, from the intended start to the last byte of the answer.
    #[default]
    Questions,
    /// Transactions that write to PostgreSQL, from the intended start to the answer to the commit, with all attempts.
    Commits,
    /// Events, from the intended start until a query of ClickHouse returns them, through Kafka and the ingest worker.
    Events,
}

impl Operation {
    /// How to get more samples in the same time.
    pub(crate) fn how_to_get_more_samples(self) -> &'static str {
        match self {
            Self::Questions => "raise the rates of its questions",
            Self::Commits | Self::Events => "raise `drive.communications`",
        }
    }
}

/// An SLO: "`objective` of the answers to `questions` arrive within `within`", or the same of other operations.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Slo {
    /// Name in reports, such as `customer-lookup`.
    pub name: String,
    /// What its samples are.
    #[serde(default)]
    pub of: Operation,
    /// The questions whose samples are judged together; empty if the samples are not of questions.
    pub questions: Vec<Question>,
    /// The tenants whose questions are judged; `None` for all.
    pub tenants: Option<TenantClass>,
    /// The users whose questions are judged; `None` for the questions that are asked at a rate. Both are never mixed.
    pub users: Option<String>,
    /// Share of answers that must be in time, 0 to 1.
    pub objective: f64,
    /// The limit, from the intended start to the last byte.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub within: Duration,
    /// So many events per second must be visible within the limit, if that is judged.
    #[serde(default)]
    pub at_least: Option<f64>,
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

impl Slo {
    /// Whether a question of a tenant of that class, asked by those users or at a rate, is judged by this SLO.
    pub fn judges(&self, question: Question, class: TenantClass, users: Option<&str>) -> bool {
        self.is_about(question, users) && self.tenants.is_none_or(|judged| judged == class)
    }

    /// Share of its samples that may exceed the limit if `produced` events per second are produced: only those beyond the rate that it
    /// demands may be late. A rate below that can't pass, which is another rule.
    pub(crate) fn allowed(&self, produced: f64) -> f64 {
        let beyond = self.at_least.filter(|&least| least < produced).map_or(1.0, |least| 1.0 - least / produced);
        beyond.min(1.0 - self.objective)
    }

    /// Whether both count the same samples as exceedances, whatever they allow.
    pub(crate) fn counts_like(&self, other: &Self) -> bool {
        let counted = |slo: &Self| (slo.of, slo.tenants, slo.within);
        counted(self) == counted(other)
            && (&self.name, &self.questions, &self.users) == (&other.name, &other.questions, &other.users)
    }

    /// Whether a question, asked by those users or at a rate, is judged by this SLO for some tenants.
    pub fn is_about(&self, question: Question, users: Option<&str>) -> bool {
        self.questions.contains(&question) && self.users.as_deref() == users
    }
}
