//! The loops of a drive: threads that each have a runtime, connections and a share of the probes of their own, so that they
//! never wait for each other. They start before the warm-up and end with the drive. A loop never checks an answer.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;

use futures::stream::SelectAll;
use sluice_schemas::connect::Role;
use sluice_schemas::names::Names;
use sluice_schemas::stores::Stores;
use tokio::sync::{mpsc, oneshot};

use super::checks::Reply;
use super::clock::Clock;
use super::engine;
use super::outbox::{Finished, InFlight, Outbox};
use super::priority;
use super::probes::{self, Connected, Questions, Schedule};
use super::shared::{ProbeCounts, Shared};
use super::users;
use crate::custom::Clients;
use crate::measure::DurationHistogram;
use crate::question::Question;
use crate::run_context::RunContext;
use crate::scenario::{Access, Scenario, Users};
use crate::target::{QueryError, Targets};

/// Probes per second that one loop asks at most, while there are more processors. A store's client takes about 50
/// microseconds of processor time for a question and its answer.
const RATE_PER_LOOP: f64 = 5_000.0;

/// The threads of all loops.
pub(super) struct Loops {
    loops: Vec<(mpsc::Sender<Phase>, JoinHandle<()>)>,
    in_flight: InFlight,
}

/// What a loop does next.
struct Phase {
    schedule: Schedule,
    clock: Clock,
    checks: Option<mpsc::Sender<Vec<Finished<Reply>>>>,
    all_started: oneshot::Sender<()>,
    ended: oneshot::Sender<io::Result<DurationHistogram>>,
}

/// The result of each loop once it has started its last probe, and once it has the last reply.
pub(super) struct Running {
    all_started: Vec<oneshot::Receiver<()>>,
    ended: Vec<oneshot::Receiver<io::Result<DurationHistogram>>>,
}

/// Number of loops for the scenario's rates on this machine.
fn count(scenario: &Scenario) -> usize {
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    ((highest_rate(scenario) / RATE_PER_LOOP).ceil() as usize).clamp(1, processors)
}

/// A rate of questions that no stage exceeds. A calendar may, by its busiest hour.
fn highest_rate(scenario: &Scenario) -> f64 {
    let highest = |is_tenants: bool| {
        let stages = scenario.stages.iter().filter(|stage| stage.tenant.is_some() == is_tenants);
        stages.map(|stage| stage.probes.from.max(stage.probes.to)).fold(1.0, f64::max)
    };
    let at_a_rate = scenario.probes.values().sum::<f64>() * highest(false) * highest(true);
    at_a_rate + scenario.users.iter().map(Users::highest_rate).sum::<f64>()
}

impl Loops {
    /// Starts the threads; returns when each has opened its connections.
    pub(super) async fn start(context: RunContext<'_>, shared: &Arc<Shared>) -> Result<Self, QueryError> {
        let (loops, in_flight) = (count(context.scenario), InFlight::default());
        let mut this = Self { loops: Vec::with_capacity(loops), in_flight };
        for index in 0..loops {
            let (commands, phases) = mpsc::channel(1);
            let (opened, is_open) = oneshot::channel();
            let member =
                Member { shared: Arc::clone(shared), in_flight: this.in_flight.clone(), place: (index, loops) };
            let (stores, names) = (context.stores.clone(), context.names.clone());
            let builder = std::thread::Builder::new().name(format!("loop-{index}"));
            let thread = builder.spawn(move || member.live((&stores, &names), opened, phases));
            let thread = thread.map_err(QueryError::Runtime)?;
            this.loops.push((commands, thread));
            let Ok(opened) = is_open.await else {
                this.join();
                unreachable!("a thread that did not say that it is open has panicked");
            };
            opened?;
        }
        Ok(this)
    }

    /// Calls that are in flight or wait for their check.
    pub(super) fn in_flight(&self) -> InFlight {
        self.in_flight.clone()
    }

