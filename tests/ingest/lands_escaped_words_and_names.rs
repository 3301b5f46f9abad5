//! ClickHouse escapes enum words and the names of columns and tuple elements. A word lands exactly as it was sent, text that
//! is not a word of the enum does not land, and names are never confused.

use std::collections::BTreeMap;

use rdkafka::admin::{AdminOptions, NewTopic, TopicReplication};
use rdkafka::producer::FutureRecord;
use serde_json::{Value, json};
use sluice_ingest::config::{Pipeline, Settings};
use sluice_schemas::connect;
use sluice_testkit::eventually;

use crate::harness::{DEADLINE, World, header, quick_settings};

const TOPIC: &str = "escapes";
const PROVENANCE: &str = "_topic LowCardinality(String), _topic_id UUID, _partition Int32, _offset Int64, \
    PROJECTION by_offset (SELECT _topic, _topic_id, _partition, _offset ORDER BY _topic, _partition, _offset)";
const WINDOW: &str = "SETTINGS non_replicated_deduplication_window = 10000";

/// Words as SQL literals, with their values.
const WORDS: [(&str, &str); 9] = [
    (r"line\nbreak", "line\nbreak"),
    (r"tab\there", "tab\there"),
    (r"zero\0end", "zero\0end"),
    (r"back\\slash", "back\\slash"),
    (r"it\'s", "it's"),
    (r"it''s too", "it's too"),
    (r"100\%", r"100\%"),
    (r"\a\b\e\f\r\v\x41", "\u{7}\u{8}\u{1b}\u{c}\r\u{b}A"),
    ("", ""),
];

fn settings() -> Settings {
    let mut settings = quick_settings();
    let max_age = settings.pipelines["communication-events"].max_age;
    let pipeline = Pipeline { table: "escapes".to_owned(), tenant: String::new(), max_age, ..Pipeline::default() };
    settings.pipelines.insert(TOPIC.to_owned(), pipeline);
    settings
}

async fn world(table: &str) -> World {
    let world = World::new().await;
    world.execute(table).await;
    let name = world.names.topic(TOPIC);
    let topic = NewTopic::new(&name, 1, TopicReplication::Fixed(1));
    let created = world.admin().create_topics([&topic], &AdminOptions::new()).await.unwrap();
    created.into_iter().collect::<Result<Vec<_>, _>>().unwrap();
    world
}

async fn send(world: &World, records: &[Value]) {
    let (producer, topic) = (world.producer("lz4"), world.names.topic(TOPIC));
    for record in records {
        let payload = record.to_string();
        let record = FutureRecord::<[u8], _>::to(&topic).payload(&payload);
        producer.send(record, DEADLINE).await.map_err(|(error, _)| error).unwrap();
    }
}

async fn wait_for_commit(world: &World, count: usize) {
    eventually(DEADLINE, "everything is committed", || async {
        world.committed_sum(TOPIC).await == i64::try_from(count).unwrap()
    })
    .await;
}

