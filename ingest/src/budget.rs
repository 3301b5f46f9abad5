//! The byte budget: how much may be on its way, and who has to wait.
//! Bytes are taken as rows are encoded and given back when the batch that holds them is dropped; out comes the pressure
//! on each pipeline. Pure counting, shared by threads; it pauses nobody itself and never blocks.
//!
//! Half of the budget is divided into reserved shares, one per pipeline; the other half is shared. A pipeline is told
//! to stop when its own share is used up *and* the shared half is nearly so, and may go on when either has room again.
//! What is left above the high mark takes the record that was already in hand when the pressure was noticed.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Part of the shared half that may be used before pipelines beyond their own share stop, in percent.
const HIGH_PERCENT: usize = 80;
/// Part of the shared half below which they go on, in percent.
const LOW_PERCENT: usize = 50;

/// The budget of all pipelines.
#[derive(Debug)]
pub struct Budget {
    total: usize,
    reserve: usize,
    used: Vec<AtomicUsize>,
}

/// What a pipeline should do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pressure {
    /// There is room: a paused pipeline resumes.
    Low,
    /// Go on as before.
    Between,
    /// Seal the largest batch and take nothing more.
    High,
}

impl Budget {
    /// A budget of `total` bytes for `pipelines` pipelines.
    pub fn new(total: usize, pipelines: usize) -> Arc<Self> {
        let used = (0..pipelines).map(|_| AtomicUsize::new(0)).collect();
        Arc::new(Self { total, reserve: total / 2 / pipelines.max(1), used })
    }

    /// An empty permit that can grow.
    pub fn permit(self: &Arc<Self>, pipeline: usize) -> Permit {
        Permit { budget: Arc::clone(self), pipeline, bytes: 0 }
    }

    /// Bytes on their way in one pipeline.
    pub fn used(&self, pipeline: usize) -> usize {
        self.used[pipeline].load(Ordering::Relaxed)
    }

    /// What `pipeline` should do now.
    pub fn pressure(&self, pipeline: usize) -> Pressure {
        let shared = self.total - self.reserve * self.used.len();
        let beyond: usize = (0..self.used.len()).map(|index| self.used(index).saturating_sub(self.reserve)).sum();
        let own = self.used(pipeline);
        if own > self.reserve && beyond * 100 > shared * HIGH_PERCENT {
            Pressure::High
        } else if own <= self.reserve / 2 || beyond * 100 <= shared * LOW_PERCENT {
            Pressure::Low
        } else {
            Pressure::Between
        }
    }
}

/// Bytes taken from a budget; dropping it gives them back.
#[derive(Debug)]
pub struct Permit {
    budget: Arc<Budget>,
    pipeline: usize,
    bytes: usize,
}

impl Permit {
    /// Takes `bytes` more.
    pub fn grow(&mut self, bytes: usize) {
        self.bytes += bytes;
        self.budget.used[self.pipeline].fetch_add(bytes, Ordering::Relaxed);
    }

    /// How many bytes it holds.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.budget.used[self.pipeline].fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn one_stuck_pipeline_leaves_the_others_their_share() {
        let budget = Budget::new(1000, 2);
        let mut stuck = budget.permit(0);
        stuck.grow(660);
        assert_eq!(budget.pressure(0), Pressure::High);
        let mut other = budget.permit(1);
        other.grow(250);
        assert_ne!(budget.pressure(1), Pressure::High);
        drop(stuck);
        assert_eq!(budget.pressure(0), Pressure::Low);
    }

    proptest! {
        /// Whatever is taken and given back, in whatever order, while everyone obeys: never more than the budget, and
        /// nothing is left when all is given back.
        #[test]
        fn obedient_pipelines_stay_below_the_budget(steps in proptest::collection::vec((0_usize..3, 1_usize..60, any::<bool>()), 1..300)) {
            let budget = Budget::new(2000, 3);
            let mut held: Vec<Vec<Permit>> = vec![vec![], vec![], vec![]];
            for (pipeline, bytes, give_back) in steps {
                if give_back {
                    held[pipeline].pop();
                } else if budget.pressure(pipeline) != Pressure::High {
                    let mut permit = budget.permit(pipeline);
                    permit.grow(bytes);
                    held[pipeline].push(permit);
                }
                let model: usize = held.iter().flatten().map(Permit::bytes).sum();
                prop_assert_eq!(model, (0..3).map(|index| budget.used(index)).sum::<usize>());
                prop_assert!(model <= 2000, "{} in flight", model);
            }
            held.clear();
            prop_assert_eq!((0..3).map(|index| budget.used(index)).sum::<usize>(), 0);
        }
    }
}
