//! A rebuild corrects everything that is derived from one month of a table and changes nothing else: views on targets, inner
//! tables, several views into one table, tables of the same name in other databases. It refuses what it cannot correct, and
//! INSERTs in flight do not mislead it.

use std::process::Stdio;

use sluice_schemas::connect;
use sluice_testkit::{InterceptingProxy, Interception, eventually};
use tokio::process::Command;

use crate::harness::{DEADLINE, World};
use crate::oracle::AGGREGATES;

/// Runs `sluice ingest rebuild` with these faults; returns the exit code and both outputs.
async fn rebuild(world: &World, table: &str, faults: &str) -> (i32, String) {
    rebuild_at(world, &world.stores.clickhouse.url, table, faults).await
}

async fn rebuild_at(world: &World, url: &str, table: &str, faults: &str) -> (i32, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_sluice"))
        .args(["--namespace", world.names.namespace(), "--port-base", &world.port_base().to_string()])
        .args(["ingest", "rebuild", table, "2026-11"])
        .env("SLUICE_FAULTS", faults)
        .env("SLUICE_STORES__CLICKHOUSE__URL", url)
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap();
    (output.status.code().unwrap(), String::from_utf8([output.stderr, output.stdout].concat()).unwrap())
}

async fn query_count(world: &World, query: &str) -> u64 {
    connect::clickhouse(&world.stores, &world.names).query(query).fetch_one().await.unwrap()
}

const MONTHLY: &str = "ENGINE = SummingMergeTree PARTITION BY toYYYYMM(hour) ORDER BY (tenant_id, hour)";
const BY_HOUR: &str =
    "SELECT tenant_id, toDateTime(toStartOfHour(timestamp), 'UTC') AS hour, count() AS n FROM communication_events";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rebuild_covers_stages_inner_tables_and_other_databases() {
    let world = World::new().await;
    let other_database = format!("{}_other", world.names.database());
    let columns = "(tenant_id UUID, hour DateTime('UTC'), n UInt64)";
    for statement in [
        format!("CREATE DATABASE {other_database}"),
        // A second stage, and a third in another database, in which a table of the first database has the same name.
        format!("CREATE TABLE second {columns} {MONTHLY}"),
        "CREATE MATERIALIZED VIEW second_mv TO second AS SELECT tenant_id, hour, sum(total_events) AS n FROM campaign_performance GROUP BY tenant_id, hour".to_owned(),
        format!("CREATE TABLE {other_database}.totals {columns} {MONTHLY}"),
        format!("CREATE TABLE totals {columns} {MONTHLY}"),
        format!("CREATE MATERIALIZED VIEW totals_mv TO {other_database}.totals AS SELECT tenant_id, hour, sum(n) AS n FROM second GROUP BY tenant_id, hour"),
        "INSERT INTO totals VALUES (generateUUIDv4(), '2026-11-03 00:00:00', 7)".to_owned(),
        // An inner table, and a table that two views write to.
        format!("CREATE MATERIALIZED VIEW inner_mv {MONTHLY} AS {BY_HOUR} GROUP BY tenant_id, hour"),
        format!("CREATE TABLE halves {columns} {MONTHLY}"),
        format!("CREATE MATERIALIZED VIEW even_mv TO halves AS {BY_HOUR} WHERE duration_ms % 2 = 0 GROUP BY tenant_id, hour"),
        format!("CREATE MATERIALIZED VIEW odd_mv TO halves AS {BY_HOUR} WHERE duration_ms % 2 = 1 GROUP BY tenant_id, hour"),
    ] {
        world.execute(&statement).await;
    }
    fill(&world).await;
    let tables = ["second".to_owned(), format!("{other_database}.totals"), "inner_mv".to_owned(), "halves".to_owned()];
    let wrong = async |world: &World| {
        let mut wrong = vec![query_count(world, AGGREGATES).await];
        for table in &tables {
            wrong.push(100_u64.abs_diff(query_count(world, &format!("SELECT sum(n) FROM {table}")).await));
        }
        wrong
    };
    assert_eq!(wrong(&world).await, [0; 5], "the aggregates are correct at first");
    world
        .execute(
            "ALTER TABLE campaign_performance DELETE WHERE hour >= '2026-11-05 00:00:00' SETTINGS mutations_sync = 2",
        )
        .await;
    for table in ["second", &format!("{other_database}.totals"), "halves"] {
        world.execute(&format!("INSERT INTO {table} SELECT * FROM {table} WHERE toYYYYMM(hour) = 202611")).await;
    }
    world.execute("INSERT INTO inner_mv SELECT generateUUIDv4(), toDateTime('2026-11-03 00:00:00', 'UTC'), 5").await;
    assert!(wrong(&world).await.iter().all(|wrong| *wrong > 0), "negative control: all aggregates are wrong now");
    let (code, printed) = rebuild(&world, "communication_events", "").await;
    assert!(code == 0 && printed.contains("the 5 aggregate tables"), "{code}: {printed}");
    assert_eq!(wrong(&world).await, [0; 5]);
    assert_eq!(query_count(&world, "SELECT sum(n) FROM totals").await, 7, "the table of the same name is unchanged");
    let remaining = format!(
        "SELECT count() FROM system.tables WHERE database LIKE '{}%' AND name LIKE '%__rebuild%'",
        world.names.database()
    );
    assert_eq!(query_count(&world, &remaining).await, 0);
    world.execute(&format!("DROP DATABASE {other_database}")).await;
    world.drop_namespace().await;
}

