//! All refused rows of a batch are found in one pass, by testing rows, whatever the error code. Rows that are refused when sent
//! alone become dead letters, and their neighbors land; if every row is refused, the table is at fault and nothing is
//! dead-lettered. A kill at any point loses nothing.

use futures::future::join_all;
use rdkafka::admin::{AdminOptions, NewTopic, TopicReplication};
use rdkafka::message::Message;
use rdkafka::producer::FutureRecord;
use serde_json::json;
use sluice_ingest::config::Pipeline;
use sluice_schemas::connect;
use sluice_schemas::names::topic::{CLICKHOUSE_ERRORS, COMMUNICATION_EVENTS};
use sluice_testkit::eventually;

use crate::harness::{DEADLINE, Record, World, event_record, header, metric, page, quick_settings, wait_for_stall};
use crate::oracle::{Counts, judge};
use crate::process::static_member;

/// Numbers of the refused rows, from three months: the first, two adjacent ones, a single one, and the last.
const REFUSED: [u32; 5] = [0, 20, 21, 40, 59];

/// Condition that fails with error 128 and HTTP 500 for these rows; the worker's tables do not list that code.
const UNLISTED: &str = "length(arrayWithConstant(if(duration_ms IN (0, 20, 21, 40, 59), 5000000000, 1), 0)) > 0";

/// Records of one partition and one batch.
fn records() -> Vec<Record> {
    (0..60).map(|n| Record { partition: Some(0), ..event_record(n) }).collect()
}

async fn constrain(world: &World, check: &str) {
    world.execute(&format!("ALTER TABLE communication_events ADD CONSTRAINT refuse_some CHECK {check}")).await;
}

async fn repair(world: &World) {
    world.execute("ALTER TABLE communication_events DROP CONSTRAINT refuse_some").await;
}

async fn wait_for_commit(world: &World, offset: i64) {
    eventually(DEADLINE * 2, "everything is committed", || async {
        world.committed_sum(COMMUNICATION_EVENTS).await == offset
    })
    .await;
}

async fn reasons(world: &World) -> Vec<(i64, String)> {
    let letters = world.dead_letters().await;
    letters.iter().map(|((_, offset), letter)| (*offset, header(letter, "sluice.reason").unwrap())).collect()
}

