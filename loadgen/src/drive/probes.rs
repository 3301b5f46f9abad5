//! The probes of the questions: which loop asks which, and how it asks. It never measures.

use super::engine::Caller;
use super::merge::MergeByTime;
use crate::custom::{Clients, Prepared};
use crate::fault::{Fault, is_injected};
use crate::plan::{Plan, Probe, Shard};
use crate::population::Population;
use crate::question::{Answer, Question, Subject};
use crate::scenario::TimeOuts;
use crate::target::{QueryError, Targets};
use std::collections::BTreeMap;
use std::time::Duration;

/// The probes of a warm-up, or of the drive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Schedule {
    WarmUp,
    Drive,
}

/// The probes of a shard that loop `index` of `loops` asks, in order of their intended starts: every `loops`-th of all.
pub(super) fn of_loop<'a>(
    (plan, shard): (&'a Plan, Shard),
    schedule: Schedule,
    (index, loops): (usize, usize),
) -> impl Iterator<Item = Probe> + 'a {
    let probes_of = |question: Question| -> Box<dyn Iterator<Item = Probe> + 'a> {
        match schedule {
            Schedule::WarmUp => Box::new(plan.warm_up_probes_of(question, shard)),
            Schedule::Drive => Box::new(plan.probes_of(question, shard)),
        }
    };
    let all = MergeByTime::new(plan.questions().map(probes_of).collect());
    all.skip(index).step_by(loops)
}

/// The connections of one loop.
#[derive(Debug)]
pub(super) struct Connected {
    /// `None` if no question of Sluice's own is asked.
    pub(super) targets: Option<Targets>,
    pub(super) own: Clients,
}

/// Asks the stores.
pub(super) struct Questions<'a> {
    pub(super) connected: &'a Connected,
    /// The questions of the scenario's own.
    pub(super) own: &'a Prepared,
    pub(super) population: &'a Population,
    pub(super) time_outs: TimeOuts,
    /// [`crate::scenario::Scenario::limits`].
    pub(super) limits: BTreeMap<Question, Duration>,
}

impl Caller for Questions<'_> {
    type Reply = Result<Answer, QueryError>;

    async fn call(&self, probe: &Probe) -> Self::Reply {
        let Connected { targets, own } = self.connected;
        if let Question::Custom(question) = probe.question {
            return Box::pin(own.ask(self.own, question, &probe.key)).await;
        }
        let subject = Subject { population: self.population, tenant: probe.tenant, key: &probe.key };
        match targets.as_ref().and_then(|targets| probe.question.ask(targets, subject).ok()) {
            Some(reply) => reply.await,
            None => {
                Err(QueryError::Unreadable { store: probe.question.store().as_str(), what: "nothing: not connected" })
            }
        }
    }

    fn time_out(&self, probe: &Probe) -> Duration {
        self.time_outs.for_store(probe.question.store())
    }

    fn limit(&self, probe: &Probe) -> Option<Duration> {
        self.limits.get(&probe.question).copied()
    }

    fn is_skipped(&self, index: usize) -> bool {
        is_injected(Fault::SkipProbes) && index.is_multiple_of(20)
    }
}
