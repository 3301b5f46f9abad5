//! Shared by the tests of ingest: a namespace, a producer, a running worker, and queries to Kafka and ClickHouse.

mod records;
mod worker;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use clickhouse::Row;
use rdkafka::ClientConfig;
use rdkafka::admin::AdminClient;
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{Headers, Message, OwnedMessage};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList, TopicPartitionListElem};
use serde::Deserialize;
use sluice_ingest::config::{Retry, Settings};
use sluice_ingest::kafka::offsets;
use sluice_schemas::names::{Names, topic};
use sluice_schemas::rebootstrap::{Rebootstrap, is_unanswered};
use sluice_schemas::stores::Stores;
use sluice_schemas::{Store, apply, connect, drop_namespace};
use sluice_stack::{Layout, Service};
use sluice_testkit::{OwnClickHouse, OwnStack, Stack, eventually, free_address, fresh_names};
use uuid::Uuid;

pub(crate) use records::{Record, TENANT, event, event_record, november_records};
pub(crate) use worker::{Worker, metric, page, status, wait_for_stall};

/// How long a test waits for a condition.
pub(crate) const DEADLINE: Duration = Duration::from_mins(1);
/// The `_topic` of rows that another writer inserted.
pub(crate) const FOREIGN_TOPIC: &str = "others";
const STORES: [Store; 2] = [Store::Kafka, Store::ClickHouse];

/// A namespace with its topics and tables.
pub(crate) struct World {
    pub(crate) stores: Stores,
    pub(crate) names: Names,
    stack: TestStack,
}

/// The stack of its stores.
enum TestStack {
    Shared(Stack),
    Own(OwnStack),
}

/// A row of `communication_events`, with the columns that the tests compare.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Row, Deserialize)]
pub(crate) struct EventRow {
    #[serde(with = "clickhouse::serde::uuid")]
    pub(crate) event_id: Uuid,
    pub(crate) channel: String,
    pub(crate) timestamp_ms: i64,
    pub(crate) duration_ms: u32,
    pub(crate) success: bool,
    pub(crate) metadata: String,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
}

/// Settings with small batches, quick retries and a free port.
pub(crate) fn quick_settings() -> Settings {
    let wait = Duration::from_millis(500);
    let mut settings = Settings {
        listen: free_address(),
        retry: Retry {
            first_wait: Duration::from_millis(50),
            longest_wait: wait,
            operator_wait: wait,
            ..Retry::default()
        },
        ..Settings::default()
    };
    for pipeline in settings.pipelines.values_mut() {
        pipeline.max_age = Duration::from_millis(300);
    }
    settings
}

impl World {
    pub(crate) async fn new() -> Self {
        let stack = Stack::up(env!("CARGO_BIN_EXE_sluice"), &[Service::Kafka, Service::ClickHouse]).await;
        Self::on_stack(TestStack::Shared(stack)).await
    }

    /// Creates a namespace on a separate ClickHouse whose users file contains these profiles and users; `users` receives the
    /// name of the namespace's database.
    pub(crate) async fn with_users(profiles: &str, users: impl FnOnce(&str) -> String) -> (Self, OwnClickHouse) {
        let program = env!("CARGO_BIN_EXE_sluice");
        let stack = Stack::up(program, &[Service::Kafka, Service::ClickHouse]).await;
        let names = fresh_names("ingest");
        let clickhouse = OwnClickHouse::start(program, stack.layout(), profiles, &users(&names.database())).await;
        let mut stores = stack.stores(&names);
        stores.clickhouse.url.clone_from(&clickhouse.url);
        apply::apply(&stores, &names, &STORES).await.unwrap();
        (Self { stores, names, stack: TestStack::Shared(stack) }, clickhouse)
    }

    /// Creates a namespace on a stack that no other test uses.
    pub(crate) async fn on_own_stack() -> Self {
        let stack = OwnStack::with(env!("CARGO_BIN_EXE_sluice"), &[Service::Kafka, Service::ClickHouse]).await;
        Self::on_stack(TestStack::Own(stack)).await
    }

    async fn on_stack(stack: TestStack) -> Self {
        let names = fresh_names("ingest");
        let stores = match &stack {
            TestStack::Shared(stack) => stack.stores(&names),
            TestStack::Own(stack) => stack.stores(&names),
        };
        apply::apply(&stores, &names, &STORES).await.unwrap();
        Self { stores, names, stack }
    }

    /// Creates missing topics and tables.
    pub(crate) async fn apply(&self) {
        apply::apply(&self.stores, &self.names, &STORES).await.unwrap();
    }

    pub(crate) fn layout(&self) -> &Layout {
        match &self.stack {
            TestStack::Shared(stack) => stack.layout(),
            TestStack::Own(stack) => stack.layout(),
        }
    }

