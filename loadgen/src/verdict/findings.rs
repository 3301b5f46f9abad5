//! The verdict on a whole run, from what was found about its parts.

use serde::Serialize;

use super::availability::Availability;
use super::binomial::Verdict;
use super::slo::Judged;
use super::validity::Validity;

/// What a run shows in all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Overall {
    /// Every objective is met.
    Pass,
    /// An objective is missed, an answer was wrong, or the account does not balance.
    Fail,
    /// Something is undecided and nothing failed.
    Inconclusive,
    /// The generator was at fault, so nothing can be said about the stores.
    Invalid,
}

/// Everything that the overall verdict depends on.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Findings {
    /// Each SLO.
    pub slos: Vec<Judged>,
    /// Availability.
    pub availability: Availability,
    /// Whether the generator did its part.
    pub validity: Validity,
    /// What fails a run whatever its speed, one sentence each: wrong answers, an account that does not balance, a
    /// process under test that died.
    pub failures: Vec<String>,
}

impl Findings {
    /// The verdict on the run. A failure counts even in an invalid run, since no late probe loses a record or makes an
    /// answer wrong; an invalid run says nothing about speed, so it outranks the SLOs.
    pub fn overall(&self) -> Overall {
        let verdicts = || self.slos.iter().map(|judged| judged.verdict).chain([self.availability.verdict]);
        let wrong = self.slos.iter().any(|judged| judged.counts.wrong > 0);
        if wrong || !self.failures.is_empty() {
            Overall::Fail
        } else if self.validity != Validity::Valid {
            Overall::Invalid
        } else if verdicts().any(|verdict| verdict == Verdict::Fail) {
            Overall::Fail
        } else if self.slos.is_empty() || verdicts().any(|verdict| verdict == Verdict::Inconclusive) {
            Overall::Inconclusive
        } else {
            Overall::Pass
        }
    }
}
