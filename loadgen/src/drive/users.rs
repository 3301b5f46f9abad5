//! The users: each thinks, asks, waits for the answer and thinks again, until the drive is over. A slow store is asked less
//! often, so their latencies are service times; they are recorded apart from those of the probes.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::checks::Answered;
use super::clock::Clock;
use super::probes::MAX_LATE;
use super::shared::{Shared, add};
use crate::plan::{Probe, Step};
use crate::question::Subject;

/// Starts all users of the scenario.
pub(super) fn start(
    shared: &Arc<Shared>,
    clock: &Clock,
    checks: &mpsc::Sender<Answered>,
    tasks: &TaskTracker,
    stop: &CancellationToken,
) {
    for (group, users) in shared.scenario.users.iter().enumerate() {
        for number in 0..users.count {
            let user = User { shared: Arc::clone(shared), clock: clock.clone(), checks: checks.clone(), group };
            let (steps, stop) = (shared.plan.steps(group, number), stop.clone());
            tasks.spawn(async move {
                tokio::select! {
                    () = user.live(steps) => {}
                    () = stop.cancelled() => {}
                }
            });
        }
    }
}

/// One user.
struct User {
    shared: Arc<Shared>,
    clock: Clock,
    checks: mpsc::Sender<Answered>,
    group: usize,
}

impl User {
    async fn live(self, steps: impl Iterator<Item = Step>) {
        for step in steps {
            let Step { think, question, tenant, key } = step;
            if self.clock.elapsed() + think >= self.shared.scenario.duration {
                return;
            }
            tokio::time::sleep(think).await;
            self.ask(Probe { at: self.clock.elapsed(), question, tenant, key }).await;
        }
    }

    async fn ask(&self, probe: Probe) {
        add(&self.shared.counters.probes_offered, 1);
        add(&self.shared.counters.probes_sent, 1);
        let asked = self.clock.instant(probe.at);
        let time_out = self.shared.scenario.time_outs.for_store(probe.question.store());
        let subject = Subject { population: self.shared.plan.population(), tenant: probe.tenant, key: &probe.key };
        let asking = probe.question.ask(&self.shared.targets, subject);
        let reply = tokio::time::timeout_at((asked + time_out + MAX_LATE).into(), asking).await.ok();
        let (lag, latency, users) = (Duration::ZERO, asked.elapsed(), Some(self.group));
        // The checks end only when the drive is stopped.
        drop(self.checks.send(Answered { probe, reply, lag, latency, users, _permit: None }).await);
    }
}
