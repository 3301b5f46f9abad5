//! A rebuild makes everything right that comes from a month of a table, and touches nothing else: views on targets, inner
//! tables, several views into one table, other databases and namesakes in them. It refuses what it cannot make right, and is
//! not misled by INSERTs that are under way.

use std::process::Stdio;

use sluice_schemas::connect;
use sluice_testkit::{Answered, Requests, StandIn, eventually};
use tokio::process::Command;

use crate::harness::{DEADLINE, World};
use crate::oracle::AGGREGATES;

/// Runs `sluice ingest rebuild` with part of it broken; exit code, and both outputs.
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

async fn number(world: &World, query: &str) -> u64 {
    connect::clickhouse(&world.stores, &world.names).query(query).fetch_one().await.unwrap()
}

const MONTHLY: &str = "ENGINE = SummingMergeTree PARTITION BY toYYYYMM(hour) ORDER BY (tenant_id, hour)";
const BY_HOUR: &str =
    "SELECT tenant_id, toDateTime(toStartOfHour(timestamp), 'UTC') AS hour, count() AS n FROM communication_events";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stages_inner_tables_and_other_databases() {
    let world = World::new().await;
    let other = format!("{}_other", world.names.database());
    let columns = "(tenant_id UUID, hour DateTime('UTC'), n UInt64)";
    for statement in [
        format!("CREATE DATABASE {other}"),
        // A second stage, and a third in another database; a namesake of an own table there.
        format!("CREATE TABLE second {columns} {MONTHLY}"),
        "CREATE MATERIALIZED VIEW second_mv TO second AS SELECT tenant_id, hour, sum(total_events) AS n FROM campaign_performance GROUP BY tenant_id, hour".to_owned(),
        format!("CREATE TABLE {other}.totals {columns} {MONTHLY}"),
        format!("CREATE TABLE totals {columns} {MONTHLY}"),
        format!("CREATE MATERIALIZED VIEW totals_mv TO {other}.totals AS SELECT tenant_id, hour, sum(n) AS n FROM second GROUP BY tenant_id, hour"),
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
    let tables = ["second".to_owned(), format!("{other}.totals"), "inner_mv".to_owned(), "halves".to_owned()];
    let wrong = async |world: &World| {
        let mut wrong = vec![number(world, AGGREGATES).await];
        for table in &tables {
            wrong.push(100_u64.abs_diff(number(world, &format!("SELECT sum(n) FROM {table}")).await));
        }
        wrong
    };
    assert_eq!(wrong(&world).await, [0; 5], "right at first");
    world
        .execute(
            "ALTER TABLE campaign_performance DELETE WHERE hour >= '2026-11-05 00:00:00' SETTINGS mutations_sync = 2",
        )
        .await;
    for table in ["second", &format!("{other}.totals"), "halves"] {
        world.execute(&format!("INSERT INTO {table} SELECT * FROM {table} WHERE toYYYYMM(hour) = 202611")).await;
    }
    world.execute("INSERT INTO inner_mv SELECT generateUUIDv4(), toDateTime('2026-11-03 00:00:00', 'UTC'), 5").await;
    assert!(wrong(&world).await.iter().all(|wrong| *wrong > 0), "negative control: all of it is wrong now");
    let (code, said) = rebuild(&world, "communication_events", "").await;
    assert!(code == 0 && said.contains("the 5 aggregate tables"), "{code}: {said}");
    assert_eq!(wrong(&world).await, [0; 5]);
    assert_eq!(number(&world, "SELECT sum(n) FROM totals").await, 7, "a namesake of another database is left alone");
    let left = format!(
        "SELECT count() FROM system.tables WHERE database LIKE '{}%' AND name LIKE '%__rebuild%'",
        world.names.database()
    );
    assert_eq!(number(&world, &left).await, 0);
    world.execute(&format!("DROP DATABASE {other}")).await;
    world.drop().await;
}

/// Events of October and November that somebody else wrote, of three tenants.
async fn fill(world: &World) {
    let rows = "SELECT generateUUIDv4() AS event_id, toUUID(concat('00000000-0000-0000-0000-00000000000', toString(number % 3))) \
                AS tenant_id, toDateTime64('2026-10-20 00:00:00', 3, 'UTC') + 6 * 3600 * number AS timestamp, number AS duration_ms, \
                'others' AS _topic, number AS _offset FROM numbers(100)";
    let columns = "event_id, tenant_id, timestamp, duration_ms, _topic, _offset";
    world.execute(&format!("INSERT INTO communication_events ({columns}) {rows}")).await;
}

/// What is computed anew is sent twice by somebody between, into a target of two views; how many aggregates are wrong then.
async fn sent_twice(faults: &str) -> u64 {
    let world = World::new().await;
    fill(&world).await;
    let view = "SELECT tenant_id, campaign_id, channel, toStartOfHour(timestamp) AS hour, count() AS total_events, \
                countIf(success) AS successful_events, avgState(duration_ms) AS avg_duration, \
                quantileTDigestState(0.95)(duration_ms) AS p95_duration FROM communication_events WHERE 0 \
                GROUP BY tenant_id, campaign_id, channel, hour";
    world.execute(&format!("CREATE MATERIALIZED VIEW another_mv TO campaign_performance AS {view}")).await;
    let stand_in = StandIn::before(&world.stores.clickhouse.url).await;
    stand_in.answer(Requests::About("SELECT * FROM (SELECT"), usize::MAX, Answered::Twice);
    let (code, said) = rebuild_at(&world, &stand_in.url, "communication_events", faults).await;
    let wrong = number(&world, AGGREGATES).await;
    if faults.is_empty() {
        assert_eq!(code, 3, "{said}");
        assert!(said.contains("resends requests"), "{said}");
        stand_in.answer(Requests::Inserts, 0, Answered::Twice);
        let (code, said) = rebuild_at(&world, &stand_in.url, "communication_events", faults).await;
        assert_eq!((code, number(&world, AGGREGATES).await), (0, 0), "{said}");
    }
    world.drop().await;
    wrong
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_somebody_sends_twice_is_counted_once() {
    let (once, twice) = tokio::join!(sent_twice(""), sent_twice("allow_repeated_fill"));
    assert!(once == 0 && twice > 0, "{once} aggregates are wrong, and {twice} without the look at the parts");
}

/// An INSERT runs the first part of a UNION.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_view_of_which_an_insert_runs_a_part_is_refused() {
    let world = World::new().await;
    fill(&world).await;
    let columns = "(tenant_id UUID, hour DateTime('UTC'), n UInt64)";
    world.execute(&format!("CREATE TABLE parts {columns} {MONTHLY}")).await;
    let both = format!("{BY_HOUR} GROUP BY tenant_id, hour");
    world.execute(&format!("CREATE MATERIALIZED VIEW parts_mv TO parts AS {both} UNION ALL {both}")).await;
    let (code, said) = rebuild(&world, "communication_events", "").await;
    assert!(code == 3 && said.contains("parts_mv has a UNION"), "{code}: {said}");
    assert_eq!(rebuild(&world, "communication_events", "allow_union").await.0, 0);
    let month = "SELECT count() FROM communication_events WHERE toYYYYMM(timestamp) = 202611";
    let (counted, rows) = (number(&world, "SELECT sum(n) FROM parts").await, number(&world, month).await);
    assert_eq!(counted, 2 * rows, "negative control: a rebuild that does not look counts all parts");
    world.drop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_made_right_is_refused() {
    let world = World::new().await;
    fill(&world).await;
    let columns = "(tenant_id UUID, hour DateTime('UTC'), n UInt64)";
    let aggregates = "SELECT sum(total_events) FROM campaign_performance";
    // Behind a Null table there is nothing to compute from.
    for statement in [
        format!("CREATE TABLE through {columns} ENGINE = Null"),
        format!("CREATE MATERIALIZED VIEW through_mv TO through AS {BY_HOUR} GROUP BY tenant_id, hour"),
        format!("CREATE TABLE behind {columns} {MONTHLY}"),
        "CREATE MATERIALIZED VIEW behind_mv TO behind AS SELECT * FROM through".to_owned(),
    ] {
        world.execute(&statement).await;
    }
    let (code, said) = rebuild(&world, "communication_events", "").await;
    assert!(code == 3 && said.contains("one of which stores no rows") && said.contains("by hand"), "{code}: {said}");
    for statement in ["DROP VIEW behind_mv", "DROP VIEW through_mv", "DROP TABLE behind", "DROP TABLE through"] {
        world.execute(statement).await;
    }
    // A second stage with other partitions.
    world
        .execute(&format!(
            "CREATE TABLE daily {columns} ENGINE = SummingMergeTree PARTITION BY toDate(hour) ORDER BY hour"
        ))
        .await;
    world.execute("CREATE MATERIALIZED VIEW daily_mv TO daily AS SELECT tenant_id, hour, sum(total_events) AS n FROM campaign_performance GROUP BY tenant_id, hour").await;
    let (code, said) = rebuild(&world, "communication_events", "").await;
    assert!(code == 3 && said.contains("daily_mv writes its rows to other partitions of"), "{code}: {said}");
    world.execute("DROP VIEW daily_mv").await;
    // A view of another table that writes to the same target: its rows would go with the partition.
    let foreign = "CREATE MATERIALIZED VIEW foreign_mv TO campaign_performance AS SELECT tenant_id, \
                   toStartOfHour(timestamp) AS hour, count() AS total_events FROM agent_metrics GROUP BY tenant_id, hour";
    world.execute(foreign).await;
    world
        .execute("INSERT INTO agent_metrics (tenant_id, timestamp) VALUES (generateUUIDv4(), '2026-11-03 00:00:00')")
        .await;
    assert_eq!(number(&world, aggregates).await, 101);
    let (code, said) = rebuild(&world, "communication_events", "").await;
    assert!(
        code == 3 && said.contains("foreign_mv writes to") && said.contains("its rows would be lost"),
        "{code}: {said}"
    );
    assert_eq!(number(&world, aggregates).await, 101);
    assert_eq!(rebuild(&world, "communication_events", "ignore_other_writers").await.0, 0);
    assert_eq!(number(&world, aggregates).await, 100, "negative control: a rebuild that does not look loses its row");
    world.drop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn raw_rows_that_a_ttl_took_and_rows_that_were_deleted() {
    let world = World::new().await;
    fill(&world).await;
    let aggregates = "SELECT sum(total_events) FROM campaign_performance WHERE toYYYYMM(hour) = 202611";
    let raw = "SELECT count() FROM communication_events WHERE toYYYYMM(timestamp) = 202611";
    let before = number(&world, aggregates).await;
    // Deleted rows are meant to be gone, hidden ones as well.
    let rebuilt = "ALTER TABLE communication_events MODIFY SETTING lightweight_mutation_projection_mode = 'rebuild'";
    world.execute(rebuilt).await;
    world.execute("DELETE FROM communication_events WHERE timestamp >= '2026-11-10 00:00:00'").await;
    let left = number(&world, raw).await;
    assert!(left > 0 && left < before);
    let (code, said) = rebuild(&world, "communication_events", "").await;
    assert_eq!((code, number(&world, aggregates).await), (0, left), "{said}");
    // What a TTL removed is meant to stay in the aggregates.
    for statement in [
        "ALTER TABLE communication_events MODIFY SETTING ttl_only_drop_parts = 0",
        "ALTER TABLE communication_events MODIFY TTL toDateTime(timestamp) + INTERVAL 1 DAY DELETE WHERE duration_ms % 2 = 0 SETTINGS mutations_sync = 2",
        "OPTIMIZE TABLE communication_events FINAL",
    ] {
        world.execute(statement).await;
    }
    eventually(DEADLINE, "rows expire", || async { number(&world, raw).await < left }).await;
    assert!(number(&world, raw).await > 0, "part of them");
    let (code, said) = rebuild(&world, "communication_events", "").await;
    assert!(code == 3 && said.contains("the TTL of") && said.contains("may have removed rows"), "{code}: {said}");
    assert_eq!(number(&world, aggregates).await, left);
    assert_eq!(rebuild(&world, "communication_events", "ignore_ttl").await.0, 0);
    assert!(number(&world, aggregates).await < left, "negative control: a rebuild that does not ask loses them");
    world.drop().await;
}

/// An INSERT whose row is in the table, and not yet in what its view writes to, while a rebuild begins.
async fn insert_under_way(faults: &str) -> (u64, u64) {
    let world = World::new().await;
    fill(&world).await;
    // 15 seconds; where nobody waits for it, it has to take longer than the rebuild.
    let rows = if faults.is_empty() { 75 } else { 200 };
    world.execute("CREATE TABLE wait (n UInt64) ENGINE = MergeTree ORDER BY n").await;
    world.execute(&format!("INSERT INTO wait SELECT number FROM numbers({rows})")).await;
    let counted = "CREATE TABLE counted (tenant_id UUID, hour DateTime('UTC'), n UInt64) ENGINE = SummingMergeTree \
                   PARTITION BY toYYYYMM(hour) ORDER BY (tenant_id, hour)";
    world.execute(counted).await;
    // The view takes as long as `wait` has rows.
    let slow = format!(
        "{BY_HOUR} CROSS JOIN (SELECT sum(sleepEachRow(0.2)) AS slept FROM wait) AS w GROUP BY tenant_id, hour"
    );
    world.execute(&format!("CREATE MATERIALIZED VIEW counted_mv TO counted AS {slow}")).await;
    let insert = connect::clickhouse(&world.stores, &world.names)
        .with_setting("function_sleep_max_microseconds_per_block", "60000000")
        .query("INSERT INTO communication_events (event_id, tenant_id, timestamp) VALUES (generateUUIDv4(), generateUUIDv4(), '2026-11-03 00:00:00')");
    let insert = tokio::spawn(insert.execute());
    eventually(DEADLINE, "its row is in the table", || async { world.count().await == 101 }).await;
    assert_eq!(number(&world, "SELECT count() FROM counted").await, 0, "and not yet in the view's");
    world.execute("TRUNCATE TABLE wait").await;
    let (code, said) = rebuild(&world, "communication_events", faults).await;
    assert_eq!(code, 0, "{said}");
    insert.await.unwrap().unwrap();
    let counted = number(&world, "SELECT sum(n) FROM counted WHERE toYYYYMM(hour) = 202611").await;
    let rows = number(&world, "SELECT count() FROM communication_events WHERE toYYYYMM(timestamp) = 202611").await;
    world.drop().await;
    (counted, rows)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_insert_that_began_before_and_ends_after_is_counted_once() {
    let (whole, broken) = tokio::join!(insert_under_way(""), insert_under_way("skip_writer_wait"));
    assert_eq!(whole.0, whole.1);
    assert_eq!(broken.0, broken.1 + 1, "without waiting for it");
}
