//! A worker stays within its budget whatever its poison contains and however many dead letters exist. Peak resident memory
//! is the kernel's own figure.

use bytesize::ByteSize;
use rdkafka::message::{Header, Headers, Message, OwnedHeaders};
use rdkafka::producer::FutureRecord;
use sluice_ingest::config::Settings;
use sluice_schemas::names::topic;
use sluice_testkit::eventually;
use tokio::process::Command;
use uuid::Uuid;

use crate::harness::{DEADLINE, Record, World, event_record, header, november_records};
use crate::process::static_member;

const BUDGET: u64 = 64 << 20;
/// Memory of the process outside its budget, in bytes: code, threads, and memory that the allocator retains.
const OVERHEAD: u64 = 16 << 20;
const HEADERS: usize = 99_000;

fn small_budget() -> Settings {
    Settings { memory_budget: ByteSize(BUDGET), ..static_member() }
}

impl World {
    /// Produces records that consist of headers.
    async fn produce_header_bombs(&self, count: usize, headers: usize) {
        let all = OwnedHeaders::new_with_capacity(headers);
        let all = (0..headers).fold(all, |all, _| all.insert(Header { key: "h", value: Some("v") }));
        let (topic, producer) = (self.names.topic(topic::COMMUNICATION_EVENTS), self.producer("none"));
        for n in 0..count {
            let partition = i32::try_from(n % 6).unwrap();
            let record = FutureRecord::<[u8], [u8]>::to(&topic).payload(b"no json").partition(partition);
            producer.send(record.headers(all.clone()), DEADLINE).await.map_err(|(error, _)| error).unwrap();
        }
    }

    async fn dlq(&self, arguments: &[&str]) -> String {
        let output = Command::new(env!("CARGO_BIN_EXE_sluice"))
            .args(["--namespace", self.names.namespace(), "--port-base", &self.port_base().to_string(), "dlq"])
            .args(arguments)
            .output()
            .await
            .unwrap();
        let printed = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{printed}{}", String::from_utf8_lossy(&output.stderr));
        printed
    }
}

