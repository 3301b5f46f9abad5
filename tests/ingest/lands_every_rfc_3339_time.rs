//! Every time that RFC 3339 allows lands as the same instant, whatever its notation. A leap second, which no column can hold, and
//! text that is not a time become dead letters.

use rdkafka::admin::{AdminOptions, NewTopic, TopicReplication};
use rdkafka::producer::FutureRecord;
use sluice_ingest::config::{Pipeline, Settings};
use sluice_schemas::connect;
use sluice_testkit::eventually;

use crate::harness::{DEADLINE, World, header, quick_settings};

const TOPIC: &str = "times";
const TABLE: &str = "CREATE TABLE times (id UInt32, at DateTime64(9, 'UTC'), second DateTime('UTC'), \
    _topic LowCardinality(String), _topic_id UUID, _partition Int32, _offset Int64, \
    PROJECTION by_offset (SELECT _topic, _topic_id, _partition, _offset ORDER BY _topic, _partition, _offset)) \
    ENGINE = MergeTree PARTITION BY toYYYYMM(at) ORDER BY id SETTINGS non_replicated_deduplication_window = 10000";

/// Unix time of 2026-11-24T08:33:26Z.
const SECOND: i64 = 1_795_509_206;

/// Times in JSON text, and their nanoseconds after [`SECOND`].
const TIMES: [(&str, i64); 13] = [
    ("2026-11-24T08:33:26Z", 0),
    ("2026-11-24t08:33:26z", 0),
    ("2026-11-24 08:33:26Z", 0),
    ("2026-11-24 08:33:26+00:00", 0),
    ("2026-11-24T08:33:26-00:00", 0),
    ("2026-11-24T08:33:26.5Z", 500_000_000),
    ("2026-11-24t08:33:26.123456789z", 123_456_789),
    ("2026-11-24T08:33:26.123456789999999Z", 123_456_789),
    ("2026-11-24T14:03:26.000+05:30", 0),
    ("2026-11-25T08:32:26+23:59", 0),
    ("2026-11-23T08:34:26-23:59", 0),
    (r"2026-11-24T09:33:26\u002B01:00", 0),
    (r"\u0032026-11-24T08:33:26\u005a", 0),
];

/// Times that are dead-lettered, with the reason.
const REJECTED: [(&str, &str); 8] = [
    ("2016-12-31T23:59:60Z", "out_of_range"),
    ("2026-11-24T08:33:60Z", "invalid_time"),
    ("2026-11-24T24:00:00Z", "invalid_time"),
    ("2026-11-24T08:33:26", "invalid_time"),
    ("2026-11-24T08:33:26+0100", "invalid_time"),
    ("2026-11-24T08:33:26,5Z", "invalid_time"),
    ("2026-11-24T08:33:26+24:00", "invalid_time"),
    (r"2026-11-24T08:33:26\u0059", "invalid_time"),
];

fn settings() -> Settings {
    let mut settings = quick_settings();
    let max_age = settings.pipelines["communication-events"].max_age;
    let pipeline = Pipeline { table: "times".to_owned(), tenant: String::new(), max_age, ..Pipeline::default() };
    settings.pipelines.insert(TOPIC.to_owned(), pipeline);
    settings
}

/// Sends all times. Returns a description of the fault if they did not land or were not dead-lettered as expected.
async fn judge_times(faults: &str) -> Result<(), String> {
    let world = World::new().await;
    world.execute(TABLE).await;
    let name = world.names.topic(TOPIC);
    let topic = NewTopic::new(&name, 1, TopicReplication::Fixed(1));
    let created = world.admin().create_topics([&topic], &AdminOptions::new()).await.unwrap();
    created.into_iter().collect::<Result<Vec<_>, _>>().unwrap();
    let worker = world.spawn_ready(&settings(), &[("SLUICE_FAULTS", faults)]).await;
    let producer = world.producer("lz4");
    let texts = TIMES.map(|(text, _)| text).into_iter().chain(REJECTED.map(|(text, _)| text));
    for (id, text) in texts.enumerate() {
        let payload = format!(r#"{{"id":{id},"at":"{text}","second":"{text}"}}"#);
        let record = FutureRecord::<[u8], _>::to(&name).payload(&payload);
        producer.send(record, DEADLINE).await.map_err(|(error, _)| error).unwrap();
    }
    let total = i64::try_from(TIMES.len() + REJECTED.len()).unwrap();
    eventually(DEADLINE, "everything is committed", || async { world.committed_sum(TOPIC).await == total }).await;
    worker.stop().await;
    let query = "SELECT id, toUnixTimestamp64Nano(at), toInt64(toUnixTimestamp(second)) FROM times ORDER BY id";
    let client = connect::clickhouse(&world.stores, &world.names);
    let landed: Vec<(u32, i64, i64)> = client.query(query).fetch_all().await.unwrap();
    let expected = (0..).zip(TIMES).map(|(id, (_, nanos))| (id, SECOND * 1_000_000_000 + nanos, SECOND));
    let is_as_expected = landed == expected.collect::<Vec<_>>();
    let letters = world.dead_letters().await;
    let reasons: Vec<_> = letters.values().filter_map(|letter| header(letter, "sluice.reason")).collect();
    world.drop_namespace().await;
    if !is_as_expected {
        return Err(format!("{} of {} times landed as expected: {landed:?}", landed.len(), TIMES.len()));
    }
    if reasons == REJECTED.map(|(_, reason)| reason) { Ok(()) } else { Err(format!("dead letters: {reasons:?}")) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_notation_lands_as_the_same_instant() {
    judge_times("").await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_parser_that_requires_uppercase_is_detected() {
    let output = judge_times("require_capital_t").await.unwrap_err();
    println!("negative control: {output}");
    assert!(output.starts_with("9 of 13"), "{output}");
}
