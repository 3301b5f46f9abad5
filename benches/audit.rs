//! Measures the duration of `sluice ingest audit`: `cargo bench --bench audit`, see docs/operating-ingest.md.
//! It starts its own stack, fills a table like the platform's with rows of six partitions, and audits it several times. It also
//! prints ClickHouse's query plans with and without the projection. No worker runs: rows and offsets are written directly.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::Parser;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use sluice_ingest::config::{Pipeline, Settings};
use sluice_ingest::kafka::topic_id::topic_id;
use sluice_ingest::operator::audit::{Account, Audit, Options};
use sluice_schemas::names::{Names, topic};
use sluice_schemas::stores::Stores;
use sluice_schemas::{Store, apply, connect};
use sluice_stack::{Layout, Progress, Service, keeper, lease, up};

const PARTITIONS: u64 = 6;
/// Rows per INSERT while the table is filled.
const BLOCK: u64 = 1_000_000;
/// How long Kafka may take to respond.
const KAFKA_TIMEOUT: Duration = Duration::from_secs(30);
/// How long the stack waits for another user before it stops and removes its data: without and with `--fill`.
const IDLE: [Duration; 2] = [Duration::from_mins(1), Duration::from_hours(2)];

/// Measures the audit of many rows
#[derive(Debug, Parser)]
#[command(name = "audit", bin_name = "cargo bench --bench audit --")]
struct Arguments {
    /// Rows in the table
    #[arg(long, default_value_t = 20_000_000)]
    rows: u64,
    /// Number of audits to run
    #[arg(long, default_value_t = 5)]
    rounds: u32,
    /// First port of the bench's own stack
    #[arg(long, default_value_t = 28_600)]
    port_base: u16,
    /// Only fill the table, and keep the stack for two hours
    #[arg(long)]
    fill: bool,
    /// Passed by Cargo to every bench
    #[arg(long, hide = true)]
    bench: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(&Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            print(&format!("failed to {error:#}"));
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let settings = sluice_stack::Settings { port_base: arguments.port_base, ..sluice_stack::Settings::default() };
    let layout = Layout::new(&settings)?.with_program(PathBuf::from(env!("CARGO_BIN_EXE_sluice")));
    let _lease = lease(&layout).await?;
    Box::pin(up(&layout, &[Service::Kafka, Service::ClickHouse], &Progress::stderr())).await?;
    keeper::spawn_wiping(&layout, IDLE[usize::from(arguments.fill)])?;
    let names = Names::new("audit")?;
    let stores = Stores { namespace: names.clone(), ..Stores::local(arguments.port_base) };
    apply::apply(&stores, &names, &[Store::Kafka, Store::ClickHouse]).await?;
    let table = format!("audited_{}", arguments.rows);
    let bench = Bench { stores, names, table };
    bench.fill(arguments.rows).await?;
    if arguments.fill { Ok(()) } else { bench.measure(arguments).await }
}

struct Bench {
    stores: Stores,
    names: Names,
    table: String,
}

impl Bench {
    fn topic(&self) -> String {
        self.names.topic(topic::COMMUNICATION_EVENTS)
    }

    /// Inserts missing rows and commits the matching offsets.
    async fn fill(&self, rows: u64) -> anyhow::Result<()> {
        let (Self { table, .. }, clickhouse) = (self, connect::clickhouse(&self.stores, &self.names));
        clickhouse.query(&format!("CREATE TABLE IF NOT EXISTS {table} AS communication_events")).execute().await?;
        let id = self.commit_offsets(rows).await?;
        let existing: u64 = clickhouse.query(&format!("SELECT count() FROM {table}")).fetch_one().await?;
        for start in (existing..rows).step_by(BLOCK as usize) {
            let (topic, count) = (self.topic(), BLOCK.min(rows - start));
            // Rows cycle through six partitions, over two months, of 1,000 tenants.
            let insert = format!(
                "INSERT INTO {table} (event_id, tenant_id, customer_id, agent_id, channel, event_type, timestamp, \
                 duration_ms, success, metadata, _topic, _topic_id, _partition, _offset) \
                 SELECT reinterpretAsUUID(toUInt128(number)), reinterpretAsUUID(toUInt128(cityHash64(number) % 1000)), \
                 reinterpretAsUUID(toUInt128(cityHash64(number, 1) % 1000000)), 'agent 7', 'email', 'delivered', \
                 toDateTime64('2026-10-01 00:00:00', 3, 'UTC') + number * 60 * 86400 / {rows}, number % 1000, 1, \
                 concat('{{\"seq\":', toString(number), '}}'), '{topic}', '{id}', number % {PARTITIONS}, \
                 intDiv(number, {PARTITIONS}) FROM numbers({start}, {count}) \
                 SETTINGS max_insert_block_size = 1048576, min_insert_block_size_rows = 1000000"
            );
            clickhouse.query(&insert).execute().await.with_context(|| format!("insert from row {start} on"))?;
        }
        Ok(())
    }