/// Inserts events of October and November, of three tenants, as another writer.
async fn fill(world: &World) {
    let rows = "SELECT generateUUIDv4() AS event_id, toUUID(concat('00000000-0000-0000-0000-00000000000', toString(number % 3))) \
                AS tenant_id, toDateTime64('2026-10-20 00:00:00', 3, 'UTC') + 6 * 3600 * number AS timestamp, number AS duration_ms, \
                'others' AS _topic, number AS _offset FROM numbers(100)";
    let columns = "event_id, tenant_id, timestamp, duration_ms, _topic, _offset";
    world.execute(&format!("INSERT INTO communication_events ({columns}) {rows}")).await;
}

/// Rebuilds a target of two views while a proxy repeats the statement that fills it; returns how many aggregates are wrong.
async fn wrong_after_repetition(faults: &str) -> u64 {
    let world = World::new().await;
    fill(&world).await;
    let view = "SELECT tenant_id, campaign_id, channel, toStartOfHour(timestamp) AS hour, count() AS total_events, \
                countIf(success) AS successful_events, avgState(duration_ms) AS avg_duration, \
                quantileTDigestState(0.95)(duration_ms) AS p95_duration FROM communication_events WHERE 0 \
                GROUP BY tenant_id, campaign_id, channel, hour";
    world.execute(&format!("CREATE MATERIALIZED VIEW another_mv TO campaign_performance AS {view}")).await;
    let proxy = InterceptingProxy::in_front_of(&world.stores.clickhouse.url).await;
    proxy.intercept(Interception::Repeat, "SELECT * FROM (SELECT");
    let (code, printed) = rebuild_at(&world, &proxy.url, "communication_events", faults).await;
    let wrong = query_count(&world, AGGREGATES).await;
    if faults.is_empty() {
        assert_eq!(code, 3, "{printed}");
        assert!(printed.contains("resends requests"), "{printed}");
        proxy.forward_all();
        let (code, printed) = rebuild_at(&world, &proxy.url, "communication_events", faults).await;
        assert_eq!((code, query_count(&world, AGGREGATES).await), (0, 0), "{printed}");
    }
    world.drop_namespace().await;
    wrong
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_repeated_by_a_proxy_is_counted_once() {
    let (normal, faulty) = tokio::join!(wrong_after_repetition(""), wrong_after_repetition("allow_repeated_fill"));
    assert!(normal == 0 && faulty > 0, "{normal} aggregates are wrong, and {faulty} without the check of the parts");
}

/// An INSERT runs only the first part of a UNION.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_view_with_a_union_is_refused() {
    let world = World::new().await;
    fill(&world).await;
    let columns = "(tenant_id UUID, hour DateTime('UTC'), n UInt64)";
    world.execute(&format!("CREATE TABLE parts {columns} {MONTHLY}")).await;
    let select = format!("{BY_HOUR} GROUP BY tenant_id, hour");
    world.execute(&format!("CREATE MATERIALIZED VIEW parts_mv TO parts AS {select} UNION ALL {select}")).await;
    let (code, printed) = rebuild(&world, "communication_events", "").await;
    assert!(code == 3 && printed.contains("parts_mv has a UNION"), "{code}: {printed}");
    assert_eq!(rebuild(&world, "communication_events", "allow_union").await.0, 0);
    let month = "SELECT count() FROM communication_events WHERE toYYYYMM(timestamp) = 202611";
    let (counted, rows) = (query_count(&world, "SELECT sum(n) FROM parts").await, query_count(&world, month).await);
    assert_eq!(counted, 2 * rows, "negative control: without the check, a rebuild counts all parts");
    world.drop_namespace().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rebuild_that_would_be_wrong_is_refused() {
    let world = World::new().await;
    fill(&world).await;
    let columns = "(tenant_id UUID, hour DateTime('UTC'), n UInt64)";
    let aggregates = "SELECT sum(total_events) FROM campaign_performance";
    // A Null table stores no rows from which to compute.
    for statement in [
        format!("CREATE TABLE through {columns} ENGINE = Null"),
        format!("CREATE MATERIALIZED VIEW through_mv TO through AS {BY_HOUR} GROUP BY tenant_id, hour"),
        format!("CREATE TABLE behind {columns} {MONTHLY}"),
        "CREATE MATERIALIZED VIEW behind_mv TO behind AS SELECT * FROM through".to_owned(),
    ] {
        world.execute(&statement).await;
    }
    let (code, printed) = rebuild(&world, "communication_events", "").await;
    assert!(
        code == 3 && printed.contains("one of which stores no rows") && printed.contains("by hand"),
        "{code}: {printed}"
    );
    for statement in ["DROP VIEW behind_mv", "DROP VIEW through_mv", "DROP TABLE behind", "DROP TABLE through"] {
        world.execute(statement).await;
    }
    // A second stage with another partition key.
    world
        .execute(&format!(
            "CREATE TABLE daily {columns} ENGINE = SummingMergeTree PARTITION BY toDate(hour) ORDER BY hour"
        ))
        .await;
    world.execute("CREATE MATERIALIZED VIEW daily_mv TO daily AS SELECT tenant_id, hour, sum(total_events) AS n FROM campaign_performance GROUP BY tenant_id, hour").await;
    let (code, printed) = rebuild(&world, "communication_events", "").await;
    assert!(code == 3 && printed.contains("daily_mv writes its rows to other partitions of"), "{code}: {printed}");
    world.execute("DROP VIEW daily_mv").await;
    // A view of another table writes to the same target: its rows would be replaced with the partition.
    let foreign = "CREATE MATERIALIZED VIEW foreign_mv TO campaign_performance AS SELECT tenant_id, \
                   toStartOfHour(timestamp) AS hour, count() AS total_events FROM agent_metrics GROUP BY tenant_id, hour";
    world.execute(foreign).await;
    world
        .execute("INSERT INTO agent_metrics (tenant_id, timestamp) VALUES (generateUUIDv4(), '2026-11-03 00:00:00')")
        .await;
    assert_eq!(query_count(&world, aggregates).await, 101);
    let (code, printed) = rebuild(&world, "communication_events", "").await;
    assert!(
        code == 3 && printed.contains("foreign_mv writes to") && printed.contains("its rows would be lost"),
        "{code}: {printed}"
    );
    assert_eq!(query_count(&world, aggregates).await, 101);
    assert_eq!(rebuild(&world, "communication_events", "ignore_other_writers").await.0, 0);
    assert_eq!(
        query_count(&world, aggregates).await,
        100,
        "negative control: without the check, a rebuild loses the other view's row"
    );
    world.drop_namespace().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_removed_by_a_ttl_block_a_rebuild_and_deleted_rows_do_not() {
    let world = World::new().await;
    fill(&world).await;
    let aggregates = "SELECT sum(total_events) FROM campaign_performance WHERE toYYYYMM(hour) = 202611";
    let raw = "SELECT count() FROM communication_events WHERE toYYYYMM(timestamp) = 202611";
    let before = query_count(&world, aggregates).await;
    // Deleted rows must disappear from the aggregates, lightweight deletes included.
    let rebuild_projections =
        "ALTER TABLE communication_events MODIFY SETTING lightweight_mutation_projection_mode = 'rebuild'";
    world.execute(rebuild_projections).await;
    world.execute("DELETE FROM communication_events WHERE timestamp >= '2026-11-10 00:00:00'").await;
    let remaining = query_count(&world, raw).await;
    assert!(remaining > 0 && remaining < before);
    let (code, printed) = rebuild(&world, "communication_events", "").await;
    assert_eq!((code, query_count(&world, aggregates).await), (0, remaining), "{printed}");
    // Rows removed by a TTL must stay in the aggregates.
    for statement in [
        "ALTER TABLE communication_events MODIFY SETTING ttl_only_drop_parts = 0",
        "ALTER TABLE communication_events MODIFY TTL toDateTime(timestamp) + INTERVAL 1 DAY DELETE WHERE duration_ms % 2 = 0 SETTINGS mutations_sync = 2",
        "OPTIMIZE TABLE communication_events FINAL",
    ] {
        world.execute(statement).await;
    }
    eventually(DEADLINE, "rows expire", || async { query_count(&world, raw).await < remaining }).await;
    assert!(query_count(&world, raw).await > 0, "not all rows expire");
    let (code, printed) = rebuild(&world, "communication_events", "").await;
    assert!(
        code == 3 && printed.contains("the TTL of") && printed.contains("may have removed rows"),
        "{code}: {printed}"
    );
    assert_eq!(query_count(&world, aggregates).await, remaining);
    assert_eq!(rebuild(&world, "communication_events", "ignore_ttl").await.0, 0);
    assert!(
        query_count(&world, aggregates).await < remaining,
        "negative control: without the check, a rebuild loses the expired rows"
    );
    world.drop_namespace().await;
}

/// A rebuild starts while an INSERT's row is in the table but not yet in its view's target; returns the view's count and the
/// table's.
async fn rebuild_during_insert(faults: &str) -> (u64, u64) {
    let world = World::new().await;
    fill(&world).await;
    // The INSERT takes 15 seconds; without the wait, it must take longer than the rebuild.
    let rows = if faults.is_empty() { 75 } else { 200 };
    world.execute("CREATE TABLE wait (n UInt64) ENGINE = MergeTree ORDER BY n").await;
    world.execute(&format!("INSERT INTO wait SELECT number FROM numbers({rows})")).await;
    let counted = "CREATE TABLE counted (tenant_id UUID, hour DateTime('UTC'), n UInt64) ENGINE = SummingMergeTree \
                   PARTITION BY toYYYYMM(hour) ORDER BY (tenant_id, hour)";
    world.execute(counted).await;
    // The view takes 0.2 seconds for each row of `wait`.
    let slow = format!(
        "{BY_HOUR} CROSS JOIN (SELECT sum(sleepEachRow(0.2)) AS slept FROM wait) AS w GROUP BY tenant_id, hour"
    );
    world.execute(&format!("CREATE MATERIALIZED VIEW counted_mv TO counted AS {slow}")).await;
    let insert = connect::clickhouse(&world.stores, &world.names)
        .with_setting("function_sleep_max_microseconds_per_block", "60000000")
        .query("INSERT INTO communication_events (event_id, tenant_id, timestamp) VALUES (generateUUIDv4(), generateUUIDv4(), '2026-11-03 00:00:00')");
    let insert = tokio::spawn(insert.execute());
    eventually(DEADLINE, "the row is in the table", || async { world.count().await == 101 }).await;
    assert_eq!(query_count(&world, "SELECT count() FROM counted").await, 0, "and not yet in the view's target");
    world.execute("TRUNCATE TABLE wait").await;
    let (code, printed) = rebuild(&world, "communication_events", faults).await;
    assert_eq!(code, 0, "{printed}");
    insert.await.unwrap().unwrap();
    let counted = query_count(&world, "SELECT sum(n) FROM counted WHERE toYYYYMM(hour) = 202611").await;
    let rows = query_count(&world, "SELECT count() FROM communication_events WHERE toYYYYMM(timestamp) = 202611").await;
    world.drop_namespace().await;
    (counted, rows)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_insert_running_across_a_rebuild_is_counted_once() {
    let (normal, faulty) = tokio::join!(rebuild_during_insert(""), rebuild_during_insert("skip_writer_wait"));
    assert_eq!(normal.0, normal.1);
    assert_eq!(faulty.0, faulty.1 + 1, "without the wait, the row counts twice");
}
