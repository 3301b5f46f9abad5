//! Every table that a view writes to must deduplicate retries; otherwise the worker does not start, or does not retry. This
//! covers inner tables, views on targets, tables of other databases, views behind a Null table, and views added at runtime.

use sluice_schemas::connect;
use sluice_schemas::names::topic::COMMUNICATION_EVENTS;
use sluice_testkit::{ProxyMode, TcpProxy, eventually};

use crate::harness::{DEADLINE, World, metric, november_records, page, quick_settings, wait_for_stall};
use crate::oracle::judge;
use crate::process::{short_lived, wait_for_retry};
use crate::refuses_to_start::{assert_starts, startup_error};

const UNDELAYED: ProxyMode = ProxyMode::Delayed(std::time::Duration::ZERO);
const CLICKHOUSE: &str = "SLUICE_STORES__CLICKHOUSE__URL";
/// Definition of a table of hourly counts, without a deduplication window.
const COUNTS: &str =
    "(hour DateTime('UTC'), n UInt64) ENGINE = SummingMergeTree PARTITION BY toYYYYMM(hour) ORDER BY hour";
const COUNT: &str =
    "SELECT toDateTime(toStartOfHour(timestamp), 'UTC') AS hour, count() AS n FROM communication_events GROUP BY hour";
/// Like [`COUNT`], from the aggregates.
const COUNT_FROM_AGGREGATES: &str = "SELECT hour, sum(total_events) AS n FROM campaign_performance GROUP BY hour";

/// Executes these statements; `{other}` is replaced by a second database, `{counts}` by [`COUNTS`].
async fn execute(world: &World, statements: &[&str]) {
    let other_database = format!("{}_other", world.names.database());
    for statement in statements {
        world.execute(&statement.replace("{other}", &other_database).replace("{counts}", COUNTS)).await;
    }
}

