//! Every startup check of a worker detects its fault on real stores and names the remedy; without that fault, the worker starts.

use std::time::Duration;

use sluice_ingest::config::Settings;
use sluice_schemas::names::topic::COMMUNICATION_EVENTS;
use tokio_util::sync::CancellationToken;

use crate::harness::{DEADLINE, World, quick_settings};

/// Columns that all tables of these tests share.
const COLUMNS: &str = "event_id UUID, timestamp DateTime64(3, 'UTC'), duration_ms UInt32, _topic LowCardinality(String), \
                       _topic_id UUID, _partition Int32, _offset Int64";
const WINDOW: &str = "SETTINGS non_replicated_deduplication_window = 10000";

/// Settings with one topic, whose records land in `table`.
pub(crate) fn settings_for_table(table: &str) -> Settings {
    let mut settings = quick_settings();
    for (topic, pipeline) in &mut settings.pipelines {
        pipeline.enabled = topic == COMMUNICATION_EVENTS;
        table.clone_into(&mut pipeline.table);
    }
    settings
}

/// The error of a worker that does not start.
pub(crate) async fn startup_error(world: &World, settings: Settings) -> String {
    let shutdown = CancellationToken::new();
    let run = sluice_ingest::run(settings, world.stores.clone(), world.names.clone(), shutdown);
    match tokio::time::timeout(DEADLINE, run).await {
        Ok(result) => result.expect_err("a worker that exits has failed").to_string(),
        Err(elapsed) => panic!("the worker was not refused: {elapsed}"),
    }
}

/// Asserts that a worker starts.
pub(crate) async fn assert_starts(world: &World, settings: Settings) {
    world.start(settings).await.stop().await;
}

