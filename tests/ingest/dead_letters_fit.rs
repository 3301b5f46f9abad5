//! A dead letter is delivered whatever its record contains, and only to a topic that retains it: a compacted topic is refused.
//! Parts that are too large are omitted, and headers name them.

use std::collections::BTreeMap;

use rdkafka::admin::{AdminOptions, AlterConfig, ResourceSpecifier};
use rdkafka::message::{Message, OwnedMessage};
use sluice_schemas::names::topic;
use sluice_testkit::eventually;

use crate::harness::{DEADLINE, Record, World, event_record, header, november_records, page, wait_for_stall};
use crate::process::static_member;

impl World {
    /// Configures the dead-letter topic; settings that are not named return to the broker's defaults.
    async fn configure_dead_letter_topic(&self, settings: &[(&str, &str)]) {
        let name = self.names.topic(topic::CLICKHOUSE_ERRORS);
        let change = AlterConfig::new(ResourceSpecifier::Topic(&name));
        let change = settings.iter().fold(change, |change, (name, value)| change.set(name, value));
        for altered in self.admin().alter_configs([&change], &AdminOptions::new()).await.unwrap() {
            altered.unwrap();
        }
    }

    async fn wait_for_commit(&self, count: i64) {
        eventually(DEADLINE, "all offsets are committed", || async {
            let committed = self.committed_sum(topic::COMMUNICATION_EVENTS).await;
            if committed == count { Ok(()) } else { Err(committed) }
        })
        .await;
    }
}

const COMPACTED: [(&str, &str); 1] = [("cleanup.policy", "compact")];
const NOT_COMPACTED: [(&str, &str); 1] = [("cleanup.policy", "delete")];

/// Bytes that no codec can compress.
fn noise(bytes: usize) -> Vec<u8> {
    // A different seed for each size; otherwise one part would compress as a repetition of another.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64 ^ bytes as u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[0]
    };
    std::iter::repeat_with(next).take(bytes).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_compacted_dead_letter_topic_is_refused_at_startup() {
    let world = World::new().await;
    for policy in ["compact", "compact,delete"] {
        world.configure_dead_letter_topic(&[("cleanup.policy", policy)]).await;
        let mut process = world.spawn(&static_member(), &[]);
        assert!(!process.wait_for_exit().await.success());
        let output = process.log();
        assert!(output.contains(&format!("its cleanup.policy is {policy}")), "{output}");
        assert!(output.contains("--add-config cleanup.policy=delete"), "{output}");
    }
    world.configure_dead_letter_topic(&[("retention.ms", "3600000")]).await;
    let mut process = world.spawn(&static_member(), &[]);
    assert!(!process.wait_for_exit().await.success() && process.log().contains("its retention.ms is 3600000"));
    // With the check disabled, the worker starts.
    world.configure_dead_letter_topic(&COMPACTED).await;
    world.spawn_ready(&static_member(), &[("SLUICE_FAULTS", "skip_dead_letter_topic_check")]).await.stop().await;
    world.drop_namespace().await;
}

