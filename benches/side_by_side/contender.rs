//! The programs that are compared, and how each of them is started on one table with one consumer group.

pub(crate) mod consume;
mod engine;
pub(crate) mod insert;
pub(crate) mod obvious;
pub(crate) mod other;
pub(crate) mod sluice;

use std::time::Duration;

use crate::child::Program;
use crate::options::Speed;
use crate::race::Lap;
use crate::watch;
use crate::world::World;
use engine::Engine;
use other::Other;

/// One line of the table of results.
#[derive(Debug, Clone)]
pub(crate) struct Contender {
    pub(crate) kind: Kind,
    /// Rows of a batch, where it makes batches.
    pub(crate) batch: Option<u64>,
}

/// Which program.
#[derive(Debug, Clone)]
pub(crate) enum Kind {
    /// A ceiling: librdkafka alone.
    Consume,
    /// A ceiling: ClickHouse alone, with rows that were encoded before.
    Insert {
        /// INSERTs at a time.
        connections: usize,
    },
    /// `sluice ingest`.
    Sluice {
        /// Members of its consumer group, each a process.
        processes: usize,
    },
    /// What one writes first in Rust.
    Obvious {
        /// With `fetch.queue.backoff.ms=2`.
        tuned: bool,
    },
    /// ClickHouse's own Kafka engine.
    Engine,
    /// A program that the caller names.
    Other(Other),
}

impl Contender {
    /// All that the options ask for, in the order of the report.
    pub(crate) fn all(options: &Speed) -> Vec<Self> {
        let batched = |kind: &Kind| {
            let with = |batch: &u64| Self { kind: kind.clone(), batch: Some(*batch) };
            options.batch.iter().map(with).collect::<Vec<_>>()
        };
        let ceilings = [Kind::Insert { connections: 1 }, Kind::Insert { connections: 2 }];
        let sluices = options.processes.iter().map(|processes| Kind::Sluice { processes: *processes });
        let programs = sluices.chain([Kind::Obvious { tuned: false }, Kind::Obvious { tuned: true }]);
        let others = options.other.iter().cloned().map(Kind::Other);
        let all = std::iter::once(Self { kind: Kind::Consume, batch: None })
            .chain(ceilings.iter().flat_map(batched))
            .chain(programs.flat_map(|kind| batched(&kind)))
            .chain([Self { kind: Kind::Engine, batch: None }])
            .chain(others.flat_map(|kind| batched(&kind)));
        let is_wanted =
            |one: &Self| options.only.is_empty() || options.only.iter().any(|word| one.name().contains(word));
        all.filter(is_wanted).collect()
    }

    /// Its name in the report.
    pub(crate) fn name(&self) -> String {
        match &self.kind {
            Kind::Consume => "consume only".to_owned(),
            Kind::Insert { connections: 1 } => "insert only, 1 connection".to_owned(),
            Kind::Insert { connections } => format!("insert only, {connections} connections"),
            Kind::Sluice { processes: 1 } => "sluice".to_owned(),
            Kind::Sluice { processes } => format!("sluice, {processes} processes"),
            Kind::Obvious { tuned: false } => "obvious Rust".to_owned(),
            Kind::Obvious { tuned: true } => "obvious Rust, tuned".to_owned(),
            Kind::Engine => "Kafka engine".to_owned(),
            Kind::Other(other) => other.name.clone(),
        }
    }

    /// Why it cannot run here, if it cannot.
    pub(crate) async fn obstacle(&self, world: &World) -> anyhow::Result<Option<String>> {
        match self.kind {
            Kind::Engine => engine::obstacle(world).await,
            _ => Ok(None),
        }
    }

    /// Starts it; the two ceilings are no programs and start elsewhere.
    pub(crate) async fn start(&self, world: &World, lap: &Lap) -> anyhow::Result<Running> {
        let batch = self.batch.unwrap_or_default();
        match &self.kind {
            Kind::Sluice { processes } => {
                let members = (1..=*processes).map(|number| sluice::start(world, lap, batch, number));
                members.collect::<anyhow::Result<_>>().map(Running::Processes)
            }
            Kind::Obvious { tuned } => obvious::start(world, lap, batch, *tuned).map(Running::process),
            Kind::Engine => Engine::start(world, lap).await.map(Running::Engine),
            Kind::Other(other) => other.start(world, lap, batch).map(Running::process),
            Kind::Consume | Kind::Insert { .. } => anyhow::bail!("start {}: it is no program", self.name()),
        }
    }
}

/// A program at work.
pub(crate) enum Running {
    /// In processes of its own.
    Processes(Vec<Program>),
    /// In the server.
    Engine(Engine),
}

impl Running {
    fn process(program: Program) -> Self {
        Self::Processes(vec![program])
    }

    fn processes(&self) -> &[Program] {
        match self {
            Self::Processes(programs) => programs,
            Self::Engine(_) => &[],
        }
    }

    /// Fails if it has ended by itself.
    pub(crate) fn check(&mut self) -> anyhow::Result<()> {
        match self {
            Self::Processes(programs) => programs.iter_mut().try_for_each(Program::check),
            Self::Engine(_) => Ok(()),
        }
    }

    /// Asks it to write what it still holds, where it can be asked.
    pub(crate) fn finish(&mut self) {
        if let Self::Processes(programs) = self {
            programs.iter_mut().for_each(Program::finish);
        }
    }

    /// Processor time of its own processes so far.
    pub(crate) fn cpu(&self) -> Option<Duration> {
        let each = self.processes().iter().map(|program| watch::own_cpu(program.pid()));
        each.reduce(|all, one| Some(all? + one?)).flatten()
    }

    /// Processor time of its own processes, with what runs below them, and the most memory that one of them had.
    pub(crate) fn usage(&self) -> Option<(Duration, u64)> {
        let each = self.processes().iter().map(|program| (watch::cpu(program.pid()), program.peak()));
        each.reduce(|(cpu, peak), (one, own)| (cpu + one, peak.max(own)))
    }

    /// Ends it.
    pub(crate) async fn end(self, world: &World) -> anyhow::Result<()> {
        match self {
            Self::Processes(programs) => {
                for program in programs {
                    program.end().await?;
                }
                Ok(())
            }
            Self::Engine(engine) => engine.end(world).await,
        }
    }
}
