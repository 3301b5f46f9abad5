//! A dead letter arrives whatever its record is made of, and only in a topic that keeps it: one that is compacted is
//! refused, and what is too large is left out and said to be.

use std::collections::BTreeMap;

use rdkafka::admin::{AdminOptions, AlterConfig, ResourceSpecifier};
use rdkafka::message::{Message, OwnedMessage};
use sluice_schemas::names::topic;
use sluice_testkit::eventually;

use crate::harness::{DEADLINE, Record, World, event_record, header, in_partition, page, stands_still};
use crate::process::same_member;

impl World {
    /// Changes the dead-letter topic; what is not named goes back to what brokers have by default.
    async fn change_errors(&self, settings: &[(&str, &str)]) {
        let name = self.names.topic(topic::CLICKHOUSE_ERRORS);
        let change = AlterConfig::new(ResourceSpecifier::Topic(&name));
        let change = settings.iter().fold(change, |change, (name, value)| change.set(name, value));
        for altered in self.admin().alter_configs([&change], &AdminOptions::new()).await.unwrap() {
            altered.unwrap();
        }
    }

    async fn all_committed(&self, count: i64) {
        eventually(DEADLINE, "all offsets are committed", || async {
            let committed = self.committed(topic::COMMUNICATION_EVENTS).await;
            if committed == count { Ok(()) } else { Err(committed) }
        })
        .await;
    }
}

const COMPACTED: [(&str, &str); 1] = [("cleanup.policy", "compact")];
const KEEPS: [(&str, &str); 1] = [("cleanup.policy", "delete")];

