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
    Sluice,
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
        let programs = [Kind::Sluice, Kind::Obvious { tuned: false }, Kind::Obvious { tuned: true }];
        let others = options.other.iter().cloned().map(Kind::Other);
        let all = std::iter::once(Self { kind: Kind::Consume, batch: None })
            .chain(ceilings.iter().flat_map(batched))
            .chain(programs.iter().flat_map(batched))
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
            Kind::Sluice => "sluice".to_owned(),
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
            Kind::Sluice => sluice::start(world, lap, batch).map(Running::process),
            Kind::Obvious { tuned } => obvious::start(world, lap, batch, *tuned).map(Running::process),
            Kind::Engine => Engine::start(world, lap).await.map(Running::Engine),
            Kind::Other(other) => other.start(world, lap, batch).map(Running::process),
            Kind::Consume | Kind::Insert { .. } => anyhow::bail!("start {}: it is no program", self.name()),
        }
    }
}

/// A program at work.
pub(crate) enum Running {
    /// In a process of its own.
    Process(Box<Program>),
    /// In the server.
    Engine(Engine),
}

impl Running {
    fn process(program: Program) -> Self {
        Self::Process(Box::new(program))
    }

    /// Fails if it has ended by itself.
    pub(crate) fn check(&mut self) -> anyhow::Result<()> {
        match self {
            Self::Process(program) => program.check(),
            Self::Engine(_) => Ok(()),
        }
    }

    /// Asks it to write what it still holds, where it can be asked.
    pub(crate) fn finish(&mut self) {
        if let Self::Process(program) = self {
            program.finish();
        }
    }

    /// Processor time of its own process so far.
    pub(crate) fn cpu(&self) -> Option<Duration> {
        match self {
            Self::Process(program) => watch::own_cpu(program.pid()),
            Self::Engine(_) => None,
        }
    }

    /// Processor time and peak memory of its own process, with what runs below it.
    pub(crate) fn usage(&self) -> Option<(Duration, u64)> {
        match self {
            Self::Process(program) => Some((watch::cpu(program.pid()), program.peak())),
            Self::Engine(_) => None,
        }
    }

    /// Ends it.
    pub(crate) async fn end(self, world: &World) -> anyhow::Result<()> {
        match self {
            Self::Process(program) => program.end().await,
            Self::Engine(engine) => engine.end(world).await,
        }
    }
}
