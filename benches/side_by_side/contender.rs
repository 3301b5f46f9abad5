//! The programs that are compared, and how each is started on one table with one consumer group. It neither waits for
//! rows nor verifies them.

pub(crate) mod consume;
mod engine;
pub(crate) mod insert;
pub(crate) mod obvious;
pub(crate) mod other;
pub(crate) mod sluice;

use std::time::Duration;

use crate::child::Program;
use crate::options::{Other, Speed};
use crate::proc;
use crate::testbed::Testbed;
use crate::trial::Trial;
use engine::Engine;

/// One line of the results table.
#[derive(Debug, Clone)]
pub(crate) struct Contender {
    pub(crate) kind: Kind,
    /// Rows of a batch, for a program with batches.
    pub(crate) batch: Option<u64>,
}

/// The program.
#[derive(Debug, Clone)]
pub(crate) enum Kind {
    /// A ceiling: librdkafka alone.
    Consume,
    /// A ceiling: ClickHouse alone, with rows encoded in advance.
    Insert {
        /// Concurrent INSERTs.
        connections: usize,
    },
    /// `sluice ingest`.
    Sluice {
        /// Members of its consumer group, one process each.
        processes: usize,
    },
    /// The obvious first implementation in Rust.
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
    /// Everything that the options select, in the order of the report.
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
        let is_selected = |contender: &Self| {
            options.only.is_empty() || options.only.iter().any(|word| contender.name().contains(word))
        };
        all.filter(is_selected).collect()
    }

    /// Name in the report.
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

    /// Why the program cannot run here, if it cannot.
    pub(crate) async fn obstacle(&self, testbed: &Testbed) -> anyhow::Result<Option<String>> {
        match self.kind {
            Kind::Engine => engine::obstacle(testbed).await,
            _ => Ok(None),
        }
    }

    /// Name of the consumer group in Kafka: Sluice adds its namespace as a prefix.
    pub(crate) fn group(&self, testbed: &Testbed, trial: &Trial) -> String {
        match self.kind {
            Kind::Sluice { .. } => testbed.names.group(&trial.group),
            _ => trial.group.clone(),
        }
    }

    /// Starts the program. The two ceilings are not programs; their own modules run them.
    pub(crate) async fn start(&self, testbed: &Testbed, trial: &Trial) -> anyhow::Result<Running> {
        let batch = self.batch.unwrap_or_default();
        match &self.kind {
            Kind::Sluice { processes } => {
                let members = (1..=*processes).map(|number| sluice::start(testbed, trial, batch, number));
                members.collect::<anyhow::Result<_>>().map(Running::Processes)
            }
            Kind::Obvious { tuned } => obvious::start(testbed, trial, batch, *tuned).map(Running::process),
            Kind::Engine => Engine::start(testbed, trial).await.map(Running::Engine),
            Kind::Other(other) => other.start(testbed, trial, batch).map(Running::process),
            Kind::Consume | Kind::Insert { .. } => anyhow::bail!("start {}: it is not a program", self.name()),
        }
    }
}

/// A running program.
pub(crate) enum Running {
    /// In separate processes.
    Processes(Vec<Program>),
    /// Inside the server.
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

    /// Fails if a process has exited.
    pub(crate) fn check(&mut self) -> anyhow::Result<()> {
        match self {
            Self::Processes(programs) => programs.iter_mut().try_for_each(Program::check),
            Self::Engine(_) => Ok(()),
        }
    }

    /// Asks the processes to write their open batches and exit. The Kafka engine cannot be asked.
    pub(crate) fn finish(&mut self) {
        if let Self::Processes(programs) = self {
            programs.iter_mut().for_each(Program::finish);
        }
    }

    /// CPU time of the program's processes so far.
    pub(crate) fn cpu(&self) -> Option<Duration> {
        let each = self.processes().iter().map(|program| proc::own_cpu(program.pid()));
        each.reduce(|total, cpu| Some(total? + cpu?)).flatten()
    }

    /// CPU time of the program's processes with their descendants, and the highest peak memory of one process, in bytes.
    pub(crate) fn usage(&self) -> Option<(Duration, u64)> {
        let each = self.processes().iter().map(|program| (proc::cpu(program.pid()), program.peak()));
        each.reduce(|(total, highest), (cpu, peak)| (total + cpu, highest.max(peak)))
    }

    /// Stops the program.
    pub(crate) async fn stop(self, testbed: &Testbed) -> anyhow::Result<()> {
        match self {
            Self::Processes(programs) => {
                for program in programs {
                    program.stop().await?;
                }
                Ok(())
            }
            Self::Engine(engine) => engine.stop(testbed).await,
        }
    }
}