/// Lands records in a table with Nested columns; the records in `unequal` have arrays of different lengths.
async fn land_nested_columns(unequal: &[u32], faults: &str) -> Result<usize, String> {
    const TOPIC: &str = "baskets";
    let world = World::new().await;
    world
        .execute(
            "CREATE TABLE baskets (n UInt32, item Nested(sku String, count UInt8), _topic String, _topic_id UUID, \
             _partition Int32, _offset Int64) ENGINE = MergeTree ORDER BY n SETTINGS non_replicated_deduplication_window = 10000",
        )
        .await;
    let name = world.names.topic(TOPIC);
    let topic = NewTopic::new(&name, 1, TopicReplication::Fixed(1));
    let created = world.admin().create_topics([&topic], &AdminOptions::new()).await.unwrap();
    created.into_iter().collect::<Result<Vec<_>, _>>().unwrap();
    let producer = world.producer("none");
    for n in 0..100_u32 {
        let counts = if unequal.contains(&n) { vec![1, 2, 3] } else { vec![1, 2] };
        let payload = json!({"n": n, "item": {"sku": ["a", "b"], "count": counts}}).to_string();
        let record = FutureRecord::<[u8], _>::to(&name).payload(&payload);
        producer.send(record, DEADLINE).await.map_err(|(error, _)| error).unwrap();
    }
    let mut settings = static_member();
    let max_age = settings.pipelines["communication-events"].max_age;
    let pipeline = Pipeline { table: "baskets".to_owned(), tenant: String::new(), max_age, ..Pipeline::default() };
    settings.pipelines.insert(TOPIC.to_owned(), pipeline);
    let worker = world.spawn_ready(&settings, &[("SLUICE_FAULTS", faults)]).await;
    let clickhouse = connect::clickhouse(&world.stores, &world.names);
    let rows = || async {
        let rows: Vec<u32> = clickhouse.query("SELECT n FROM baskets ORDER BY n").fetch_all().await.unwrap();
        rows
    };
    if !faults.is_empty() {
        wait_for_stall(&worker.url, "baskets/0 is stalled").await;
        let count = rows().await.len();
        worker.kill().await;
        world.drop_namespace().await;
        return Err(format!("{count} rows have landed"));
    }
    eventually(DEADLINE * 2, "everything is committed", || async { world.committed_sum(TOPIC).await == 100 }).await;
    worker.stop().await;
    let expected: Vec<u32> = (0..100).filter(|n| !unequal.contains(n)).collect();
    assert_eq!(rows().await, expected, "every neighbor landed exactly once");
    let expected_reasons: Vec<_> =
        unequal.iter().map(|n| (i64::from(*n), "sizes_of_arrays_dont_match".to_owned())).collect();
    assert_eq!(reasons(&world).await, expected_reasons);
    assert_eq!(world.read_all(CLICKHOUSE_ERRORS).await.len(), unequal.len(), "each letter was sent once");
    world.drop_namespace().await;
    Ok(expected.len())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nested_arrays_of_unequal_length_are_dead_lettered_and_their_neighbors_land() {
    let (four_refused, one_refused) =
        tokio::join!(land_nested_columns(&[3, 4, 50, 99], ""), land_nested_columns(&[77], ""));
    assert_eq!((four_refused, one_refused), (Ok(96), Ok(99)));
}

/// Runs a worker whose INSERTs fail with the unlisted error code. Returns the judged counts; with faults, a description of the
/// stall.
async fn judge_unlisted_error(faults: &str) -> Result<Counts, String> {
    let world = World::new().await;
    constrain(&world, UNLISTED).await;
    world.produce_all(&world.producer("none"), &records()).await;
    let worker = world.spawn_ready(&static_member(), &[("SLUICE_FAULTS", faults)]).await;
    if !faults.is_empty() {
        wait_for_stall(&worker.url, "communication-events/0 is stalled").await;
        let output = format!("{} rows, {} dead letters", world.count().await, world.dead_letters().await.len());
        worker.kill().await;
        world.drop_namespace().await;
        return Err(output);
    }
    world.wait_until_processed(60).await;
    wait_for_commit(&world, 60).await;
    worker.stop().await;
    let expected_reasons = REFUSED.map(|n| (i64::from(n), "clickhouse_error_128".to_owned()));
    assert_eq!(reasons(&world).await, expected_reasons);
    for ((_, offset), letter) in world.dead_letters().await {
        assert_eq!(letter.payload(), event_record(u32::try_from(offset).unwrap()).payload.as_deref());
    }
    let judged = judge(&world).await;
    world.drop_namespace().await;
    judged
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unlisted_error_code_is_classified_by_testing_rows() {
    let (normal, faulty) = tokio::join!(judge_unlisted_error(""), judge_unlisted_error("never_search_unclear"));
    let Counts { landed, dead_lettered, .. } = normal.unwrap();
    assert_eq!((landed, dead_lettered), (55, 5));
    assert_eq!(
        faulty,
        Err("0 rows, 0 dead letters".to_owned()),
        "negative control: refused rows block all their neighbors"
    );
}

/// Every row is refused when sent alone and no row has succeeded, so there is no evidence that the rows are at fault.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn if_every_row_is_refused_the_partition_waits_and_nothing_is_dead_lettered() {
    let world = World::new().await;
    constrain(&world, "length(arrayWithConstant(duration_ms + 5000000000, 0)) > 0").await;
    world.produce_all(&world.producer("none"), &records()).await;
    let worker = world.start(quick_settings()).await;
    wait_for_stall(&worker.url, "refuses every row, each alone").await;
    assert_eq!((world.count().await, world.dead_letters().await.len()), (0, 0));
    repair(&world).await;
    world.wait_until_processed(60).await;
    wait_for_commit(&world, 60).await;
    worker.stop().await;
    let counts = judge(&world).await.unwrap();
    assert_eq!((counts.landed, counts.dead_lettered), (60, 0), "all records land after the repair");
    world.drop_namespace().await;
}

/// If a refused row is alone in its batch, a row in the table shows that the table is not at fault. Until there is one, the
/// partition waits.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_row_alone_in_its_batch_is_judged_by_rows_in_the_table() {
    let world = World::new().await;
    constrain(&world, UNLISTED).await;
    let producer = world.producer("none");
    let worker = world.start(quick_settings()).await;
    world.produce_all(&producer, &records()[20..21]).await;
    wait_for_stall(&worker.url, "refuses every row, each alone").await;
    assert!(world.dead_letters().await.is_empty());
    let other_partition = Record { partition: Some(1), ..event_record(1) };
    world.produce_all(&producer, &[other_partition]).await;
    world.wait_until_processed(2).await;
    wait_for_commit(&world, 2).await;
    worker.stop().await;
    let counts = judge(&world).await.unwrap();
    assert_eq!((counts.landed, counts.dead_lettered), (1, 1));
    world.drop_namespace().await;
}

