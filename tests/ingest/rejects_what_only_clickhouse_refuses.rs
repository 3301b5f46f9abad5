//! Rows that were decoded and that ClickHouse refuses: exactly those become dead letters, byte for byte, and their
//! neighbours land; where only a view refuses, nothing is given up.

use rdkafka::message::Message;
use sluice_schemas::connect;
use sluice_schemas::names::topic;
use sluice_testkit::eventually;

use crate::harness::{DEADLINE, Record, World, event_record, header, quick_settings};
use crate::oracle::judge;
use crate::process::same_member;

/// Refused: the first, some in the middle (two of them neighbours), the last.
const REFUSED: [u32; 5] = [0, 20, 21, 40, 59];

const CONSTRAINT: &str =
    "ALTER TABLE communication_events ADD CONSTRAINT some CHECK duration_ms NOT IN (0, 20, 21, 40, 59)";

async fn run(world: &World, sql: &str) {
    connect::clickhouse(&world.stores, &world.names).query(sql).execute().await.unwrap();
}

/// All in one partition and one batch.
fn records() -> Vec<Record> {
    (0..60).map(|n| Record { partition: Some(0), ..event_record(n) }).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exactly_the_refused_rows_are_dead_letters() {
    let world = World::new().await;
    run(&world, CONSTRAINT).await;
    world.produce_all(&world.producer("none"), &records()).await;
    let worker = world.start(quick_settings()).await;
    world.settled(60).await;
    worker.stop().await;
    let counts = judge(&world).await.unwrap();
    assert_eq!((counts.landed, counts.dead_lettered), (55, 5));
    let letters = world.dead_letters().await;
    for n in REFUSED {
        let payload = event_record(n).payload;
        let letter = letters.values().find(|letter| letter.payload() == payload.as_deref()).unwrap();
        assert_eq!(header(letter, "sluice.reason").as_deref(), Some("violated_constraint"));
        assert_eq!(header(letter, "sluice.stage").as_deref(), Some("write"));
    }
    assert_eq!(world.committed(topic::COMMUNICATION_EVENTS).await, 60);
    world.drop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_while_it_cuts_and_the_table_mended_before_the_restart() {
    let world = World::new().await;
    run(&world, CONSTRAINT).await;
    world.produce_all(&world.producer("none"), &records()).await;
    world.spawn(&same_member(), &[("SLUICE_FAILPOINT", "landed:2")]).aborted().await;
    run(&world, "ALTER TABLE communication_events DROP CONSTRAINT some").await;
    let settings = same_member();
    let worker = world.spawn_ready(&settings, &[]).await;
    world.settled(60).await;
    worker.stop().await;
    let counts = judge(&world).await.unwrap();
    assert!(counts.dead_lettered < 5 && counts.landed > 55, "{counts:?}");
    world.drop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_view_that_refuses_is_waited_for_and_completed() {
    let world = World::new().await;
    run(&world, "CREATE TABLE picky (n UInt32) ENGINE = MergeTree ORDER BY n SETTINGS non_replicated_deduplication_window = 10000").await;
    run(
        &world,
        "CREATE MATERIALIZED VIEW picky_mv TO picky AS SELECT toUInt32(throwIf(duration_ms = 33, 'no') + duration_ms) AS n FROM communication_events",
    )
    .await;
    let worker = world.start(quick_settings()).await;
    world.produce_all(&world.producer("none"), &records()).await;
    eventually(DEADLINE, "the view is blamed", || async { worker.text("readyz").await.contains("repair the view") })
        .await;
    run(&world, "DROP TABLE picky_mv").await;
    run(&world, "CREATE MATERIALIZED VIEW picky_mv TO picky AS SELECT duration_ms AS n FROM communication_events")
        .await;
    eventually(DEADLINE, "it goes on", || async { world.committed(topic::COMMUNICATION_EVENTS).await == 60 }).await;
    worker.stop().await;
    let counts = judge(&world).await.unwrap();
    assert_eq!((counts.landed, counts.dead_lettered), (60, 0));
    let clickhouse = connect::clickhouse(&world.stores, &world.names);
    let (total, distinct): (u64, u64) =
        clickhouse.query("SELECT count(), uniqExact(n) FROM picky").fetch_one().await.unwrap();
    assert_eq!((total, distinct), (60, 60), "the repaired view has every row once");
    world.drop().await;
}
