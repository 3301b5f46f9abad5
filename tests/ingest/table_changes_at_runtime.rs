//! A column's type changes under a running worker: no value is written with another meaning, no valid record becomes a dead
//! letter, the worker names the problem, and it continues once the column is restored. A constraint added after rows have
//! landed does not make the worker send them again.

use std::time::Duration;

use sluice_schemas::names::topic::COMMUNICATION_EVENTS;
use sluice_testkit::{ProxyMode, TcpProxy, eventually};

use crate::harness::{DEADLINE, World, november_records, status, wait_for_stall};
use crate::oracle::judge;
use crate::process::{short_lived, stop_after_commit_or_stall, wait_for_commit, wait_for_retry};

/// Variable with ClickHouse's URL for a worker process.
const CLICKHOUSE: &str = "SLUICE_STORES__CLICKHOUSE__URL";

/// Executes `before` before the worker starts, and later changes the type of the column `duration_ms` from UInt32 to `new_type`.
async fn change_column_type(before: Option<&str>, new_type: &str) {
    let world = World::new().await;
    if let Some(sql) = before {
        world.execute(sql).await;
    }
    let settings = short_lived();
    let worker = world.spawn_ready(&settings, &[]).await;
    let producer = world.producer("lz4");
    world.produce_all(&producer, &november_records(0, 0..40)).await;
    world.wait_until_processed(40).await;
    world.execute(&format!("ALTER TABLE communication_events MODIFY COLUMN duration_ms {new_type}")).await;
    world.produce_all(&producer, &november_records(0, 40..80)).await;
    wait_for_stall(&worker.url, "have other types than when this worker started").await;
    assert_eq!((world.count().await, world.dead_letters().await.len()), (40, 0), "{new_type}");
    world.execute("ALTER TABLE communication_events MODIFY COLUMN duration_ms UInt32").await;
    world.wait_until_processed(80).await;
    eventually(DEADLINE, "the worker is ready again", || async { status(&worker.url, "readyz").await == 200 }).await;
    worker.stop().await;
    let counts = judge(&world).await.unwrap();
    assert_eq!((counts.landed, counts.dead_lettered), (80, 0), "{new_type}");
    world.drop_namespace().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_column_type_is_detected_before_anything_is_written() {
    // INSERTs without column defaults send their types with the rows; before others, the worker queries the table's types.
    let add_default = "ALTER TABLE communication_events MODIFY COLUMN error_code String DEFAULT 'none'";
    tokio::join!(
        change_column_type(None, "Int32"),
        change_column_type(None, "UInt64"),
        change_column_type(Some(add_default), "Int32"),
        change_column_type(Some(add_default), "UInt64"),
    );
}

/// Rows land and the response is lost. When the INSERT is retried, the table would refuse the rows.
async fn judge_with_late_constraint(faults: &str) -> Result<usize, String> {
    let world = World::new().await;
    let proxy = TcpProxy::start(&world.stores.clickhouse.url).await;
    let worker = world.spawn_ready(&short_lived(), &[("SLUICE_FAULTS", faults), (CLICKHOUSE, &proxy.url)]).await;
    let producer = world.producer("lz4");
    world.produce_all(&producer, &november_records(0, 0..10)).await;
    wait_for_commit(&world, 10).await;
    proxy.set_mode(ProxyMode::ResetInResponse);
    world.produce_all(&producer, &november_records(0, 10..40)).await;
    eventually(DEADLINE, "the rows land and the response is lost", || async {
        world.count().await == 40 && proxy.disrupted_connections() >= 1
    })
    .await;
    world.execute("ALTER TABLE communication_events ADD CONSTRAINT refuse_all CHECK duration_ms > 4000000000").await;
    wait_for_retry(&proxy).await;
    proxy.set_mode(ProxyMode::Delayed(Duration::ZERO));
    stop_after_commit_or_stall(&world, worker, 40, faults, "a view refuses them").await;
    let judged = judge(&world).await.map(|counts| counts.landed);
    let committed = world.committed_sum(COMMUNICATION_EVENTS).await;
    world.drop_namespace().await;
    if committed == 40 { judged } else { Err(format!("{committed} of 40 are committed")) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_landed_before_a_new_constraint_are_not_sent_again() {
    let (normal, faulty) = tokio::join!(judge_with_late_constraint(""), judge_with_late_constraint("ignore_views"));
    assert_eq!(normal, Ok(40));
    assert!(faulty.is_err(), "without the lookup: {faulty:?}");
}