/// Bytes that no codec makes smaller.
fn noise(bytes: usize) -> Vec<u8> {
    // Another beginning for each size, or one part would be found again in another.
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
async fn a_compacted_topic_is_refused_at_the_start() {
    let world = World::new().await;
    for policy in ["compact", "compact,delete"] {
        world.change_errors(&[("cleanup.policy", policy)]).await;
        let mut process = world.spawn(&same_member(), &[]);
        assert!(!process.ended().await.success());
        let said = process.said();
        assert!(said.contains(&format!("its cleanup.policy is {policy}")), "{said}");
        assert!(said.contains("--add-config cleanup.policy=delete"), "{said}");
    }
    world.change_errors(&[("retention.ms", "3600000")]).await;
    let mut process = world.spawn(&same_member(), &[]);
    assert!(!process.ended().await.success() && process.said().contains("its retention.ms is 3600000"));
    // The same check, switched off, lets the worker start.
    world.change_errors(&COMPACTED).await;
    world.spawn_ready(&same_member(), &[("SLUICE_FAULTS", "skip_dead_letter_topic_check")]).await.stop().await;
    world.drop().await;
}

/// Two poison records with the same key and one without, while the topic is compacted under a running worker.
async fn changed_under_a_worker(faults: &str) -> (World, i64) {
    let world = World::new().await;
    let worker = world.spawn_ready(&same_member(), &[("SLUICE_FAULTS", faults)]).await;
    world.change_errors(&COMPACTED).await;
    if faults.is_empty() {
        stands_still(&worker.url, "its cleanup.policy is compact").await;
    }
    let poison = |key: Option<&[u8]>| Record {
        key: key.map(<[u8]>::to_vec),
        payload: Some(b"no json".to_vec()),
        partition: Some(0),
        ..Record::default()
    };
    world.produce_all(&world.producer("none"), &[poison(Some(b"k")), poison(Some(b"k"))]).await;
    world.produce(&world.producer("none"), &Record { partition: Some(1), ..event_record(1) }).await;
    world.landed(1).await;
    if faults.is_empty() {
        stands_still(&worker.url, "communication-events/0 stands still: write: use topic").await;
        let committed = world.committed(topic::COMMUNICATION_EVENTS).await;
        assert!(committed <= 1, "{committed}: nothing that could be lost is committed");
        assert!(world.dead_letters().await.is_empty());
        world.change_errors(&KEEPS).await;
        world.produce(&world.producer("none"), &poison(None)).await;
        world.all_committed(4).await;
        eventually(DEADLINE, "it is ready again", || async { page(&worker.url, "readyz").await == "ready\n" }).await;
    } else {
        world.all_committed(3).await;
    }
    let committed = world.committed(topic::COMMUNICATION_EVENTS).await;
    worker.stop().await;
    (world, committed)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_that_is_compacted_under_a_worker_is_noticed() {
    let (world, committed) = changed_under_a_worker("").await;
    assert_eq!((committed, world.dead_letters().await.len()), (4, 3), "none is lost");
    world.drop().await;
    // Without the check both letters of one key are committed, of which compaction keeps one.
    let (world, committed) = changed_under_a_worker("skip_dead_letter_topic_check").await;
    assert_eq!(committed, 3);
    world.drop().await;
}

const LIMIT: usize = 20 * 1024;

/// Poison whose parts have these sizes, all on one partition.
fn poison(key: usize, payload: usize, headers: usize) -> Record {
    let headers = (headers > 0).then(|| ("big".to_owned(), Some(noise(headers))));
    Record {
        key: Some(noise(key)),
        payload: Some(noise(payload)),
        headers: headers.into_iter().collect(),
        partition: Some(0),
    }
}

/// Which parts a letter has, and what it says of those that it lacks.
fn parts(letter: &OwnedMessage) -> (bool, bool, Vec<(&'static str, String)>) {
    let said = ["sluice.payload_bytes", "sluice.headers_left_out", "sluice.header_bytes_left_out", "sluice.key_bytes"];
    let said = said.into_iter().filter_map(|name| Some((name, header(letter, name)?))).collect();
    (letter.key().is_some(), letter.payload().is_some(), said)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_what_does_not_fit_is_left_out() {
    let world = World::new().await;
    world.change_errors(&[("max.message.bytes", &LIMIT.to_string())]).await;
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
    // Small ones fit, though not all of a batch of them.
    let small: Vec<_> = (0..50).map(|_| poison(100, 1 << 10, 0)).collect();
    world.produce_all(&producer, &small).await;
    world.produce_all(&producer, &in_partition(0, 0..5)).await;
    let worker = world.spawn_ready(&same_member(), &[]).await;
    world.all_committed(60).await;
    worker.stop().await;
    let letters = world.dead_letters().await;
    let said = |offset| {
        let (key, payload, said) = parts(&letters[&(0, offset)]);
        let said: Vec<_> = said.iter().map(|(name, value)| format!("{name}={value}")).collect();
        (key, payload, said.join(" "))
    };
    assert_eq!(said(0), (false, true, "sluice.key_bytes=30720".to_owned()));
    assert_eq!(said(1), (true, false, "sluice.payload_bytes=5120".to_owned()));
    let headers = "sluice.headers_left_out=1 sluice.header_bytes_left_out=30723";
    assert_eq!(said(2), (true, true, headers.to_owned()));
    assert_eq!(said(3), (true, false, "sluice.payload_bytes=30720".to_owned()));
    let all = format!("sluice.payload_bytes=30720 {headers} sluice.key_bytes=30720");
    assert_eq!(said(4), (false, false, all));
    for offset in 5..55 {
        assert_eq!(said(offset), (true, true, String::new()), "{offset}");
    }
    assert_eq!((letters.len(), world.count().await), (55, 5));
    world.drop().await;
}

/// Without leaving the key out, its partition waits for an operator, who is told what to do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_letter_that_never_fits_is_the_operators() {
    let world = World::new().await;
    world.change_errors(&[("max.message.bytes", &LIMIT.to_string())]).await;
    world.produce(&world.producer("none"), &poison(30 << 10, 100, 0)).await;
    let worker = world.spawn_ready(&same_member(), &[("SLUICE_FAULTS", "never_leave_key_out")]).await;
    stands_still(&worker.url, "raise max.message.bytes of the topic").await;
    assert_eq!(world.committed(topic::COMMUNICATION_EVENTS).await, 0);
    world.change_errors(&[("max.message.bytes", "1114112")]).await;
    world.all_committed(1).await;
    worker.stop().await;
    assert_eq!(parts(world.dead_letters().await.values().next().unwrap()), (true, true, vec![]));
    world.drop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_producer_that_breaks_for_good_is_replaced() {
    let world = World::new().await;
    let poison: Vec<_> = (0..20).map(|n| poison(10, 10 + n, 0)).collect();
    world.produce_all(&world.producer("none"), &poison).await;
    // It breaks, and nobody replaces it.
    let worker = world.spawn_ready(&same_member(), &[("SLUICE_FAULTS", "break_producer,keep_broken_producer")]).await;
    stands_still(&worker.url, "Kafka did not acknowledge a dead letter").await;
    assert_eq!(world.committed(topic::COMMUNICATION_EVENTS).await, 0);
    worker.kill().await;
    let letters: BTreeMap<_, _> = world.dead_letters().await;
    assert!(letters.len() < 20, "{}", letters.len());
    let worker = world.spawn_ready(&same_member(), &[("SLUICE_FAULTS", "break_producer")]).await;
    world.all_committed(20).await;
    let said = worker.stop().await;
    assert!(said.contains("the producer of dead letters has failed fatally"), "{said}");
    assert_eq!(world.dead_letters().await.len(), 20);
    world.drop().await;
}
