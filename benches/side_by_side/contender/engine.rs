//! ClickHouse's own Kafka engine with a view into the table, in the fastest configuration found: two consumers, each with its
//! own thread. The defaults reach little more than half of that. The engine has no process of its own, so its CPU time counts
//! as ClickHouse's.

use anyhow::Context;

use crate::testbed::Testbed;
use crate::trial::Trial;

/// Rows of a block; the engine flushes after this many rows or at the interval, whichever comes first.
const BLOCK: u32 = 100_000;
const FLUSH_MS: u32 = 1_000;

/// The engine's queue table and view of one trial.
pub(crate) struct Engine {
    table: String,
}

/// Checks whether this build of ClickHouse has the engine.
pub(super) async fn obstacle(testbed: &Testbed) -> anyhow::Result<Option<String>> {
    let query = "SELECT count() FROM system.table_engines WHERE name = 'Kafka'";
    let engines: u64 = testbed.clickhouse.query(query).fetch_one().await.context("query the Kafka engine")?;
    Ok((engines == 0).then(|| "this build of ClickHouse has no Kafka engine".to_owned()))
}

impl Engine {
    /// Creates the queue, then the view, which starts it.
    pub(super) async fn start(testbed: &Testbed, trial: &Trial) -> anyhow::Result<Self> {
        let Trial { table, group, .. } = trial;
        let (brokers, topic) = (&testbed.stores.kafka.brokers, testbed.topic());
        testbed
            .execute(&format!(
                "CREATE TABLE {table}_queue (event_id UUID, tenant_id UUID, customer_id UUID, campaign_id UUID, \
                 agent_id String, channel LowCardinality(String), event_type LowCardinality(String), \
                 timestamp DateTime64(3, 'UTC'), duration_ms UInt32, success Bool, error_code LowCardinality(String), \
                 metadata String) ENGINE = Kafka SETTINGS kafka_broker_list = '{brokers}', \
                 kafka_topic_list = '{topic}', kafka_group_name = '{group}', kafka_format = 'JSONEachRow', \
                 kafka_num_consumers = 2, kafka_thread_per_consumer = 1, kafka_max_block_size = {BLOCK}, \
                 kafka_flush_interval_ms = {FLUSH_MS}, date_time_input_format = 'best_effort', \
                 input_format_json_read_objects_as_strings = 1"
            ))
            .await?;
        testbed
            .execute(&format!("CREATE MATERIALIZED VIEW {table}_feed TO {table} AS SELECT * FROM {table}_queue"))
            .await?;
        Ok(Self { table: table.clone() })
    }

    /// Drops the view and the queue.
    pub(super) async fn stop(self, testbed: &Testbed) -> anyhow::Result<()> {
        testbed.execute(&format!("DROP TABLE {}_feed SYNC", self.table)).await?;
        testbed.execute(&format!("DROP TABLE {}_queue SYNC", self.table)).await
    }
}
