//! One trial: the table and consumer group of a program, the expected rows, and the measured cost. It never starts the
//! program.

use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

use crate::testbed::{Contents, Testbed};

/// Minimum rate that a trial waits for, in events per second.
const MIN_RATE: u64 = 10_000;

/// One run of a program: its table, consumer group and expected rows.
#[derive(Debug, Clone)]
pub(crate) struct Trial {
    pub(crate) table: String,
    /// The consumer group, without a namespace.
    pub(crate) group: String,
    pub(crate) events: u64,
    pub(crate) expected: Contents,
    /// CHECK constraint of the table, if any.
    pub(crate) check: Option<&'static str>,
}

impl Trial {
    /// The trial with this number, which must be unique in this process.
    pub(crate) fn new(number: u32, expected: Contents) -> Self {
        // A group of an earlier process would continue at its committed offsets.
        let group = format!("run-{}-{number}", std::process::id());
        Self { table: format!("run_{number}"), group, events: expected.rows, expected, check: None }
    }

    /// The same trial with a table that has this constraint.
    pub(crate) fn with_check(&self, check: &'static str) -> Self {
        Self { check: Some(check), ..self.clone() }
    }

    /// Log file of the program.
    pub(crate) fn log(&self, testbed: &Testbed) -> PathBuf {
        self.process_log(testbed, 1)
    }

    /// Log file of the program's process with this number, counted from 1.
    pub(crate) fn process_log(&self, testbed: &Testbed, process: usize) -> PathBuf {
        testbed.folder.join(format!("{}-{process}.log", self.table))
    }

    /// How long the trial may take.
    pub(crate) fn deadline(&self) -> Duration {
        Duration::from_secs(30 + self.events / MIN_RATE)
    }

    /// Compares the table with the expected rows and drops it. Returns the number of rows and a description of any difference.
    pub(crate) async fn verify(&self, testbed: &Testbed) -> anyhow::Result<(u64, Option<String>)> {
        let contents = testbed.contents(&self.table).await?;
        testbed.drop_table(&self.table).await?;
        let Contents { rows, distinct, .. } = contents;
        let wrong = match contents {
            _ if contents == self.expected => None,
            _ if distinct != self.events => Some(format!("{distinct} of {} events are in the table", self.events)),
            _ if rows != self.events => Some(format!("{} duplicate rows", rows - self.events)),
            _ => Some("the rows have other contents".to_owned()),
        };
        Ok((rows, wrong))
    }
}

/// Results of a trial.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Measured {
    /// Seconds from the start of the program to the last row, without the idle time at the end.
    pub(crate) seconds: f64,
    /// Seconds from the start until the group had assigned its partitions.
    pub(crate) join: Option<f64>,
    /// CPU seconds of the program's own processes.
    pub(crate) worker_cpu: Option<f64>,
    /// Highest peak resident memory of one of these processes, in bytes.
    pub(crate) worker_peak: Option<u64>,
    /// CPU seconds of ClickHouse.
    pub(crate) clickhouse_cpu: f64,
    /// CPU seconds of Kafka.
    pub(crate) kafka_cpu: f64,
    /// Number of rows in the table at the end.
    pub(crate) rows: u64,
    /// Difference from the expected rows, if any.
    pub(crate) wrong: Option<String>,
}

impl Measured {
    /// Events per second from the start of the program.
    pub(crate) fn gross(&self, events: u64) -> f64 {
        events as f64 / self.seconds
    }

    /// Events per second after the group had assigned its partitions.
    pub(crate) fn net(&self, events: u64) -> f64 {
        events as f64 / (self.seconds - self.join.unwrap_or(0.0))
    }
}
