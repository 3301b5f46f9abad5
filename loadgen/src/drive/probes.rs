//! The probes: each question is asked at its intended start, regardless of earlier ones.
//! No probe is skipped, and none waits for another.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::task::TaskTracker;

use super::checks::Answered;
use super::clock::Clock;
use super::merge::MergeByTime;
use super::shared::{Shared, add};
use crate::fault::{Fault, is_injected};
use crate::measure::{Outcome, Sample};
use crate::plan::Probe;
use crate::question::{Question, Subject};

/// Maximum number of probes in flight. A store that exceeds this has long failed; the limit protects memory.
pub(super) const MAX_IN_FLIGHT: usize = 20_000;
/// How long after its time-out an answer is still awaited, so that its latency is known in full.
pub(super) const MAX_LATE: Duration = Duration::from_secs(30);

/// The probes of the warm-up, or of the drive.
pub(super) struct Probes {
    pub(super) shared: Arc<Shared>,
    pub(super) clock: Clock,
    pub(super) in_flight: Arc<Semaphore>,
    /// Where answers are checked and recorded; `None` for the warm-up, whose answers are neither.
    pub(super) checks: Option<mpsc::Sender<Answered>>,
}

impl Probes {
    /// Starts every probe at its intended start. Blocks until the last one is started or the drive is stopped.
    pub(super) fn run(self, runtime: &Handle, tasks: &TaskTracker) {
        let this = Arc::new(self);
        for (index, probe) in this.planned_probes().enumerate() {
            if is_injected(Fault::SkipProbes) && index.is_multiple_of(20) {
                add(&this.shared.counters.probes_offered, 1);
                continue;
            }
            if !this.clock.spin_until(probe.at) {
                return;
            }
            this.launch(probe, runtime, tasks);
        }
    }

    /// The probes of all questions in order of their intended starts.
    fn planned_probes(self: &Arc<Self>) -> impl Iterator<Item = Probe> + use<'_> {
        let plan = &self.shared.plan;
        let probes_of = |question: Question| -> Box<dyn Iterator<Item = Probe> + '_> {
            if self.checks.is_some() {
                Box::new(plan.probes(question))
            } else {
                Box::new(plan.warm_up_probes(question))
            }
        };
        MergeByTime::new(Question::ALL.iter().map(|question| probes_of(*question)).collect())
    }

    fn launch(self: &Arc<Self>, probe: Probe, runtime: &Handle, tasks: &TaskTracker) {
        let counters = &self.shared.counters;
        if self.checks.is_some() {
            add(&counters.probes_offered, 1);
        }
        if let Ok(permit) = Arc::clone(&self.in_flight).try_acquire_owned() {
            if self.checks.is_some() {
                add(&counters.probes_sent, 1);
            }
            tasks.spawn_on(Arc::clone(self).follow(probe, permit), runtime);
        } else if self.checks.is_some() {
            add(&counters.probes_held_back, 1);
            let latency = self.shared.scenario.time_outs.for_store(probe.question.store());
            let sample = Sample { intended: probe.at, lag: Duration::ZERO, latency, outcome: Outcome::TimedOut };
            self.shared.record(&probe, sample);
        }
    }

    async fn follow(self: Arc<Self>, probe: Probe, permit: OwnedSemaphorePermit) {
        let intended = self.clock.instant(probe.at);
        let lag = intended.elapsed();
        let time_out = self.shared.scenario.time_outs.for_store(probe.question.store());
        let subject = Subject { population: self.shared.plan.population(), tenant: probe.tenant, key: &probe.key };
        let asking = probe.question.ask(&self.shared.targets, subject);
        // A user has left when the time-out is over; the answer still shows how long the stall was.
        let reply = tokio::time::timeout_at((intended + time_out + MAX_LATE).into(), asking).await.ok();
        let latency = intended.elapsed();
        if let Some(checks) = &self.checks {
            let answered = Answered { probe, reply, lag, latency, users: None, _permit: Some(permit) };
            // The checks end only when the drive is stopped.
            drop(checks.send(answered).await);
        }
    }
}
