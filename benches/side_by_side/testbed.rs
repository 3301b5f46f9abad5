//! The stores of the bench: its own stack, a namespace in it, and a table for each run. The stack stops after the
//! bench has exited. This module never produces a record.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use clickhouse::Client;
use sluice_schemas::names::{Names, topic};
use sluice_schemas::stores::Stores;
use sluice_schemas::{Store, apply, connect, drop_namespace};
use sluice_stack::{Layout, Lease, Progress, Service, Settings, keeper, lease, up};
use tokio::time::Instant;

use crate::options::{Common, Table};
use crate::proc;

/// The `sluice` program of the same build.
pub(crate) const SLUICE: &str = env!("CARGO_BIN_EXE_sluice");
/// How long the stack waits for another user before it stops and removes its data.
const IDLE: Duration = Duration::from_mins(1);
/// [`IDLE`] with `--keep`.
const IDLE_KEPT: Duration = Duration::from_hours(2);
const STORES: [Store; 2] = [Store::Kafka, Store::ClickHouse];

/// The columns that every program fills and that the digest covers.
const FILLED_COLUMNS: &str = "event_id, tenant_id, customer_id, campaign_id, agent_id, channel, event_type, timestamp, \
                      duration_ms, success, error_code, JSONExtractUInt(metadata, 'seq')";

/// Running stores with the bench's topics and tables.
pub(crate) struct Testbed {
    pub(crate) stores: Stores,
    pub(crate) names: Names,
    pub(crate) clickhouse: Client,
    /// Folder for the programs' logs and configuration files.
    pub(crate) folder: PathBuf,
    pids: [u32; 2],
    port_base: u16,
    definition: Table,
    _lease: Lease,
}

/// Contents of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Contents {
    pub(crate) rows: u64,
    pub(crate) distinct: u64,
    pub(crate) digest: u64,
}

impl Testbed {
    /// Starts the stores and applies the platform's schemas in a namespace.
    pub(crate) async fn up(options: &Common, namespace: &str) -> anyhow::Result<Self> {
        let settings = Settings { port_base: options.port_base, ..Settings::default() };
        let layout = Layout::new(&settings)?.with_program(PathBuf::from(SLUICE));
        let lease = lease(&layout).await?;
        Box::pin(up(&layout, &[Service::Kafka, Service::ClickHouse], &Progress::stderr())).await?;
        keeper::spawn_wiping(&layout, if options.keep { IDLE_KEPT } else { IDLE })?;
        let names = Names::new(namespace)?;
        let stores = Stores { namespace: names.clone(), ..Stores::local(options.port_base) };
        apply::apply(&stores, &names, &STORES).await?;
        let status = sluice_stack::status(&layout).await?;
        let pid = |service| {
            let row = status.iter().find(|row| row.service == service);
            row.and_then(|row| row.pids.first()).map(|pid| pid.cast_unsigned()).context("find a store's process")
        };
        let folder = std::env::temp_dir().join(format!("sluice-bench-{}", options.port_base));
        std::fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
        Ok(Self {
            clickhouse: connect::clickhouse(&stores, &names),
            pids: [pid(Service::ClickHouse)?, pid(Service::Kafka)?],
            port_base: options.port_base,
            definition: options.table,
            stores,
            names,
            folder,
            _lease: lease,
        })
    }

    /// Drops and recreates topics and tables.
    pub(crate) async fn reset(&self) -> anyhow::Result<()> {
        drop_namespace(&self.stores, &self.names, &STORES).await?;
        apply::apply(&self.stores, &self.names, &STORES).await?;
        Ok(())
    }

    pub(crate) fn port_base(&self) -> u16 {
        self.port_base
    }

    /// The topic with its namespace.
    pub(crate) fn topic(&self) -> String {
        self.names.topic(topic::COMMUNICATION_EVENTS)
    }

    /// CPU time of ClickHouse and of Kafka so far.
    pub(crate) fn cpu(&self) -> [Duration; 2] {
        self.pids.map(proc::cpu)
    }

    /// Creates an empty table with the selected definition.
    pub(crate) async fn create(&self, table: &str) -> anyhow::Result<()> {
        self.drop_table(table).await?;
        self.execute(&format!("CREATE TABLE {table} AS communication_events")).await?;
        if self.definition == Table::Plain {
            return self.execute(&format!("ALTER TABLE {table} DROP PROJECTION by_offset, DROP INDEX customer")).await;
        }
        let query = "SELECT as_select FROM system.tables WHERE database = currentDatabase() AND name = 'campaign_performance_mv'";
        let view: String = self.clickhouse.query(query).fetch_one().await.context("read the view's text")?;
        let view = view.replace("communication_events", table);
        self.execute(&format!("CREATE TABLE {table}_hourly AS campaign_performance")).await?;
        self.execute(&format!("CREATE MATERIALIZED VIEW {table}_mv TO {table}_hourly AS {view}")).await
    }

    /// Drops what [`Testbed::create`] created.
    pub(crate) async fn drop_table(&self, table: &str) -> anyhow::Result<()> {
        for name in [format!("{table}_mv"), table.to_owned(), format!("{table}_hourly")] {
            self.execute(&format!("DROP TABLE IF EXISTS {name} SYNC")).await?;
        }
        Ok(())
    }

    pub(crate) async fn execute(&self, statement: &str) -> anyhow::Result<()> {
        self.clickhouse.query(statement).execute().await.with_context(|| format!("run {statement}"))
    }

    /// Number of visible rows of a table.
    pub(crate) async fn count(&self, table: &str) -> anyhow::Result<u64> {
        let query = format!("SELECT count() FROM {table}");
        self.clickhouse.query(&query).fetch_one().await.context("count rows")
    }

    /// Contents of a table, from all its rows.
    pub(crate) async fn contents(&self, table: &str) -> anyhow::Result<Contents> {
        self.contents_matching(table, "1").await
    }

    /// Contents of the rows that meet the condition.
    pub(crate) async fn contents_matching(&self, table: &str, condition: &str) -> anyhow::Result<Contents> {
        let query = format!(
            "SELECT count(), uniqExact(event_id), sum(cityHash64({FILLED_COLUMNS})) FROM {table} WHERE {condition}"
        );
        let (rows, distinct, digest) =
            self.clickhouse.query(&query).fetch_one().await.with_context(|| format!("read {table}"))?;
        Ok(Contents { rows, distinct, digest })
    }

    /// Waits until no merge is running and the stores are idle, so that no run is affected by an earlier one.
    pub(crate) async fn wait_until_idle(&self) -> anyhow::Result<()> {
        const SAMPLE: Duration = Duration::from_millis(400);
        const IDLE_DIVISOR: u32 = 20;
        let deadline = Instant::now() + Duration::from_mins(1);
        loop {
            let before = self.cpu();
            tokio::time::sleep(SAMPLE).await;
            let used: Duration = self.cpu().iter().zip(before).map(|(now, before)| now.saturating_sub(before)).sum();
            let merges: u64 = self
                .clickhouse
                .query("SELECT count() FROM system.merges")
                .fetch_one()
                .await
                .context("query the merges")?;
            if merges == 0 && used < SAMPLE / IDLE_DIVISOR {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("wait for idle stores: they are still busy after a minute; stop other programs that use them");
            }
        }
    }
}