/// Peak memory, in bytes, of a worker that consumes `count` records with [`HEADERS`] headers each.
async fn peak(count: usize, faults: &str) -> (World, u64) {
    let world = World::new().await;
    world.produce_header_bombs(count, HEADERS).await;
    let worker = world.spawn_ready(&small_budget(), &[("SLUICE_FAULTS", faults)]).await;
    eventually(DEADLINE * 4, "all records are dead-lettered", || async {
        let committed = world.committed_sum(topic::COMMUNICATION_EVENTS).await;
        if committed == i64::try_from(count).unwrap() { Ok(()) } else { Err(committed) }
    })
    .await;
    let peak = worker.peak_memory();
    println!("{count} header bombs, with faults {faults:?}: peak {}", ByteSize(peak));
    worker.stop().await;
    (world, peak)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_made_of_headers_stay_within_the_budget() {
    for count in [50, 250] {
        let (world, peak) = peak(count, "").await;
        assert!(peak < BUDGET + OVERHEAD, "{}", ByteSize(peak));
        let letters = world.dead_letters().await;
        assert_eq!(letters.len(), count);
        for letter in letters.values() {
            assert_eq!(header(letter, "sluice.headers_left_out").as_deref(), Some("98000"));
            assert_eq!(header(letter, "sluice.header_bytes_left_out").as_deref(), Some("196000"));
            assert_eq!(letter.headers().unwrap().iter().filter(|header| header.key == "h").count(), 1000);
        }
        assert_eq!(
            world.dlq(&["list", "--json", "--limit", "1000"]).await.lines().count(),
            count,
            "all letters are read back"
        );
        world.drop_namespace().await;
    }
    let (world, peak) = peak(50, "keep_all_headers,fetch_far_ahead").await;
    assert!(peak >= BUDGET + OVERHEAD, "negative control: without the limits, {}", ByteSize(peak));
    world.drop_namespace().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn letters_at_and_above_librdkafkas_header_limit_can_be_read_back() {
    let world = World::new().await;
    for headers in [999, 1000, 1001, 100_000, 100_001] {
        world.produce_header_bombs(1, headers).await;
    }
    let worker = world.spawn_ready(&small_budget(), &[]).await;
    eventually(DEADLINE, "all records are dead-lettered", || async {
        world.committed_sum(topic::COMMUNICATION_EVENTS).await == 5
    })
    .await;
    worker.stop().await;
    let letters = world.dead_letters().await;
    let omitted: Vec<_> = letters.values().map(|letter| header(letter, "sluice.headers_left_out")).collect();
    let header_value = |text: &str| Some(text.to_owned());
    assert_eq!(omitted, [None, None, header_value("1"), header_value("99000"), header_value("all")]);
    assert_eq!(world.dlq(&["list", "--json"]).await.lines().count(), 5);
    let shown = world.dlq(&["show", "communication-events", "0", "4"]).await;
    assert!(shown.contains("sluice.headers_left_out") && shown.contains("all"), "{shown}");
    world.drop_namespace().await;
}

/// Fills the dead-letter topic with `count` letters, each of a different topic ID.
async fn fill_dead_letter_topic(world: &World, count: u32) {
    let (topic, producer) = (world.names.topic(topic::CLICKHOUSE_ERRORS), world.producer("lz4"));
    for chunk in (0..count).collect::<Vec<_>>().chunks(10_000) {
        let sent = chunk.iter().map(|n| {
            let id = Uuid::from_u128(u128::from(*n) + 1).to_string();
            let headers = [
                ("sluice.reason", "wrong_type"),
                ("sluice.stage", "decode"),
                ("sluice.topic", "another"),
                ("sluice.topic_id", id.as_str()),
                ("sluice.partition", "0"),
                ("sluice.offset", "7"),
                ("sluice.attempts", "1"),
            ];
            let headers = headers
                .into_iter()
                .fold(OwnedHeaders::new(), |headers, (key, value)| headers.insert(Header { key, value: Some(value) }));
            let record = FutureRecord::<[u8], [u8]>::to(&topic).payload(b"x").headers(headers);
            let producer = producer.clone();
            async move { producer.send(record, DEADLINE).await.map_err(|(error, _)| error).unwrap() }
        });
        futures::future::join_all(sent).await;
    }
}

/// Peak memory, in bytes, of a worker that takes over ranges announced before the dead-letter topic was filled.
async fn peak_of_takeover(faults: &str) -> u64 {
    let world = World::new().await;
    let mut records = november_records(0, 0..50);
    records[7] = Record { payload: Some(b"no json".to_vec()), partition: Some(0), ..event_record(7) };
    world.produce_all(&world.producer("lz4"), &records).await;
    world.spawn(&small_budget(), &[("SLUICE_FAILPOINT", "dead_lettered")]).wait_for_abort().await;
    fill_dead_letter_topic(&world, 250_000).await;
    let worker = world.spawn_ready(&small_budget(), &[("SLUICE_FAULTS", faults)]).await;
    eventually(DEADLINE * 4, "everything is committed", || async {
        world.committed_sum(topic::COMMUNICATION_EVENTS).await == 50
    })
    .await;
    let peak = worker.peak_memory();
    println!("a takeover with 250,000 letters, with faults {faults:?}: peak {}", ByteSize(peak));
    worker.stop().await;
    assert_eq!(world.count().await, 49, "the dead-lettered record does not land");
    world.drop_namespace().await;
    peak
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_takeover_with_many_dead_letters_stays_within_the_budget() {
    let peak = peak_of_takeover("").await;
    assert!(peak < BUDGET + OVERHEAD, "{}", ByteSize(peak));
    let peak = peak_of_takeover("keep_all_letters").await;
    assert!(peak >= BUDGET + OVERHEAD, "negative control: without the filter, {}", ByteSize(peak));
}
