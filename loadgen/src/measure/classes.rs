//! Outcomes and latencies of one question by class of tenant. Its size is fixed, and it never reads a clock.

use serde::{Deserialize, Serialize};

use super::histogram::DurationHistogram;
use super::sample::Counts;
use crate::population::TenantClass;

/// What was measured for each class, in the order of [`TenantClass::ALL`].
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct ByClass([OfClass; TenantClass::ALL.len()]);

/// What was measured for one class.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct OfClass {
    /// Samples by outcome.
    pub counts: Counts,
    /// Latencies of answers and time-outs.
    pub latency: DurationHistogram,
}

impl ByClass {
    pub(super) fn of_mut(&mut self, class: TenantClass) -> &mut OfClass {
        &mut self.0[class as usize]
    }

    /// Each class that has samples.
    pub fn sampled(&self) -> impl Iterator<Item = (TenantClass, &OfClass)> {
        TenantClass::ALL.into_iter().zip(&self.0).filter(|(_, of_class)| of_class.counts.samples > 0)
    }

    /// Adds what another recorder measured.
    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.0.iter_mut().zip(&other.0) {
            mine.counts += theirs.counts;
            mine.latency.merge(&theirs.latency);
        }
    }
}