    /// Lets every loop ask its share of a schedule.
    pub(super) async fn run(
        &self,
        schedule: Schedule,
        clock: &Clock,
        checks: Option<mpsc::Sender<Vec<Finished<Reply>>>>,
    ) -> Running {
        let mut running = Running { all_started: Vec::new(), ended: Vec::new() };
        for (commands, _) in &self.loops {
            let (started, all_started) = oneshot::channel();
            let (end, ended) = oneshot::channel();
            let (clock, checks) = (clock.clone(), checks.clone());
            // A loop that is gone has panicked; `Loops::join` passes that on.
            drop(commands.send(Phase { schedule, clock, checks, all_started: started, ended: end }).await);
            running.all_started.push(all_started);
            running.ended.push(ended);
        }
        running
    }

    /// Ends the threads. A panic in one of them propagates to the caller.
    pub(super) fn join(self) {
        for (commands, thread) in self.loops {
            drop(commands);
            if let Err(panic) = thread.join() {
                std::panic::resume_unwind(panic);
            }
        }
    }
}

impl Running {
    /// Waits until every probe is started.
    pub(super) async fn all_started(&mut self) {
        for started in &mut self.all_started {
            // A loop that was stopped never says so.
            started.await.ok();
        }
    }

    /// Waits for the last reply. Returns how late all loops ran at regular instants.
    pub(super) async fn ended(self) -> io::Result<DurationHistogram> {
        let mut delays = DurationHistogram::default();
        for ended in self.ended {
            if let Ok(result) = ended.await {
                delays.merge(&result?);
            }
        }
        Ok(delays)
    }
}

/// One loop.
struct Member {
    shared: Arc<Shared>,
    in_flight: InFlight,
    /// Its index, and the number of all loops.
    place: (usize, usize),
}

impl Member {
    fn live(
        self,
        to: (&Stores, &Names),
        opened: oneshot::Sender<Result<(), QueryError>>,
        mut phases: mpsc::Receiver<Phase>,
    ) {
        priority::raise_this_thread();
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => return drop(opened.send(Err(QueryError::Runtime(error)))),
        };
        runtime.block_on(async {
            let connections = self.shared.scenario.connections.postgres.div_ceil(self.place.1 as u32);
            let connected = match self.connect(to, connections).await {
                Ok(connected) => connected,
                Err(error) => return drop(opened.send(Err(error))),
            };
            drop(opened.send(Ok(())));
            while let Some(phase) = phases.recv().await {
                self.run(&connected, phase).await;
            }
        });
    }

    /// Connects to the stores that are asked.
    async fn connect(&self, to: (&Stores, &Names), connections: u32) -> Result<Connected, QueryError> {
        let Shared { scenario, own, access, .. } = &*self.shared;
        let role = if *access == Access::ReadOnly { Role::Reader } else { Role::App };
        let asks_ours = scenario.questions_asked().iter().any(|question| !matches!(question, Question::Custom(_)));
        let targets = if asks_ours { Some(Targets::connect(to.0, to.1, (role, connections)).await?) } else { None };
        Ok(Connected { targets, own: Clients::connect(own, to, connections).await? })
    }

    async fn run(&self, connected: &Connected, phase: Phase) {
        let Phase { schedule, clock, checks, all_started, ended } = phase;
        let Shared { plan, shard, scenario, counters, own, .. } = &*self.shared;
        let (time_outs, limits) = (scenario.time_outs, scenario.limits());
        let questions = Questions { connected, own, population: plan.population(), time_outs, limits };
        // A warm-up is not counted.
        let uncounted = ProbeCounts::default();
        let counts = if schedule == Schedule::Drive { &counters.probes } else { &uncounted };
        let outbox = Outbox::new(checks, self.in_flight.clone());
        let probes = probes::of_loop((plan, *shard), schedule, self.place);
        let users = match schedule {
            Schedule::WarmUp => SelectAll::new(),
            Schedule::Drive => users::of_loop(&questions, (plan, *shard, scenario), &clock, counts, self.place),
        };
        let result = engine::run(&questions, &clock, (probes, users), outbox, (counts, all_started)).await;
        drop(ended.send(result));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_busiest_stage_decides_how_many_loops_ask() {
        let burst = Scenario::parse(include_str!("../../../scenarios/burst.toml"), "burst.toml").unwrap();
        let steady: f64 = burst.probes.values().sum();
        assert!((highest_rate(&burst) / steady - 10.0).abs() < 1e-9, "{}", highest_rate(&burst));
    }
}