/// Executes the statement that an error message recommends.
async fn run_remedy(world: &World, output: &str) {
    let at = output.rfind("ALTER TABLE").unwrap_or_else(|| panic!("no remedy: {output}"));
    let remedy = output[at..].split(", from offset").next().unwrap_or_default();
    world.execute(remedy.lines().next().unwrap_or_default()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_without_a_window_is_refused_however_it_is_reached() {
    let world = World::new().await;
    execute(&world, &["CREATE DATABASE {other}"]).await;
    let (view, stage) = (format!("AS {COUNT}"), format!("AS {COUNT_FROM_AGGREGATES}"));
    let inner = format!("CREATE MATERIALIZED VIEW late_mv ENGINE = SummingMergeTree ORDER BY hour {view}");
    let plain = format!("CREATE MATERIALIZED VIEW late_mv TO late {view}");
    let second = format!("CREATE MATERIALIZED VIEW late_mv TO late {stage}");
    let elsewhere = format!("CREATE MATERIALIZED VIEW late_mv TO {{other}}.late {view}");
    let from_elsewhere = format!("CREATE MATERIALIZED VIEW {{other}}.late_mv TO {{other}}.late {view}");
    let null = "CREATE TABLE through (hour DateTime('UTC'), n UInt64) ENGINE = Null";
    let to_null = format!("CREATE MATERIALIZED VIEW through_mv TO through {view}");
    let behind = "CREATE MATERIALIZED VIEW late_mv TO late AS SELECT * FROM through";
    let here = "CREATE TABLE late {counts}";
    let there = "CREATE TABLE {other}.late {counts}";
    let cases: [(&str, Vec<&str>, Vec<&str>); 6] = [
        ("plain", vec![here, &plain], vec!["DROP VIEW late_mv", "DROP TABLE late"]),
        ("inner", vec![&inner], vec!["DROP VIEW late_mv SYNC"]),
        ("second stage", vec![here, &second], vec!["DROP VIEW late_mv", "DROP TABLE late"]),
        ("elsewhere", vec![there, &elsewhere], vec!["DROP VIEW late_mv", "DROP TABLE {other}.late"]),
        ("from elsewhere", vec![there, &from_elsewhere], vec!["DROP VIEW {other}.late_mv", "DROP TABLE {other}.late"]),
        (
            "through Null",
            vec![null, &to_null, here, behind],
            vec!["DROP VIEW through_mv", "DROP VIEW late_mv", "DROP TABLE late", "DROP TABLE through"],
        ),
    ];
    for (case, create, drop) in cases {
        execute(&world, &create).await;
        let output = startup_error(&world, quick_settings()).await;
        assert!(
            output.contains("late_mv writes to, remembers 0 inserted blocks, and 8400 are needed"),
            "{case}: {output}"
        );
        run_remedy(&world, &output).await;
        assert_starts(&world, quick_settings()).await;
        execute(&world, &drop).await;
    }
    execute(&world, &["DROP DATABASE {other}"]).await;
    world.drop_namespace().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn small_windows_and_engines_without_a_window_are_refused() {
    let world = World::new().await;
    let window = |table: &str, blocks: u64| {
        format!("ALTER TABLE {table} MODIFY SETTING non_replicated_deduplication_window = {blocks}")
    };
    world.execute(&window("communication_events", 8399)).await;
    let output = startup_error(&world, quick_settings()).await;
    assert!(output.contains("communication_events remembers 8399 inserted blocks, and 8400 are needed"), "{output}");
    run_remedy(&world, &output).await;
    assert_starts(&world, quick_settings()).await;
    // Two views into one table exhaust its window twice as fast.
    let second = "CREATE MATERIALIZED VIEW twice_mv TO campaign_performance AS SELECT tenant_id, campaign_id, channel, \
                  toStartOfHour(timestamp) AS hour, count() AS total_events FROM communication_events \
                  GROUP BY tenant_id, campaign_id, channel, hour";
    world.execute(second).await;
    let output = startup_error(&world, quick_settings()).await;
    assert!(
        output.contains("remembers 10000 inserted blocks, and 16800 are needed")
            && output.contains("for each of 2 view paths"),
        "{output}"
    );
    run_remedy(&world, &output).await;
    assert_starts(&world, quick_settings()).await;
    world.execute("DROP VIEW twice_mv").await;
    for engine in [
        "Memory",
        "Log",
        "Join(ANY, LEFT, hour)",
        "Buffer(currentDatabase(), agent_metrics, 1, 10, 100, 1, 10, 100, 1000)",
    ] {
        world.execute(&format!("CREATE TABLE late (hour DateTime('UTC'), n UInt64) ENGINE = {engine}")).await;
        world.execute(&format!("CREATE MATERIALIZED VIEW late_mv TO late AS {COUNT}")).await;
        let output = startup_error(&world, quick_settings()).await;
        assert!(
            output.contains("late_mv writes to, has engine") && output.contains(&engine[..3]),
            "{engine}: {output}"
        );
        world.execute("DROP VIEW late_mv").await;
        world.execute("DROP TABLE late").await;
    }
    assert_starts(&world, quick_settings()).await;
    world.drop_namespace().await;
}

/// A view that is added while the response to an INSERT is lost.
#[derive(Clone, Copy, PartialEq, Eq)]
enum AddedView {
    /// The target has no window until the operator applies the remedy.
    WithoutWindow,
    /// The target has a window and was filled with the rows of the table.
    Filled,
}

/// Returns how many of 60 records the target of the added view counts at the end.
async fn count_of_added_view(added_view: AddedView, faults: &str) -> u64 {
    let world = World::new().await;
    let proxy = TcpProxy::start(&world.stores.clickhouse.url).await;
    let settings = short_lived();
    let worker = world.spawn_ready(&settings, &[("SLUICE_FAULTS", faults), (CLICKHOUSE, &proxy.url)]).await;
    let producer = world.producer("lz4");
    world.produce_all(&producer, &november_records(0, 0..10)).await;
    let committed = || world.committed_sum(COMMUNICATION_EVENTS);
    eventually(DEADLINE, "the first records are committed", || async { committed().await == 10 }).await;
    if added_view == AddedView::WithoutWindow {
        execute(&world, &["CREATE TABLE late {counts}"]).await;
        world.execute(&format!("CREATE MATERIALIZED VIEW late_mv TO late AS {COUNT}")).await;
    }
    proxy.set_mode(ProxyMode::ResetInResponse);
    world.produce_all(&producer, &november_records(0, 10..60)).await;
    eventually(DEADLINE, "an INSERT lands and its response is lost", || async {
        world.count().await == 60 && proxy.disrupted_connections() >= 2
    })
    .await;
    if added_view == AddedView::Filled {
        execute(&world, &["CREATE TABLE late {counts} SETTINGS non_replicated_deduplication_window = 10000"]).await;
        world.execute(&format!("CREATE MATERIALIZED VIEW late_mv TO late AS {COUNT}")).await;
        world.execute(&format!("INSERT INTO late {COUNT}")).await;
        wait_for_retry(&proxy).await;
    }
    proxy.set_mode(UNDELAYED);
    if added_view == AddedView::WithoutWindow && faults.is_empty() {
        wait_for_stall(&worker.url, "must not be repeated now: table").await;
        let output = page(&worker.url, "readyz").await;
        assert!(output.contains("late_mv writes to, remembers 0 inserted blocks"), "{output}");
        assert_eq!(committed().await, 10, "nothing is committed before the remedy");
        run_remedy(&world, &output).await;
    }
    eventually(DEADLINE * 2, "everything is committed", || async { committed().await == 60 }).await;
    if faults.is_empty() {
        assert!(metric(&worker.url, "sluice_ingest_rebuilds_total{", "").await > 0.0);
    }
    worker.stop().await;
    assert_eq!(judge(&world).await.map(|counts| counts.landed), Ok(60), "the table and the older view are correct");
    let counted = connect::clickhouse(&world.stores, &world.names).query("SELECT sum(n) FROM late").fetch_one().await;
    world.drop_namespace().await;
    counted.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_view_added_at_runtime_counts_a_lost_response_once() {
    let (without_window, filled) =
        tokio::join!(count_of_added_view(AddedView::WithoutWindow, ""), count_of_added_view(AddedView::Filled, ""));
    assert_eq!((without_window, filled), (60, 60));
    let (without_window, filled) = tokio::join!(
        count_of_added_view(AddedView::WithoutWindow, "ignore_views,trust_acknowledgements"),
        count_of_added_view(AddedView::Filled, "ignore_views")
    );
    assert!(without_window > 60 && filled > 60, "without the check of the views: {without_window} and {filled} of 60");
}