    /// Commits offsets as if a worker had consumed everything; returns the topic ID.
    async fn commit_offsets(&self, rows: u64) -> anyhow::Result<uuid::Uuid> {
        let topic = self.topic();
        let mut kafka = connect::kafka_config(&self.stores);
        kafka.set("group.id", self.names.group(&Settings::default().group)).set("enable.auto.commit", "false");
        let commit = move || {
            let consumer: BaseConsumer = kafka.create()?;
            let mut list = TopicPartitionList::new();
            for partition in 0..PARTITIONS {
                let offsets = (rows + PARTITIONS - 1 - partition) / PARTITIONS;
                let offset = Offset::Offset(offsets.cast_signed());
                list.add_partition_offset(&topic, i32::try_from(partition)?, offset)?;
            }
            consumer.commit(&list, CommitMode::Sync)?;
            Ok(topic_id(consumer.client(), &topic, KAFKA_TIMEOUT)?)
        };
        tokio::task::spawn_blocking(commit).await?
    }

    async fn measure(&self, arguments: &Arguments) -> anyhow::Result<()> {
        let clickhouse = connect::clickhouse(&self.stores, &self.names);
        let version: String = clickhouse.query("SELECT version()").fetch_one().await?;
        let parts = "SELECT count() FROM system.parts WHERE active AND database = currentDatabase() AND table = ?";
        let parts: u64 = clickhouse.query(parts).bind(&self.table).fetch_one().await?;
        print(&format!("{} rows in {parts} parts, {PARTITIONS} partitions, ClickHouse {version}", arguments.rows));
        for (name, exact) in [("fast", false), ("--exact", true)] {
            let mut times = Vec::new();
            for _ in 0..arguments.rounds {
                times.push(self.audit(arguments.rows, exact).await?);
            }
            times.sort_unstable();
            let median = times[times.len() / 2].as_secs_f64();
            print(&format!(
                "audit, {name}: {median:.3} s, from {:.3} to {:.3} s in {} rounds; {:.2} s per 100 million rows",
                times[0].as_secs_f64(),
                times[times.len() - 1].as_secs_f64(),
                times.len(),
                median * 1e8 / arguments.rows as f64
            ));
        }
        self.show_plans().await
    }

    /// Returns the duration of one audit, including the queries to Kafka and ClickHouse and the reading of dead letters.
    async fn audit(&self, rows: u64, exact: bool) -> anyhow::Result<Duration> {
        let mut settings = Settings::default();
        let pipeline = Pipeline { table: self.table.clone(), ..Pipeline::default() };
        settings.pipelines = [(topic::COMMUNICATION_EVENTS.to_owned(), pipeline)].into();
        let options = Options { exact, ..Options::default() };
        let audit = Audit::new(settings, self.stores.clone(), self.names.clone(), options)?;
        let started = Instant::now();
        let accounts = audit.run(None).await?;
        let duration = started.elapsed();
        let inserted: u64 = accounts.iter().map(|account| account.inserted).sum();
        if inserted != rows || !accounts.iter().all(Account::is_exact) {
            bail!("audit {rows} rows: {inserted} were found, {accounts:?}");
        }
        Ok(duration)
    }

    /// Shows what ClickHouse reads for one partition, with and without the projection.
    async fn show_plans(&self) -> anyhow::Result<()> {
        let clickhouse = connect::clickhouse(&self.stores, &self.names);
        let query = format!(
            "SELECT count(), sum(toUInt64(_offset)), sum(toUInt64(_offset) * toUInt64(_offset)) FROM {} \
             WHERE _topic = '{}' AND _partition = 3 AND _offset >= 0",
            self.table,
            self.topic()
        );
        for uses_projection in [1, 0] {
            let setting = format!("SETTINGS optimize_use_projections = {uses_projection}");
            let plan: Vec<String> =
                clickhouse.query(&format!("EXPLAIN indexes = 1 {query} {setting}")).fetch_all().await?;
            let is_relevant = |line: &&String| ["ReadFrom", "Granules", "Parts"].iter().any(|word| line.contains(word));
            let relevant: Vec<_> = plan.iter().filter(is_relevant).map(|line| line.trim()).collect();
            let started = Instant::now();
            clickhouse.query(&format!("{query} {setting}")).fetch_one::<(u64, u64, u64)>().await?;
            print(&format!(
                "one partition, optimize_use_projections = {uses_projection}: {:.3} s; {}",
                started.elapsed().as_secs_f64(),
                relevant.join("; ")
            ));
        }
        Ok(())
    }
}

#[expect(clippy::print_stdout, reason = "a bench prints its results")]
fn print(text: &str) {
    println!("{text}");
}
