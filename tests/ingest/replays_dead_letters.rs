//! Dead letters are listed without their contents, and land after their cause is repaired: each exactly once, with its record's
//! original identity, however often a replay runs, whatever runs concurrently, and wherever it is killed.

use std::collections::BTreeSet;
use std::process::{Output, Stdio};
use std::time::Duration;

use chrono::DateTime;
use clickhouse::Row;
use futures::future::join_all;
use rdkafka::Offset;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::FutureRecord;
use rdkafka::topic_partition_list::TopicPartitionList;
use serde::Deserialize;
use serde_json::Value;
use sluice_ingest::config::Settings;
use sluice_ingest::dead_letter::producer::DeadLetters;
use sluice_ingest::kafka::topic_id::topic_id;
use sluice_schemas::connect;
use sluice_schemas::names::topic;
use sluice_schemas::records::DeadLetter;
use sluice_testkit::eventually;
use tokio::process::{Child, Command};
use uuid::Uuid;

use crate::harness::{DEADLINE, Record, TENANT, World, event, event_record, quick_settings};
use crate::oracle::AGGREGATES;

/// Variables that raise the default limits.
const RAISED: [(&str, &str); 2] = [
    ("SLUICE_INGEST__PIPELINES__COMMUNICATION-EVENTS__LIMITS__STRING", "1 MiB"),
    ("SLUICE_INGEST__PIPELINES__COMMUNICATION-EVENTS__LIMITS__RECORD", "32 MiB"),
];

