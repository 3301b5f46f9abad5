//! Exactly the decoded rows that ClickHouse refuses become dead letters, byte for byte, and their neighbors land. If only a
//! view fails, nothing is dead-lettered.

use rdkafka::message::Message;
use sluice_ingest::config::{Protocol, Settings};
use sluice_schemas::connect;
use sluice_schemas::names::topic;
use sluice_testkit::eventually;

use crate::harness::{DEADLINE, Record, World, event_record, header, quick_settings};
use crate::oracle::{Counts, judge};
use crate::process::{short_lived, static_member};

/// Numbers of the refused rows: the first, three in the middle (two of them adjacent), and the last.
const REFUSED: [u32; 5] = [0, 20, 21, 40, 59];

const CONSTRAINT: &str =
    "ALTER TABLE communication_events ADD CONSTRAINT refuse_some CHECK duration_ms NOT IN (0, 20, 21, 40, 59)";

async fn run(world: &World, sql: &str) {
    connect::clickhouse(&world.stores, &world.names).query(sql).execute().await.unwrap();
}

/// Records of one partition and one batch.
fn records() -> Vec<Record> {
    (0..60).map(|n| Record { partition: Some(0), ..event_record(n) }).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exactly_the_refused_rows_are_dead_lettered() {
    let world = World::new().await;
    run(&world, CONSTRAINT).await;
    let mut records = records();
    // Rejected by the decoder, and dead-lettered once.
    records[30].payload = Some(b"{".to_vec());
    world.produce_all(&world.producer("none"), &records).await;
    let worker = world.start(quick_settings()).await;
    world.wait_until_processed(60).await;
    worker.stop().await;
    let counts = judge(&world).await.unwrap();
    assert_eq!((counts.landed, counts.dead_lettered), (54, 6));
    let letters = world.dead_letters().await;
    assert_eq!(world.read_all(topic::CLICKHOUSE_ERRORS).await.len(), 6, "no letter is sent twice");
    for n in REFUSED {
        let payload = event_record(n).payload;
        let letter = letters.values().find(|letter| letter.payload() == payload.as_deref()).unwrap();
        assert_eq!(header(letter, "sluice.reason").as_deref(), Some("violated_constraint"));
        assert_eq!(header(letter, "sluice.stage").as_deref(), Some("write"));
    }
    assert_eq!(world.committed_sum(topic::COMMUNICATION_EVENTS).await, 60);
    world.drop_namespace().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_between_months_and_a_repair_before_the_restart_lose_nothing() {
    let world = World::new().await;
    run(&world, CONSTRAINT).await;
    world.produce_all(&world.producer("none"), &records()).await;
    world.spawn(&static_member(), &[("SLUICE_FAILPOINT", "landed:2")]).wait_for_abort().await;
    run(&world, "ALTER TABLE communication_events DROP CONSTRAINT refuse_some").await;
    let settings = static_member();
    let worker = world.spawn_ready(&settings, &[]).await;
    world.wait_until_processed(60).await;
    worker.stop().await;
    let counts = judge(&world).await.unwrap();
    assert!(counts.dead_lettered < 5 && counts.landed > 55, "{counts:?}");
    world.drop_namespace().await;
}

/// A worker is killed after the dead letter of a refused row is acknowledged but not committed; then the table is repaired.
async fn judge_repair_after_dead_letter(faults: &str) -> Result<Counts, String> {
    let world = World::new().await;
    run(&world, CONSTRAINT).await;
    world.produce_all(&world.producer("none"), &records()).await;
    world.spawn(&static_member(), &[("SLUICE_FAILPOINT", "refused:1")]).wait_for_abort().await;
    assert_eq!(world.dead_letters().await.len(), 1);
    run(&world, "ALTER TABLE communication_events DROP CONSTRAINT refuse_some").await;
    let worker = world.spawn_ready(&static_member(), &[("SLUICE_FAULTS", faults)]).await;
    eventually(DEADLINE, "everything is committed", || async {
        world.committed_sum(topic::COMMUNICATION_EVENTS).await == 60
    })
    .await;
    worker.stop().await;
    let judged = judge(&world).await;
    world.drop_namespace().await;
    judged
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_lettered_row_stays_dead_lettered_after_the_repair() {
    let (normal, faulty) =
        tokio::join!(judge_repair_after_dead_letter(""), judge_repair_after_dead_letter("ignore_sent_letters"));
    let Counts { landed, dead_lettered, .. } = normal.unwrap();
    assert_eq!((landed, dead_lettered), (59, 1));
    let wrong = faulty.unwrap_err();
    assert!(wrong.contains("1 records landed and were dead-lettered"), "negative control: {wrong}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failing_view_blocks_its_partition_and_is_complete_after_the_repair() {
    let world = World::new().await;
    run(&world, "CREATE TABLE picky (n UInt32) ENGINE = MergeTree ORDER BY n SETTINGS non_replicated_deduplication_window = 10000").await;
    run(
        &world,
        "CREATE MATERIALIZED VIEW picky_mv TO picky AS SELECT toUInt32(throwIf(duration_ms = 33, 'no') + duration_ms) AS n FROM communication_events",
    )
    .await;
    // A target that may be newer than the announcement could have forgotten the INSERT, which is then not repeated.
    world.wait_until_tables_are_old().await;
    let worker = world.start(quick_settings()).await;
    world.produce_all(&world.producer("none"), &records()).await;
    eventually(DEADLINE, "the view is named as the cause", || async {
        worker.page("readyz").await.contains("repair the view")
    })
    .await;
    run(&world, "DROP TABLE picky_mv").await;
    run(&world, "CREATE MATERIALIZED VIEW picky_mv TO picky AS SELECT duration_ms AS n FROM communication_events")
        .await;
    eventually(DEADLINE, "the worker continues", || async {
        world.committed_sum(topic::COMMUNICATION_EVENTS).await == 60
    })
    .await;
    worker.stop().await;
    let counts = judge(&world).await.unwrap();
    assert_eq!((counts.landed, counts.dead_lettered), (60, 0));
    let clickhouse = connect::clickhouse(&world.stores, &world.names);
    let (total, distinct): (u64, u64) =
        clickhouse.query("SELECT count(), uniqExact(n) FROM picky").fetch_one().await.unwrap();
    assert_eq!((total, distinct), (60, 60), "the repaired view has every row once");
    world.drop_namespace().await;
}

/// One month of a range has landed when its partition is revoked; only then does ClickHouse refuse a row of the next month.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_refused_during_a_revocation_are_dead_lettered_once() {
    let world = World::new().await;
    run(&world, "ALTER TABLE communication_events ADD CONSTRAINT refuse_some CHECK duration_ms != 30").await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("continue");
    let delay = format!("landed:{}", file.display());
    // Its revocation lasts until the refused row is found, however busy the machine is.
    let eager = || {
        let mut settings = Settings { assignment: Protocol::Eager, revoke_deadline: DEADLINE, ..short_lived() };
        settings.kafka.clear();
        settings
    };
    let revoked = world.spawn_ready(&eager(), &[("SLUICE_DELAY", &delay)]).await;
    world.produce_all(&world.producer("none"), &records()[..50]).await;
    eventually(DEADLINE, "one month has landed", || async { world.count().await > 0 }).await;
    let other_worker = world.spawn(&eager(), &[]);
    let revoking = "partitions are being revoked";
    eventually(DEADLINE, "the partition is being revoked", || async { revoked.log().contains(revoking) }).await;
    std::fs::write(&file, "").unwrap();
    world.wait_until_processed(50).await;
    let output = revoked.stop().await;
    other_worker.stop().await;
    let position = |words: &str| output.find(words).unwrap_or_else(|| panic!("{words:?} is not in {output}"));
    assert!(position(revoking) < position("rows are refused"), "{output}");
    assert!(position("rows are refused") < position("partitions revoked"), "{output}");
    let counts = judge(&world).await.unwrap();
    assert_eq!((counts.landed, counts.dead_lettered), (49, 1));
    world.drop_namespace().await;
}
