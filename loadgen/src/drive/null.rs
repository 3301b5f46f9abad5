//! The generator alone: a plan's probes, asked of nothing. It shows what the generator costs and how exactly it keeps to its
//! schedule, and measures no store.

use std::time::{Duration, Instant};

use futures::stream::SelectAll;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::clock::Clock;
use super::engine::{self, Caller};
use super::outbox::{BATCHES, Finished, InFlight, Outbox};
use super::probes::{self, Schedule};
use super::shared::{ProbeCounts, read};
use crate::measure::{Backing, DurationHistogram, Measurements, Outcome, Sample};
use crate::plan::{Plan, Probe, Shard};
use crate::population::{Population, TenantClass};
use crate::scenario::Scenario;

/// What one loop did.
#[derive(Debug)]
pub struct NullDrive {
    /// Probes asked, each recorded in its histograms.
    pub operations: u64,
    /// Probes never asked because too many were in flight.
    pub held_back: u64,
    /// Wall time.
    pub took: Duration,
    /// Actual start minus intended start.
    pub lag: DurationHistogram,
}

struct Nothing;

impl Caller for Nothing {
    type Reply = ();

    async fn call(&self, _: &Probe) {}

    fn time_out(&self, _: &Probe) -> Duration {
        Duration::from_secs(2)
    }

    fn limit(&self, _: &Probe) -> Option<Duration> {
        None
    }

    fn is_skipped(&self, _: usize) -> bool {
        false
    }
}

/// Asks a scenario's probes of nothing, in one loop, and records each like an answer of a store. Blocks the thread.
pub fn drive(scenario: &Scenario) -> std::io::Result<NullDrive> {
    let plan = Plan::new(scenario, &Population::new(scenario));
    let started = Instant::now();
    let in_flight = InFlight::default();
    let (checks, batches) = mpsc::channel(BATCHES);
    let (measured, held_back) = std::thread::scope(|scope| {
        let recording = scope.spawn(|| record(scenario, &in_flight, batches));
        let held_back = ask(&plan, Outbox::new(Some(checks), in_flight.clone()))?;
        let measured = recording.join().map_err(|_| std::io::Error::other("the recording thread panicked"))?;
        Ok::<_, std::io::Error>((measured, held_back))
    })?;
    let took = started.elapsed();
    let mut lag = DurationHistogram::default();
    measured.questions.iter().for_each(|recorder| lag.merge(&recorder.measured().lag));
    Ok(NullDrive { operations: lag.len() - held_back, held_back, took, lag })
}

/// Asks all probes; returns how many were held back.
fn ask(plan: &Plan, outbox: Outbox<()>) -> std::io::Result<u64> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (all_started, _) = oneshot::channel();
    let counts = ProbeCounts::default();
    let clock = Clock::start(&CancellationToken::new());
    let probes = probes::of_loop((plan, Shard::WHOLE), Schedule::Drive, (0, 1));
    runtime.block_on(engine::run(&Nothing, &clock, (probes, SelectAll::new()), outbox, (&counts, all_started)))?;
    Ok(read(&counts.held_back))
}

fn record(scenario: &Scenario, in_flight: &InFlight, mut batches: mpsc::Receiver<Vec<Finished<()>>>) -> Measurements {
    let mut measured = Measurements::new(scenario);
    while let Some(batch) = batches.blocking_recv() {
        in_flight.end(batch.len());
        for Finished { probe, lag, latency, spent, .. } in batch {
            let class = TenantClass::of(probe.tenant, scenario.tenants as usize);
            let sample = Sample {
                intended: probe.at,
                lag,
                latency,
                waited: spent.waited,
                outcome: Outcome::Correct,
                backing: Backing::NotAsked,
            };
            measured.record(probe.question, class, sample);
        }
    }
    measured
}