/// Points at which a worker is killed while it isolates rows.
const POINTS: [&str; 8] = [
    "searched:1",    // the refused rows are known, nothing is sent
    "letter:2",      // between the letters of the second month
    "letter:4",      // as before, later
    "refused:2",     // the letters are acknowledged
    "all_refused:2", // before the INSERT of the remaining rows
    "insert:3",      // the first INSERT of the second month, which is refused
    "landed:2",      // after the INSERT of the remaining rows
    "landed:3",      // all months have landed
];

/// Kills a worker at this point and, if `is_repaired`, repairs the table before the restart.
async fn judge_after_kill(point: &str, is_repaired: bool, faults: &str) -> Result<Counts, String> {
    let world = World::new().await;
    constrain(&world, "duration_ms NOT IN (0, 20, 21, 40, 59)").await;
    world.produce_all(&world.producer("none"), &records()).await;
    world.spawn(&static_member(), &[("SLUICE_FAILPOINT", point)]).wait_for_abort().await;
    if is_repaired {
        repair(&world).await;
    }
    let worker = world.spawn_ready(&static_member(), &[("SLUICE_FAULTS", faults)]).await;
    let has_finished = || async {
        // With faults, rows are duplicated, and the worker detects that.
        let is_stopped = !faults.is_empty() && page(&worker.url, "readyz").await.contains("compare, correct the table");
        is_stopped || world.committed_sum(COMMUNICATION_EVENTS).await == 60
    };
    eventually(DEADLINE * 2, "everything is committed", has_finished).await;
    if faults.is_empty() {
        worker.stop().await;
    } else {
        worker.kill().await;
    }
    let judged = judge(&world).await.map_err(|wrong| format!("{point}, repaired: {is_repaired}: {wrong}"));
    world.drop_namespace().await;
    judged
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_at_each_point_of_isolation_loses_nothing() {
    for points in POINTS.chunks(4) {
        for counts in join_all(points.iter().map(|point| judge_after_kill(point, false, ""))).await {
            let Counts { landed, dead_lettered, .. } = counts.unwrap();
            assert_eq!((landed, dead_lettered), (55, 5));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_and_a_repair_before_the_restart_lose_nothing() {
    for points in POINTS.chunks(4) {
        for counts in join_all(points.iter().map(|point| judge_after_kill(point, true, ""))).await {
            let Counts { landed, dead_lettered, .. } = counts.unwrap();
            assert!(landed + dead_lettered == 60 && dead_lettered <= 5, "{landed} and {dead_lettered}");
        }
    }
    let wrong = join_all(
        ["refused:1", "landed:2"].map(|point| judge_after_kill(point, true, "ignore_sent_letters,ignore_views")),
    )
    .await;
    for (wrong, what) in wrong.into_iter().zip(["landed and were dead-lettered", "are in the table more than once"]) {
        let wrong = wrong.unwrap_err();
        assert!(wrong.contains(what), "negative control: {wrong}");
    }
}

/// A hundred refused rows of one batch need a few INSERTs, not hundreds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refused_rows_do_not_each_need_a_retry() {
    let world = World::new().await;
    constrain(&world, "duration_ms % 10 != 3").await;
    // Twenty days of one month, repeated.
    let records: Vec<_> =
        (0..1000).map(|n| Record { partition: Some(0), ..event_record(60 * (n / 20) + 20 + n % 20) }).collect();
    let refused = records.len() / 10;
    world.produce_all(&world.producer("none"), &records).await;
    let worker = world.start(quick_settings()).await;
    world.wait_until_processed(1000).await;
    wait_for_commit(&world, 1000).await;
    let judged = metric(&worker.url, "sluice_ingest_retries_total{", "class=\"row\"").await as usize;
    let batches = metric(&worker.url, "sluice_ingest_batches_total{", "communication-events").await as usize;
    worker.stop().await;
    assert!(judged <= batches, "{judged} refusals of {batches} batches for {refused} refused rows");
    let counts = judge(&world).await.unwrap();
    assert_eq!((counts.landed, counts.dead_lettered), (1000 - refused, refused));
    world.drop_namespace().await;
}
