//! ClickHouse's own Kafka engine with a view into the table, at what was found to be its best: two consumers, each on a
//! thread of its own. The defaults do little more than half as much.

use anyhow::Context;

use crate::race::Lap;
use crate::world::World;

/// Rows of a block; it cuts a block at the flush interval as well, whichever comes first.
const BLOCK: u32 = 100_000;
const FLUSH_MS: u32 = 1_000;

/// Its queue and its view.
pub(crate) struct Engine {
    table: String,
}

/// A build of ClickHouse may come without it.
pub(super) async fn obstacle(world: &World) -> anyhow::Result<Option<String>> {
    let query = "SELECT count() FROM system.table_engines WHERE name = 'Kafka'";
    let engines: u64 = world.clickhouse.query(query).fetch_one().await.context("ask for the Kafka engine")?;
    Ok((engines == 0).then(|| "this build of ClickHouse has no Kafka engine".to_owned()))
}

impl Engine {
    /// Makes the queue, then the view, upon which it begins.
    pub(super) async fn start(world: &World, lap: &Lap) -> anyhow::Result<Self> {
        let Lap { table, group, .. } = lap;
        let (brokers, topic) = (&world.stores.kafka.brokers, world.topic());
        world
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
        world
            .execute(&format!("CREATE MATERIALIZED VIEW {table}_feed TO {table} AS SELECT * FROM {table}_queue"))
            .await?;
        Ok(Self { table: table.clone() })
    }

    /// Removes them.
    pub(super) async fn end(self, world: &World) -> anyhow::Result<()> {
        world.execute(&format!("DROP TABLE {}_feed SYNC", self.table)).await?;
        world.execute(&format!("DROP TABLE {}_queue SYNC", self.table)).await
    }
}