    pub(crate) fn port_base(&self) -> u16 {
        self.layout().ports().base()
    }

    pub(crate) async fn start(&self, settings: Settings) -> Worker {
        self.start_with_stores(settings, self.stores.clone()).await
    }

    pub(crate) async fn start_with_stores(&self, settings: Settings, stores: Stores) -> Worker {
        Worker::start(settings, stores, self.names.clone()).await
    }

    pub(crate) fn producer(&self, codec: &str) -> FutureProducer {
        connect::kafka_config(&self.stores).set("compression.type", codec).set("linger.ms", "5").create().unwrap()
    }

    /// Produces one record and returns its partition and offset.
    pub(crate) async fn produce(&self, producer: &FutureProducer, record: &Record) -> (i32, i64) {
        let topic = self.names.topic(topic::COMMUNICATION_EVENTS);
        let mut message = FutureRecord::<[u8], [u8]>::to(&topic).headers(record.kafka_headers());
        message.key = record.key.as_deref();
        message.payload = record.payload.as_deref();
        message.partition = record.partition;
        let delivery = producer.send(message, DEADLINE).await.map_err(|(error, _)| error).unwrap();
        (delivery.partition, delivery.offset)
    }

    /// Produces many records at once.
    pub(crate) async fn produce_all(&self, producer: &FutureProducer, records: &[Record]) {
        futures::future::join_all(records.iter().map(|record| self.produce(producer, record))).await;
    }

    pub(crate) async fn event_rows(&self) -> Vec<EventRow> {
        let query = "SELECT event_id, channel, toUnixTimestamp64Milli(timestamp) AS timestamp_ms, duration_ms, success, \
                     metadata, _partition AS partition, _offset AS offset FROM communication_events ORDER BY event_id, offset";
        connect::clickhouse(&self.stores, &self.names).query(query).fetch_all().await.unwrap()
    }

    /// Waits until the tables are older than any range announced from now on. A worker looks up the rows of a range before it
    /// repeats its INSERT if a table may be newer than the announcement. It knows the table's age only as of the start of
    /// ClickHouse's response, so the margin is longer than a response takes on a busy machine.
    pub(crate) async fn wait_until_tables_are_old(&self) {
        let age = "SELECT toInt64(min(now() - metadata_modification_time)) FROM system.tables \
                   WHERE database = currentDatabase()";
        eventually(DEADLINE, "the tables are old enough", || async {
            connect::clickhouse(&self.stores, &self.names).query(age).fetch_one::<i64>().await.unwrap() > 10
        })
        .await;
    }

    pub(crate) async fn count(&self) -> usize {
        let query = "SELECT count() FROM communication_events";
        let count: u64 = connect::clickhouse(&self.stores, &self.names).query(query).fetch_one().await.unwrap();
        usize::try_from(count).unwrap()
    }

    /// Runs a statement in ClickHouse.
    pub(crate) async fn execute(&self, sql: &str) {
        connect::clickhouse(&self.stores, &self.names).query(sql).execute().await.unwrap();
    }

    /// Number of blocks of a table that ClickHouse has dropped as duplicates, according to its log.
    pub(crate) fn deduplicated_blocks(&self, table: &str) -> usize {
        let name = format!(" {}.{table} (", self.names.database());
        let logs = sluice_stack::logs::files(self.layout(), Service::ClickHouse);
        let text: String = logs.iter().map(|log| std::fs::read_to_string(log).unwrap()).collect();
        text.lines().filter(|line| line.contains(&name) && line.contains("already exists as part")).count()
    }

    /// Inserts rows into the same table as another writer, each with a different token.
    pub(crate) async fn write_foreign_rows(&self, inserts: u32) {
        for n in 0..inserts {
            let columns = "event_id, timestamp, duration_ms, _topic, _offset";
            let row = format!("generateUUIDv4(), '2026-11-05 00:00:00', {}, '{FOREIGN_TOPIC}', {n}", 1_000_000 + n);
            self.execute(&format!("INSERT INTO communication_events ({columns}) VALUES ({row})")).await;
        }
    }

    /// Limits the deduplication windows of the table and its view's target to this many tokens.
    pub(crate) async fn shrink_window(&self, tokens: u64) {
        for table in ["communication_events", "campaign_performance"] {
            let setting = format!("MODIFY SETTING non_replicated_deduplication_window = {tokens}");
            self.execute(&format!("ALTER TABLE {table} {setting}")).await;
        }
    }

    pub(crate) fn admin(&self) -> AdminClient<DefaultClientContext> {
        connect::kafka_config(&self.stores).create().unwrap()
    }

    /// Waits until the table has at least `count` rows.
    pub(crate) async fn wait_for_rows(&self, count: usize) {
        eventually(DEADLINE, "all rows land", || async { self.count().await >= count }).await;
    }

