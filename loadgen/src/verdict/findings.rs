//! The verdict on a run, from the verdicts on its parts. It tests nothing itself.

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
    /// What the run was doing when it was interrupted, after its drive and before the end of its account; `None` if it was not.
    /// In a merged report, the shard is named.
    #[serde(default)]
    pub interrupted: Option<String>,
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
        } else if !self.is_valid() {
            Overall::Invalid
        } else if unavailable || slos().any(|verdict| verdict == Verdict::Fail) {
            Overall::Fail
        } else if self.slos.is_empty() || blocked || slos().any(|verdict| verdict == Verdict::Inconclusive) {
            Overall::Inconclusive
        } else {
            Overall::Pass
        }
    }

    /// Whether the latencies prove anything about the stores: the generator kept up, and the run was not interrupted.
    /// A run that FAILs, such as one with a wrong answer, may still be invalid.
    pub fn is_valid(&self) -> bool {
        is_valid(&self.validity, self.interrupted.as_deref())
    }

    /// Why the run is not valid, a sentence each; empty if it is.
    pub fn why_invalid(&self) -> Vec<String> {
        let interrupted = self.interrupted.as_ref();
        let mut why: Vec<String> = interrupted.map(|doing| interruption(doing)).into_iter().collect();
        if let Validity::Invalid(reasons) = &self.validity {
            why.extend(reasons.iter().cloned());
        }
        why
    }
}

/// Whether a run of that validity, which was interrupted doing that, is valid.
pub(crate) fn is_valid(validity: &Validity, interrupted: Option<&str>) -> bool {
    *validity == Validity::Valid && interrupted.is_none()
}

/// The sentence about an interruption.
pub(crate) fn interruption(doing: &str) -> String {
    format!("the run was interrupted while {doing}: the account is missing")
}