/// Enables compaction of the topic under a running worker, and produces two poison records with the same key and one without a
/// key.
async fn compact_under_a_worker(faults: &str) -> (World, i64) {
    let world = World::new().await;
    let worker = world.spawn_ready(&static_member(), &[("SLUICE_FAULTS", faults)]).await;
    world.configure_dead_letter_topic(&COMPACTED).await;
    if faults.is_empty() {
        wait_for_stall(&worker.url, "its cleanup.policy is compact").await;
    }
    let poison = |key: Option<&[u8]>| Record {
        key: key.map(<[u8]>::to_vec),
        payload: Some(b"no json".to_vec()),
        partition: Some(0),
        ..Record::default()
    };
    world.produce_all(&world.producer("none"), &[poison(Some(b"k")), poison(Some(b"k"))]).await;
    world.produce(&world.producer("none"), &Record { partition: Some(1), ..event_record(1) }).await;
    world.wait_for_rows(1).await;
    if faults.is_empty() {
        wait_for_stall(&worker.url, "communication-events/0 is stalled: write: use topic").await;
        let committed = world.committed_sum(topic::COMMUNICATION_EVENTS).await;
        assert!(committed <= 1, "{committed}: no record whose dead letter could be lost is committed");
        assert!(world.dead_letters().await.is_empty());
        world.configure_dead_letter_topic(&NOT_COMPACTED).await;
        world.produce(&world.producer("none"), &poison(None)).await;
        world.wait_for_commit(4).await;
        eventually(DEADLINE, "the worker is ready again", || async { page(&worker.url, "readyz").await == "ready\n" })
            .await;
    } else {
        world.wait_for_commit(3).await;
    }
    let committed = world.committed_sum(topic::COMMUNICATION_EVENTS).await;
    worker.stop().await;
    (world, committed)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn compaction_enabled_under_a_running_worker_is_detected() {
    let (world, committed) = compact_under_a_worker("").await;
    assert_eq!((committed, world.dead_letters().await.len()), (4, 3), "no dead letter is lost");
    world.drop_namespace().await;
    // Without the check, both records of one key are committed, and compaction keeps only one of their dead letters.
    let (world, committed) = compact_under_a_worker("skip_dead_letter_topic_check").await;
    assert_eq!(committed, 3);
    world.drop_namespace().await;
}

const LIMIT: usize = 20 * 1024;

/// Poison in partition 0 whose parts have these sizes in bytes.
fn poison(key: usize, payload: usize, headers: usize) -> Record {
    let headers = (headers > 0).then(|| ("big".to_owned(), Some(noise(headers))));
    Record {
        key: Some(noise(key)),
        payload: Some(noise(payload)),
        headers: headers.into_iter().collect(),
        partition: Some(0),
    }
}

/// Whether a letter has its key and its payload, and its headers about omitted parts.
fn parts(letter: &OwnedMessage) -> (bool, bool, Vec<(&'static str, String)>) {
    let names = ["sluice.payload_bytes", "sluice.headers_left_out", "sluice.header_bytes_left_out", "sluice.key_bytes"];
    let headers = names.into_iter().filter_map(|name| Some((name, header(letter, name)?))).collect();
    (letter.key().is_some(), letter.payload().is_some(), headers)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_parts_that_do_not_fit_are_omitted() {
    let world = World::new().await;
    world.configure_dead_letter_topic(&[("max.message.bytes", &LIMIT.to_string())]).await;
    let producer = world.producer("none");
    let large = [
        poison(30 << 10, 100, 10),
        poison(19 << 10, 5 << 10, 0),
        poison(100, 100, 30 << 10),
        poison(100, 30 << 10, 10),
        poison(30 << 10, 30 << 10, 30 << 10),
    ];
    for record in &large {
        world.produce(&producer, record).await;
    }
    // Small letters fit, but not all in one batch.
    let small: Vec<_> = (0..50).map(|_| poison(100, 1 << 10, 0)).collect();
    world.produce_all(&producer, &small).await;
    world.produce_all(&producer, &november_records(0, 0..5)).await;
    let worker = world.spawn_ready(&static_member(), &[]).await;
    world.wait_for_commit(60).await;
    worker.stop().await;
    let letters = world.dead_letters().await;
    let parts_of = |offset| {
        let (key, payload, headers) = parts(&letters[&(0, offset)]);
        let headers: Vec<_> = headers.iter().map(|(name, value)| format!("{name}={value}")).collect();
        (key, payload, headers.join(" "))
    };
    assert_eq!(parts_of(0), (false, true, "sluice.key_bytes=30720".to_owned()));
    assert_eq!(parts_of(1), (true, false, "sluice.payload_bytes=5120".to_owned()));
    let headers = "sluice.headers_left_out=1 sluice.header_bytes_left_out=30723";
    assert_eq!(parts_of(2), (true, true, headers.to_owned()));
    assert_eq!(parts_of(3), (true, false, "sluice.payload_bytes=30720".to_owned()));
    let all = format!("sluice.payload_bytes=30720 {headers} sluice.key_bytes=30720");
    assert_eq!(parts_of(4), (false, false, all));
    for offset in 5..55 {
        assert_eq!(parts_of(offset), (true, true, String::new()), "{offset}");
    }
    assert_eq!((letters.len(), world.count().await), (55, 5));
    world.drop_namespace().await;
}

/// If the key may not be omitted, the partition waits for an operator, and the message names the remedy.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_letter_that_never_fits_waits_for_an_operator() {
    let world = World::new().await;
    world.configure_dead_letter_topic(&[("max.message.bytes", &LIMIT.to_string())]).await;
    world.produce(&world.producer("none"), &poison(30 << 10, 100, 0)).await;
    let worker = world.spawn_ready(&static_member(), &[("SLUICE_FAULTS", "never_omit_key")]).await;
    wait_for_stall(&worker.url, "raise max.message.bytes of the topic").await;
    assert_eq!(world.committed_sum(topic::COMMUNICATION_EVENTS).await, 0);
    world.configure_dead_letter_topic(&[("max.message.bytes", "1114112")]).await;
    world.wait_for_commit(1).await;
    worker.stop().await;
    assert_eq!(parts(world.dead_letters().await.values().next().unwrap()), (true, true, vec![]));
    world.drop_namespace().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_producer_with_a_fatal_error_is_replaced() {
    let world = World::new().await;
    let poison: Vec<_> = (0..20).map(|n| poison(10, 10 + n, 0)).collect();
    world.produce_all(&world.producer("none"), &poison).await;
    // The producer fails and is not replaced.
    let worker = world.spawn_ready(&static_member(), &[("SLUICE_FAULTS", "break_producer,keep_broken_producer")]).await;
    wait_for_stall(&worker.url, "Kafka did not acknowledge a dead letter").await;
    assert_eq!(world.committed_sum(topic::COMMUNICATION_EVENTS).await, 0);
    worker.kill().await;
    let letters: BTreeMap<_, _> = world.dead_letters().await;
    assert!(letters.len() < 20, "{}", letters.len());
    let worker = world.spawn_ready(&static_member(), &[("SLUICE_FAULTS", "break_producer")]).await;
    world.wait_for_commit(20).await;
    let output = worker.stop().await;
    assert!(output.contains("the producer of dead letters has failed fatally"), "{output}");
    assert_eq!(world.dead_letters().await.len(), 20);
    world.drop_namespace().await;
}