/// Creates a table, asserts that a worker refuses it with these words, and drops it.
async fn assert_table_refused(world: &World, definition: &str, words: &[&str]) {
    world.execute(definition).await;
    let output = startup_error(world, settings_for_table("own")).await;
    assert!(words.iter().all(|word| output.contains(word)), "{definition}: {output}");
    world.execute("DROP TABLE own").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unsuitable_engines_are_refused() {
    let world = World::new().await;
    let good = format!("CREATE TABLE good ({COLUMNS}) ENGINE = MergeTree ORDER BY event_id {WINDOW}");
    world.execute(&good).await;
    assert_starts(&world, settings_for_table("good")).await;
    let merged = "merges rows with equal sorting keys";
    for engine in ["ReplacingMergeTree", "SummingMergeTree", "AggregatingMergeTree", "CoalescingMergeTree"] {
        let definition = format!("CREATE TABLE own ({COLUMNS}) ENGINE = {engine} ORDER BY event_id {WINDOW}");
        assert_table_refused(&world, &definition, &[engine, merged, "let records land in a MergeTree table"]).await;
    }
    let signed = format!(
        "CREATE TABLE own ({COLUMNS}, sign Int8 DEFAULT 1) ENGINE = CollapsingMergeTree(sign) ORDER BY event_id {WINDOW}"
    );
    assert_table_refused(&world, &signed, &[merged]).await;
    let buffer = "Buffer(currentDatabase(), good, 1, 10, 100, 1, 10, 100, 1000)";
    for (engine, remedy) in [
        ("Null", "let records land in a MergeTree table"),
        ("Memory", "does not recognize a repeated INSERT"),
        ("Log", "does not recognize a repeated INSERT"),
        ("Set", "does not recognize a repeated INSERT"),
        (buffer, "name the table behind it"),
        ("Merge(currentDatabase(), '^good$')", "stores no rows of its own"),
    ] {
        let definition = format!("CREATE TABLE own ({COLUMNS}) ENGINE = {engine}");
        assert_table_refused(&world, &definition, &[remedy]).await;
    }
    assert_table_refused(&world, "CREATE VIEW own AS SELECT * FROM good", &["name the table that it reads"]).await;
    let through = "CREATE MATERIALIZED VIEW own TO good AS SELECT * FROM communication_events WHERE 0";
    let through = through.replace('*', "event_id, timestamp, duration_ms, _topic, _topic_id, _partition, _offset");
    assert_table_refused(&world, &through, &["name the table that it writes to"]).await;
    world.drop_namespace().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unsuitable_tables_are_refused() {
    let world = World::new().await;
    assert!(startup_error(&world, settings_for_table("nowhere")).await.contains("table nowhere does not exist"));
    let table = |columns: &str, key: &str| {
        format!("CREATE TABLE own ({columns}) ENGINE = MergeTree PARTITION BY {key} ORDER BY event_id {WINDOW}")
    };
    let month = "toYYYYMM(timestamp)";
    let table_with_change = |from: &str, to: &str| {
        let columns = COLUMNS.replace(from, to);
        assert_ne!(columns, COLUMNS);
        table(&columns, month)
    };
    for (definition, words) in [
        (table_with_change(", _offset Int64", ""), "needs a column _offset of type Int64 that can be written"),
        (
            table_with_change("_offset Int64", "_offset Int64 MATERIALIZED 1"),
            "needs a column _offset of type Int64 that can be written",
        ),
        (
            table_with_change("_partition Int32", "_partition Int64"),
            "needs a column _partition of type Int32 that can be written",
        ),
        (table_with_change("duration_ms UInt32", "duration_ms Decimal(76, 2)"), "has type Decimal(76, 2)"),
        (table(COLUMNS, "toDate(timestamp)"), "has the partition key toDate(timestamp)"),
        (table(COLUMNS, "duration_ms"), "has the partition key duration_ms"),
        (table_with_change("'UTC'", "'Europe/Berlin'"), "has the partition key toYYYYMM(timestamp)"),
        (table_with_change("DateTime64(3, 'UTC')", "DateTime64(3, 'UTC') DEFAULT now()"), "has the partition key"),
    ] {
        assert_table_refused(&world, &definition, &[words]).await;
    }
    world.execute(&table(COLUMNS, month)).await;
    let mut settings = settings_for_table("own");
    let pipeline = settings.pipelines.get_mut(COMMUNICATION_EVENTS).unwrap();
    pipeline.columns.insert("misspelled".to_owned(), "duration_ms".to_owned());
    assert!(startup_error(&world, settings).await.contains("no writable column misspelled"));
    assert_starts(&world, settings_for_table("own")).await;
    world.drop_namespace().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn missing_topics_and_stores_are_refused() {
    let world = World::new().await;
    let mut settings = quick_settings();
    let pipeline = settings.pipelines[COMMUNICATION_EVENTS].clone();
    settings.pipelines.insert("unknown-topic".to_owned(), pipeline);
    assert!(startup_error(&world, settings).await.contains("unknown-topic: it does not exist"));
    let missing_dead_letter_topic = Settings { dead_letter_topic: "nowhere".to_owned(), ..quick_settings() };
    assert!(startup_error(&world, missing_dead_letter_topic).await.contains("nowhere: it does not exist"));
    let with_short_deadline = || Settings { start_deadline: Duration::from_millis(1), ..quick_settings() };
    for (store, words) in [("clickhouse", "start with ClickHouse"), ("kafka", "connect to Kafka")] {
        let mut stores = world.stores.clone();
        let unused_address = sluice_testkit::free_address().to_string();
        match store {
            "kafka" => stores.kafka.brokers = unused_address,
            _ => stores.clickhouse.url = format!("http://{unused_address}"),
        }
        let run = sluice_ingest::run(with_short_deadline(), stores, world.names.clone(), CancellationToken::new());
        let output =
            tokio::time::timeout(DEADLINE, run).await.expect("the worker gives up in time").unwrap_err().to_string();
        assert!(output.contains(words), "{output}");
    }
    assert_starts(&world, quick_settings()).await;
    world.drop_namespace().await;
}