fn start(world: &World, arguments: &[&str], variables: &[(&str, &str)]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_sluice"))
        .args(["--namespace", world.names.namespace(), "--port-base", &world.port_base().to_string(), "dlq"])
        .args(arguments)
        .envs(RAISED)
        .envs(variables.iter().copied())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

async fn dlq(world: &World, arguments: &[&str]) -> Output {
    start(world, arguments, &[]).wait_with_output().await.unwrap()
}

/// Exit code and output of a verb, with everything that differs between runs masked.
async fn masked_output(world: &World, arguments: &[&str]) -> String {
    let output = dlq(world, arguments).await;
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
    let text = text.replace(world.names.namespace(), "NAMESPACE");
    let lines = text.lines().map(|line| match line.trim_start().split(' ').next().unwrap() {
        name @ ("stands" | "sluice.topic_id" | "sluice.timestamp") => format!(" {name} ..."),
        _ => line.split(' ').map(without_time).collect::<Vec<_>>().join(" "),
    });
    format!("exit {}\n{}", output.status.code().unwrap(), lines.collect::<Vec<_>>().join("\n"))
}

fn without_time(word: &str) -> String {
    let time = word.trim_end_matches(',');
    let is_time = DateTime::parse_from_rfc3339(time).is_ok();
    if is_time { word.replace(time, "2026-11-24T00:00:00.000Z") } else { word.to_owned() }
}

async fn run(world: &World, sql: &str) {
    connect::clickhouse(&world.stores, &world.names).query(sql).execute().await.unwrap();
}

/// Original position of a row's record.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Row, Deserialize)]
struct Identity {
    #[serde(with = "clickhouse::serde::uuid")]
    topic_id: Uuid,
    partition: i32,
    offset: i64,
}

/// Identities of the rows in the table, if each is present exactly once and every aggregate equals its recomputation.
async fn judge(world: &World) -> Result<BTreeSet<Identity>, String> {
    let clickhouse = connect::clickhouse(&world.stores, &world.names);
    let query = "SELECT _topic_id AS topic_id, _partition AS partition, _offset AS offset FROM communication_events";
    let rows: Vec<Identity> = clickhouse.query(query).fetch_all().await.unwrap();
    let (count, identities) = (rows.len(), rows.into_iter().collect::<BTreeSet<_>>());
    let differing: u64 = clickhouse.query(AGGREGATES).fetch_one().await.unwrap();
    match (count - identities.len(), differing) {
        (0, 0) => Ok(identities),
        (0, differing) => Err(format!("{differing} aggregates differ from their recomputation")),
        (duplicates, _) => Err(format!("{duplicates} rows are in the table more than once")),
    }
}

/// Number of INSERTs that ClickHouse is running.
async fn running_inserts(world: &World) -> u64 {
    let query =
        "SELECT count() FROM system.processes WHERE query_kind = 'Insert' AND current_database = currentDatabase()";
    connect::clickhouse(&world.stores, &world.names).query(query).fetch_one().await.unwrap()
}

/// Waits until the server no longer runs INSERTs of a killed replay: while one is running, a table is ahead of its views.
async fn wait_for_running_inserts(world: &World) {
    eventually(DEADLINE, "no INSERT is running", || async { running_inserts(world).await == 0 }).await;
}

/// Offsets of the rows of one topic ID and partition 0.
fn offsets(identities: &BTreeSet<Identity>, id: Uuid) -> Vec<i64> {
    let is_of_topic = |identity: &&Identity| (identity.topic_id, identity.partition) == (id, 0);
    identities.iter().filter(is_of_topic).map(|identity| identity.offset).collect()
}

async fn topic_id_of(world: &World, name: &str) -> Uuid {
    let (config, name) = (connect::kafka_config(&world.stores), name.to_owned());
    let read = move || {
        let client: BaseConsumer = config.create().unwrap();
        topic_id(client.client(), &name, DEADLINE).unwrap()
    };
    tokio::task::spawn_blocking(read).await.unwrap()
}

/// The `n`th event with a change that makes it poison, in partition 0.
fn poison(n: u32, change: fn(&mut Value)) -> Record {
    let mut value = serde_json::to_value(event(n)).unwrap();
    change(&mut value);
    Record { payload: Some(value.to_string().into_bytes()), partition: Some(0), ..event_record(n) }
}

fn without_agent(value: &mut Value) {
    value.as_object_mut().unwrap().remove("agent_id");
}

/// Runs a worker until these records are committed. Each batch is produced once the previous one has landed or is dead-lettered.
async fn ingest(world: &World, batches: &[&[Record]]) {
    let (worker, producer, mut count) = (world.start(quick_settings()).await, world.producer("lz4"), 0);
    for batch in batches {
        world.produce_all(&producer, batch).await;
        count += batch.len();
        world.wait_until_processed(count).await;
    }
    let total = i64::try_from(count).unwrap();
    eventually(DEADLINE, "everything is committed", || async {
        world.committed_sum(topic::COMMUNICATION_EVENTS).await == total
    })
    .await;
    worker.stop().await;
}

/// Nine records, six of them poison: three without a field (one of them in another month), and three others.
fn nine_records() -> Vec<Record> {
    vec![
        record_in_partition_0(0),
        poison(1, without_agent),
        poison(31, without_agent),
        poison(3, |value| value["success"] = "yes".into()),
        record_in_partition_0(4),
        poison(5, |value| value["agent_id"] = "x".repeat(300 << 10).into()),
        Record { payload: None, ..record_in_partition_0(6) },
        poison(7, without_agent),
        record_in_partition_0(8),
    ]
}

/// The `n`th event in partition 0.
fn record_in_partition_0(n: u32) -> Record {
    Record { partition: Some(0), ..event_record(n) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_dlq_verbs_list_dead_letters_and_replay_repaired_ones() {
    let world = World::new().await;
    run(&world, "ALTER TABLE communication_events ADD CONSTRAINT nine CHECK duration_ms != 9").await;
    ingest(&world, &[&nine_records(), &[record_in_partition_0(9)]]).await;
    insta::assert_snapshot!("list", masked_output(&world, &["list"]).await);
    insta::assert_snapshot!("list_of_one_reason", masked_output(&world, &["list", "--reason", "tombstone"]).await);
    insta::assert_snapshot!(
        "list_of_an_unknown_topic",
        masked_output(&world, &["list", "--topic", "communication-event"]).await
    );
    insta::assert_snapshot!(
        "replay_of_an_unknown_reason",
        masked_output(&world, &["replay", "--reason", "tomb"]).await
    );
    insta::assert_snapshot!("stats", masked_output(&world, &["stats"]).await);
    insta::assert_snapshot!("show", masked_output(&world, &["show", "communication-events", "0", "3"]).await);
    insta::assert_snapshot!("show_nothing", masked_output(&world, &["show", "communication-events", "0", "4"]).await);
    let payload = dlq(&world, &["show", "communication-events", "0", "3", "--payload"]).await.stdout;
    assert_eq!(Some(payload), nine_records()[3].payload, "byte for byte");
    for filter in
        [["--tenant", "6f2d8a4e-0d0c-4f0e-9a3b-0c1d2e3f4a5c"], ["--until", "2026-01-01"], ["--topic", "agent-metrics"]]
    {
        let listed = dlq(&world, &["list", "--json", filter[0], filter[1]]).await;
        assert!(listed.status.success() && listed.stdout.is_empty(), "{filter:?}");
    }

    run(&world, "ALTER TABLE communication_events MODIFY COLUMN agent_id Nullable(String)").await;
    run(&world, "ALTER TABLE communication_events DROP CONSTRAINT nine").await;
    run(&world, "ALTER TABLE communication_events ADD CONSTRAINT seven CHECK duration_ms != 7").await;
    insta::assert_snapshot!("dry_run", masked_output(&world, &["replay", "--dry-run"]).await);
    assert_eq!(world.count().await, 3, "a dry run lands nothing");
    insta::assert_snapshot!("replay", masked_output(&world, &["replay"]).await);
    let id = topic_id_of(&world, &world.names.topic(topic::COMMUNICATION_EVENTS)).await;
    assert_eq!(offsets(&judge(&world).await.unwrap(), id), [0, 1, 2, 4, 5, 8, 9]);
    insta::assert_snapshot!("replay_again", masked_output(&world, &["replay"]).await);
    assert_eq!(judge(&world).await.unwrap().len(), 7);
    insta::assert_snapshot!("list_after", masked_output(&world, &["list"]).await);
    insta::assert_snapshot!("list_all_after", masked_output(&world, &["list", "--all"]).await);
    insta::assert_snapshot!("stats_after", masked_output(&world, &["stats"]).await);

    run(&world, "INSERT INTO communication_events SELECT * FROM communication_events WHERE _offset = 1").await;
    assert!(judge(&world).await.unwrap_err().contains("more than once"), "negative control");
    world.drop_namespace().await;
}

/// Dead-letters poison of two months and all partitions, then repairs its cause; returns the number of records.
async fn dead_letter_and_repair(world: &World, count: u32) -> usize {
    let records: Vec<_> = (0..count).map(|n| Record { partition: None, ..poison(n, without_agent) }).collect();
    ingest(world, &[&records]).await;
    assert_eq!(world.count().await, 0, "all records are poison");
    run(world, "ALTER TABLE communication_events MODIFY COLUMN agent_id Nullable(String)").await;
    records.len()
}

/// Failpoints at which a replay is killed, each with the number of times that it is reached before.
const POINTS: [&str; 4] = ["replay_insert:1", "replay_inserted:1", "replay_insert:5", "replay_inserted:6"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replay_killed_and_rerun_lands_each_record_once() {
    let world = World::new().await;
    let (kills, count) = if std::env::var_os("SLUICE_TEST_LONG").is_some() { (50, 6000) } else { (4, 1200) };
    let count = dead_letter_and_repair(&world, count).await;
    for point in POINTS {
        let killed = start(&world, &["replay"], &[("SLUICE_FAILPOINT", point)]).wait_with_output().await.unwrap();
        assert_eq!(killed.status.code(), None, "{point}: {}", String::from_utf8_lossy(&killed.stderr));
    }
    for kill in 0..kills {
        // A different limit selects different letters, so the INSERTs differ too.
        let limit = (20 + kill).to_string();
        let mut replay = start(&world, &["replay", "--limit", &limit], &[]);
        // A random moment, different for each kill and each run.
        let run_time = Duration::from_millis(150 + 3 * u64::from(Uuid::new_v4().as_bytes()[0]));
        drop(tokio::time::timeout(run_time, replay.wait()).await);
        replay.kill().await.unwrap();
        wait_for_running_inserts(&world).await;
        judge(&world).await.unwrap();
    }
    let before = judge(&world).await.unwrap().len();
    assert!(0 < before && before < count, "the kills hit running replays: {before}");
    let last_replay = dlq(&world, &["replay"]).await;
    assert!(last_replay.status.success(), "{last_replay:?}");
    assert_eq!(judge(&world).await.unwrap().len(), count);
    world.drop_namespace().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_replays_land_each_record_once() {
    let world = World::new().await;
    let count = dead_letter_and_repair(&world, 300).await;
    let tenant = TENANT.to_string();
    let arguments: [&[&str]; 3] = [&["replay"], &["replay", "--tenant", &tenant], &["replay", "--limit", "100"]];
    for output in join_all(arguments.map(|arguments| dlq(&world, arguments))).await {
        assert!(output.status.success(), "{output:?}");
    }
    assert_eq!(judge(&world).await.unwrap().len(), count);
    world.drop_namespace().await;
}

/// Kills a replay of five letters while ClickHouse runs its INSERT, and immediately runs a second one that selects other letters,
/// then a third one for the remaining letters.
async fn judge_after_kill(first: &[&str], second: &[&str], variables: &[(&str, &str)]) -> Result<usize, String> {
    let world = World::new().await;
    // One key puts the letters into one partition, one month their rows into one INSERT.
    let key = Some(b"key".to_vec());
    let records: Vec<_> = (0..5).map(|n| Record { key: key.clone(), ..poison(n * 60, without_agent) }).collect();
    ingest(&world, &[&records]).await;
    run(&world, "ALTER TABLE communication_events MODIFY COLUMN agent_id Nullable(String)").await;
    // ClickHouse limits what one call may sleep for a block.
    for (n, seconds) in [0.5, 0.49, 0.48, 0.47].iter().enumerate() {
        let column = format!("slow_{n} UInt8 MATERIALIZED sleepEachRow({seconds})");
        run(&world, &format!("ALTER TABLE communication_events ADD COLUMN {column}")).await;
    }
    let mut killed = start(&world, first, &[]);
    eventually(DEADLINE, "the INSERT is running", || async { running_inserts(&world).await > 0 }).await;
    killed.kill().await.unwrap();
    assert_eq!(
        (world.count().await, running_inserts(&world).await),
        (0, 1),
        "nothing has landed yet, and the INSERT is still running"
    );
    let second = start(&world, second, variables).wait_with_output().await.unwrap();
    assert!(second.status.success(), "{second:?}");
    wait_for_running_inserts(&world).await;
    judge(&world).await?;
    assert!(dlq(&world, &["replay"]).await.status.success());
    let landed = judge(&world).await?.len();
    world.drop_namespace().await;
    Ok(landed)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_replays_running_insert_lands_once() {
    let (all_letters, two_letters): (&[&str], &[&str]) = (&["replay"], &["replay", "--limit", "2"]);
    // An INSERT of fewer rows ends earlier.
    assert_eq!(judge_after_kill(all_letters, two_letters, &[]).await, Ok(5), "the second one's rows land first");
    assert_eq!(judge_after_kill(two_letters, all_letters, &[]).await, Ok(5), "the first one's rows land first");
    // On a busy machine the second replay may start so late that it sees the first one's rows.
    for attempt in 1..=3 {
        let judged = judge_after_kill(two_letters, all_letters, &[("SLUICE_FAULTS", "random_token")]).await;
        if judged.as_ref().is_err_and(|wrong| wrong.contains("more than once")) {
            return;
        }
        assert!(attempt < 3, "negative control: {judged:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failing_view_stops_a_replay_with_a_message() {
    let world = World::new().await;
    dead_letter_and_repair(&world, 3).await;
    run(&world, "CREATE TABLE picky (n UInt32) ENGINE = MergeTree ORDER BY n SETTINGS non_replicated_deduplication_window = 100").await;
    let view = "CREATE MATERIALIZED VIEW picky_mv TO picky AS SELECT toUInt32(throwIf(duration_ms = 1)) AS n FROM communication_events";
    run(&world, view).await;
    let refused = dlq(&world, &["replay"]).await;
    let error = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(3), "{error}");
    assert!(error.contains("a view refuses them") && error.contains("sluice ingest rebuild"), "{error}");
    world.drop_namespace().await;
}

/// Commits the group's offset of partition 0.
async fn commit(world: &World, offset: i64) {
    let mut config = connect::kafka_config(&world.stores);
    config.set("group.id", world.names.group(&Settings::default().group));
    let name = world.names.topic(topic::COMMUNICATION_EVENTS);
    let commit = || {
        let (config, name) = (config.clone(), name.clone());
        let commit = move || {
            let consumer: BaseConsumer = config.create()?;
            let mut list = TopicPartitionList::new();
            list.add_partition_offset(&name, 0, Offset::Offset(offset))?;
            consumer.commit(&list, CommitMode::Sync)
        };
        async { tokio::task::spawn_blocking(commit).await.unwrap() }
    };
    eventually(DEADLINE, "the group has a coordinator", commit).await;
}

/// Produces a record to the dead-letter topic.
async fn produce_dead_letter(world: &World, payload: &[u8], headers: &[(&str, &str)]) {
    let headers = headers
        .iter()
        .fold(OwnedHeaders::new(), |headers, (key, value)| headers.insert(Header { key, value: Some(*value) }));
    let topic = world.names.topic(topic::CLICKHOUSE_ERRORS);
    let record = FutureRecord::<[u8], [u8]>::to(&topic).payload(payload).headers(headers);
    world.producer("none").send(record, DEADLINE).await.unwrap();
}

/// Letters of a topic and of an earlier topic with the same name, of a `large` event, of an event above the committed offset, and
/// of a deleted topic.
fn letters_of_every_origin(name: &str, id: Uuid, earlier_id: Uuid, large: &[u8]) -> Vec<DeadLetter> {
    let letter = |topic: &str, topic_id, offset: u32, payload: &[u8]| DeadLetter {
        key: event_record(offset).key,
        payload: Some(payload.to_vec()),
        headers: vec![],
        headers_left_out: None,
        reason: "wrong_type".to_owned(),
        stage: "decode".to_owned(),
        error_class: "row".to_owned(),
        topic: topic.to_owned(),
        topic_id,
        partition: 0,
        offset: i64::from(offset),
        timestamp_ms: None,
        attempts: 1,
        tenant_id: Some(TENANT),
    };
    let small = |n| event_record(n).payload.unwrap();
    vec![
        letter(name, id, 0, large),
        letter(name, id, 1, &small(1)),
        letter(name, id, 1, &small(1)),         // a repetition, as after a crash
        letter(name, earlier_id, 1, &small(9)), // the topic has since been recreated
        letter(name, earlier_id, 9, large),     // and the omitted part was deleted with the topic
        letter(name, id, 3, &small(3)),         // above the committed offset
        letter("gone", earlier_id, 0, &small(0)),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dead_letters_of_every_origin_land_once_or_are_reported() {
    let world = World::new().await;
    let name = world.names.topic(topic::COMMUNICATION_EVENTS);
    // Larger than a dead letter may be, but small enough for its topic when compressed.
    let large = [event_record(0).payload.unwrap(), vec![b' '; 17 << 20]].concat();
    let mut config = connect::kafka_config(&world.stores);
    let producer = config.set("compression.type", "lz4").set("message.max.bytes", "33554432").create().unwrap();
    world.produce(&producer, &Record { payload: Some(large.clone()), ..record_in_partition_0(0) }).await;
    for n in 1..4 {
        world.produce(&producer, &record_in_partition_0(n)).await;
    }
    commit(&world, 3).await;

    let id = topic_id_of(&world, &name).await;
    let earlier_id = Uuid::from_u128(7);
    let letters = letters_of_every_origin(&name, id, earlier_id, &large);
    let dead_letters =
        DeadLetters::new(connect::kafka_config(&world.stores), &world.names.topic(topic::CLICKHOUSE_ERRORS), 65_536);
    dead_letters.unwrap().send(&letters).await.unwrap();
    let headers_without_topic_id = [
        ("sluice.reason", "wrong_type"),
        ("sluice.stage", "decode"),
        ("sluice.topic", name.as_str()),
        ("sluice.partition", "0"),
        ("sluice.offset", "2"),
        ("sluice.attempts", "1"),
    ];
    produce_dead_letter(&world, &event_record(2).payload.unwrap(), &headers_without_topic_id).await;
    produce_dead_letter(&world, b"hello", &[]).await;

    insta::assert_snapshot!("origins_stats", masked_output(&world, &["stats"]).await);
    let shown = async |offset| dlq(&world, &["show", &name, "0", offset, "--payload"]).await;
    assert!(shown("0").await.stdout == large, "the omitted part is read from its original topic");
    let deleted = shown("9").await;
    assert_eq!((deleted.status.code(), deleted.stdout.len()), (Some(1), 0));
    insta::assert_snapshot!("origins_replay", masked_output(&world, &["replay"]).await);
    let landed = judge(&world).await.unwrap();
    assert_eq!((offsets(&landed, id), offsets(&landed, earlier_id)), (vec![0, 1], vec![1]));
    commit(&world, 4).await;
    insta::assert_snapshot!(
        "origins_replay_assumed",
        masked_output(&world, &["replay", "--assume-current-topic"]).await
    );
    let landed = judge(&world).await.unwrap();
    assert_eq!((offsets(&landed, id), offsets(&landed, earlier_id)), (vec![0, 1, 2, 3], vec![1]));
    world.drop_namespace().await;
}
