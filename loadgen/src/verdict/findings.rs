//! The verdict on a run, from the verdicts on its parts.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::availability::Availability;
use super::slo::Judged;
use super::validity::Validity;
use crate::binomial::Verdict;

/// The verdict on a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Overall {
    /// Every objective is met.
    Pass,
    /// An objective is missed, an answer was wrong, or the account does not balance.
    Fail,
    /// Nothing failed, and something is undecided.
    Inconclusive,
    /// The generator was at fault, or the run was interrupted after its drive, so it proves nothing about the stores.
    Invalid,
}

/// Everything that the verdict on a run depends on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Findings {
    /// The verdict on each SLO.
    pub slos: Vec<Judged>,
    /// The verdict on the availability of each store.
    pub availability: Vec<Availability>,
    /// Whether the generator kept up.
    pub validity: Validity,
    /// Failures that no latency outweighs, one sentence each: an account that does not balance, a process under test
    /// that died.
    pub failures: Vec<String>,
}

impl Findings {
    /// The verdict on the run. Failures come first, even in an invalid run, since no late probe loses a record or makes
    /// an answer wrong. INVALID comes before the SLOs, since an invalid run proves nothing about latency.
    pub fn overall(&self) -> Overall {
        let slos = || self.slos.iter().map(|judged| judged.test.verdict);
        let blocked = self.availability.iter().any(Availability::blocks);
        let unavailable = self.availability.iter().any(|one| one.test.verdict == Verdict::Fail);
        let wrong = self.slos.iter().any(|judged| judged.counts.wrong > 0);
        if wrong || !self.failures.is_empty() {
            Overall::Fail
        } else if self.validity != Validity::Valid {
            Overall::Invalid
        } else if unavailable || slos().any(|verdict| verdict == Verdict::Fail) {
            Overall::Fail
        } else if self.slos.is_empty() || blocked || slos().any(|verdict| verdict == Verdict::Inconclusive) {
            Overall::Inconclusive
        } else {
            Overall::Pass
        }
    }
}
