//! The machine on which the figures were measured, and the versions of the programs. It never checks that the machine
//! is idle.

use anyhow::Context;
use serde::Serialize;
use sluice_loadgen::report;
use sluice_stack::Service;

use crate::testbed::Testbed;

/// Machine and versions.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Machine {
    #[serde(flatten)]
    hardware: report::Machine,
    processor: String,
    kernel: String,
    measured_at: String,
    versions: Vec<(String, String)>,
}

impl Machine {
    /// This machine and the running stores.
    pub(crate) async fn current(testbed: &Testbed) -> anyhow::Result<Self> {
        let clickhouse: String =
            testbed.clickhouse.query("SELECT version()").fetch_one().await.context("query ClickHouse's version")?;
        let (_, librdkafka) = rdkafka::util::get_rdkafka_version();
        let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let processor = cpuinfo.lines().find_map(|line| line.strip_prefix("model name"));
        Ok(Self {
            hardware: report::Machine::this(),
            processor: processor.unwrap_or_default().trim_start_matches(['\t', ' ', ':']).to_owned(),
            kernel: std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned(),
            measured_at: chrono::Utc::now().format("%Y-%m-%d %H:%M UTC").to_string(),
            versions: vec![
                ("Sluice".to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
                ("Kafka".to_owned(), Service::Kafka.version().to_owned()),
                ("ClickHouse".to_owned(), clickhouse),
                ("librdkafka".to_owned(), librdkafka),
            ],
        })
    }

    /// Two lines of text.
    pub(crate) fn text(&self) -> String {
        let report::Machine { system, cpus, memory_bytes } = &self.hardware;
        let memory = memory_bytes.unwrap_or(0) >> 30;
        let versions: Vec<_> = self.versions.iter().map(|(name, version)| format!("{name} {version}")).collect();
        format!(
            "{}: {cpus} processors ({}), {memory} GiB, {system}, kernel {}\n{}",
            self.measured_at,
            self.processor,
            self.kernel,
            versions.join(", ")
        )
    }
}