/// Sends each word, and look-alikes without backslashes. Returns a description of the fault if a word did not land or a
/// look-alike did.
async fn judge_words(column_type: &str, faults: &str) -> Result<(), String> {
    let words: Vec<_> = (1..).zip(WORDS).map(|(number, (sql, _))| format!("'{sql}' = {number}")).collect();
    let words = words.join(", ");
    let world = world(&format!(
        "CREATE TABLE escapes (id UInt32, word {column_type}({words}), {PROVENANCE}) ENGINE = MergeTree ORDER BY id {WINDOW}"
    ))
    .await;
    let worker = world.spawn_ready(&settings(), &[("SLUICE_FAULTS", faults)]).await;
    let good = (0..).zip(WORDS).map(|(id, (_, word))| json!({"id": id, "word": word}));
    let bad = ["linenbreak", "tabthere", "zero0end", "100%", "abefrvx41", "line\\nbreak", "it''s too"];
    let bad = (100..).zip(bad).map(|(id, word)| json!({"id": id, "word": word}));
    let records: Vec<_> = good.chain(bad).collect();
    send(&world, &records).await;
    wait_for_commit(&world, records.len()).await;
    worker.stop().await;
    let query = "SELECT id, toString(word) FROM escapes ORDER BY id";
    let landed: Vec<(u32, String)> =
        connect::clickhouse(&world.stores, &world.names).query(query).fetch_all().await.unwrap();
    let expected: Vec<_> = (0..).zip(WORDS).map(|(id, (_, word))| (id, word.to_owned())).collect();
    let letters = world.dead_letters().await;
    let reasons: Vec<_> = letters.values().filter_map(|letter| header(letter, "sluice.reason")).collect();
    world.drop_namespace().await;
    if landed != expected {
        return Err(format!("{landed:?} landed"));
    }
    let is_as_expected =
        reasons.len() == records.len() - expected.len() && reasons.iter().all(|reason| reason == "unknown_word");
    if is_as_expected { Ok(()) } else { Err(format!("dead letters: {reasons:?}")) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_enum_word_lands_and_its_lookalike_does_not() {
    judge_words("Enum8", "").await.unwrap();
    judge_words("Enum16", "").await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_parser_that_drops_backslashes_is_detected() {
    let output = judge_words("Enum8", "misread_escapes").await.unwrap_err();
    println!("negative control: {output}");
    assert!(output.contains(r#"(100, "line\nbreak")"#), "`linenbreak` lands as another word: {output}");
    assert!(!output.contains(r#"(0, "line\nbreak")"#), "and the word itself does not land: {output}");
}

/// Column names, element names and a partition key that need quoting and escapes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_that_need_quoting_round_trip() {
    let world = world(&format!(
        r"CREATE TABLE escapes (id UInt32, `the ``time``\n` DateTime64(3, 'UTC'), `a\\b'c` String, `\q` UInt8 DEFAULT 5,
          pair Tuple(`x\`y` UInt8, `z\nw` String, `select` UInt8), more Nested(`p``q` UInt8, `tab\t` String), {PROVENANCE})
          ENGINE = MergeTree PARTITION BY toYYYYMM(`the \`time\`\n`) ORDER BY id {WINDOW}"
    ))
    .await;
    let worker = world.spawn_ready(&settings(), &[]).await;
    let record = |id: u32| {
        json!({
            "id": id, "the `time`\n": "2026-11-24T08:33:26.123Z", "a\\b'c": "one", "\\q": 7,
            "pair": {"x`y": 1, "z\nw": "two", "select": 3},
            "more": {"p`q": [4, 5], "tab\t": ["six", "seven"]},
        })
    };
    let mut bare = record(2);
    bare.as_object_mut().unwrap().remove("\\q");
    let mut misnamed = record(3);
    let pair = misnamed["pair"].as_object_mut().unwrap();
    let two = pair.remove("z\nw").unwrap();
    pair.insert("znw".to_owned(), two);
    send(&world, &[record(1), bare, misnamed]).await;
    wait_for_commit(&world, 3).await;
    worker.stop().await;
    let query = "SELECT * EXCEPT(_topic, _topic_id, _partition, _offset) FROM escapes ORDER BY id";
    let client = connect::clickhouse(&world.stores, &world.names);
    let bytes = client.query(query).fetch_bytes("JSONEachRow").unwrap().collect().await.unwrap();
    let rows = serde_json::Deserializer::from_slice(&bytes).into_iter::<Value>().map(Result::unwrap);
    let rows: BTreeMap<_, _> = rows.map(|row| (row["id"].as_u64().unwrap(), row)).collect();
    assert_eq!(rows.keys().copied().collect::<Vec<_>>(), [1, 2], "the third has a wrong name in its tuple");
    assert_eq!((&rows[&1]["\\q"], &rows[&2]["\\q"]), (&json!(7), &json!(5)), "the value sent, and the default");
    let row = &rows[&1];
    assert_eq!((&row["the `time`\n"], &row["a\\b'c"]), (&json!("2026-11-24 08:33:26.123"), &json!("one")));
    assert_eq!(row["pair"], record(1)["pair"]);
    assert_eq!((&row["more.p`q"], &row["more.tab\t"]), (&json!([4, 5]), &json!(["six", "seven"])));
    let letters = world.dead_letters().await;
    let reasons: Vec<_> = letters.values().filter_map(|letter| header(letter, "sluice.reason")).collect();
    assert_eq!(reasons, ["missing_field"]);
    world.drop_namespace().await;
}

/// A table's name occurs in statements, in query parameters and in the query IDs of INSERTs, which a header repeats.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_of_any_name_is_written_and_looked_up() {
    let world = world(&format!(
        r"CREATE TABLE `日本\\x\ty 100%` (id UInt32, {PROVENANCE}) ENGINE = MergeTree ORDER BY id {WINDOW}"
    ))
    .await;
    let name = "日本\\x\ty 100%";
    let mut settings = settings();
    settings.pipelines.get_mut(TOPIC).unwrap().table = name.to_owned();
    let worker = world.spawn_ready(&settings, &[]).await;
    send(&world, &[json!({"id": 1}), json!({"id": 2})]).await;
    wait_for_commit(&world, 2).await;
    worker.stop().await;
    world.set_offset(TOPIC, 0, 0, "").await;
    let worker = world.spawn_ready(&settings, &[]).await;
    send(&world, &[json!({"id": 3})]).await;
    wait_for_commit(&world, 3).await;
    worker.stop().await;
    let client = connect::clickhouse(&world.stores, &world.names);
    let rows: u64 = client.query(r"SELECT count() FROM `日本\\x\ty 100%`").fetch_one().await.unwrap();
    assert_eq!(rows, 3);
    world.drop_namespace().await;
}