    /// Sum of the group's committed offsets of a topic.
    pub(crate) async fn committed_sum(&self, topic: &str) -> i64 {
        self.offsets(topic).await.values().map(|(offset, _)| offset).sum()
    }

    /// The group's committed offsets and their metadata for a topic, by partition.
    pub(crate) async fn offsets(&self, topic: &str) -> BTreeMap<i32, (i64, String)> {
        let topic = self.names.topic(topic);
        let config = self.group_config();
        blocking(move || {
            let consumer: BaseConsumer = config.create().unwrap();
            let list = all_partitions(&consumer, &topic);
            let committed = offsets::committed(&consumer, &list, DEADLINE).unwrap();
            let entry = |element: &TopicPartitionListElem<'_>| match element.offset() {
                Offset::Offset(offset) => Some((element.partition(), (offset, element.metadata().to_owned()))),
                _ => None,
            };
            committed.elements().iter().filter_map(entry).collect()
        })
        .await
    }

    /// Commits an offset for the group; all its workers must have left.
    pub(crate) async fn set_offset(&self, topic: &str, partition: i32, offset: i64, metadata: &str) {
        let (config, mut list) = (self.group_config(), TopicPartitionList::new());
        let mut element = list.add_partition(&self.names.topic(topic), partition);
        element.set_offset(Offset::Offset(offset)).unwrap();
        element.set_metadata(metadata);
        blocking(move || {
            let consumer: BaseConsumer = config.create().unwrap();
            consumer.commit(&list, CommitMode::Sync).unwrap();
        })
        .await;
    }

    /// Configuration of a client in the workers' group.
    fn group_config(&self) -> ClientConfig {
        let mut config = connect::kafka_config(&self.stores);
        config.set("group.id", self.names.group(&Settings::default().group)).set("enable.auto.commit", "false");
        config
    }

    /// All dead letters, by the record's original partition and offset.
    pub(crate) async fn dead_letters(&self) -> BTreeMap<(i32, i64), OwnedMessage> {
        let letters = self.read_all(topic::CLICKHOUSE_ERRORS).await.into_iter().map(|letter| {
            let number = |name| header(&letter, name).unwrap().parse::<i64>().unwrap();
            ((i32::try_from(number("sluice.partition")).unwrap(), number("sluice.offset")), letter)
        });
        letters.collect()
    }

    /// All records of a topic, except those of aborted transactions.
    pub(crate) async fn read_all(&self, topic: &str) -> Vec<OwnedMessage> {
        let topic = self.names.topic(topic);
        let mut config = connect::kafka_config(&self.stores);
        let rebootstrap = Rebootstrap::new(&config);
        config.set("group.id", "reader").set("enable.partition.eof", "true").set("enable.auto.commit", "false");
        blocking(move || {
            let consumer: BaseConsumer = config.create().unwrap();
            let mut partitions = all_partitions(&consumer, &topic);
            partitions.set_all_offsets(Offset::Beginning).unwrap();
            consumer.assign(&partitions).unwrap();
            let (mut messages, mut unfinished, mut last_progress) = (Vec::new(), partitions.count(), Instant::now());
            while unfinished > 0 {
                let polled = consumer.poll(DEADLINE / 12);
                match polled {
                    // A test may suspend the broker, which disconnects this client too.
                    None => rebootstrap.add_servers(consumer.client()),
                    Some(Err(error)) if is_unanswered(&error) => {}
                    Some(Err(KafkaError::PartitionEOF(_))) => {
                        (unfinished, last_progress) = (unfinished - 1, Instant::now());
                    }
                    Some(message) => {
                        messages.push(message.unwrap().detach());
                        last_progress = Instant::now();
                    }
                }
                assert!(last_progress.elapsed() < DEADLINE, "{topic}: neither a record nor the end of a partition");
            }
            messages
        })
        .await
    }

    /// Drops the namespace. A failing test keeps it for inspection.
    pub(crate) async fn drop_namespace(self) {
        drop_namespace(&self.stores, &self.names, &STORES).await.unwrap();
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}

fn all_partitions(consumer: &BaseConsumer, topic: &str) -> TopicPartitionList {
    let metadata = consumer.fetch_metadata(Some(topic), DEADLINE).unwrap();
    let mut list = TopicPartitionList::new();
    for partition in metadata.topics()[0].partitions() {
        list.add_partition(topic, partition.id());
    }
    list
}

/// Text of the last header with this name.
pub(crate) fn header<M: Message>(message: &M, name: &str) -> Option<String> {
    let headers = message.headers()?;
    let header = headers.iter().filter(|header| header.key == name).last()?;
    Some(String::from_utf8(header.value?.to_vec()).unwrap())
}
