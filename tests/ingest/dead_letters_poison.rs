//! Exactly the records that cannot land are delivered to the dead-letter topic, byte for byte; their neighbors land.

use bytesize::ByteSize;
use rdkafka::message::{Headers, Message};
use sluice_schemas::names::topic;
use sluice_testkit::eventually;

use crate::harness::{DEADLINE, Record, TENANT, World, event, event_record, header, quick_settings};

/// Every kind of poison with its expected reason.
fn poison() -> Vec<(&'static str, Option<Vec<u8>>)> {
    let with_change = |change: fn(&mut serde_json::Value)| {
        let mut value = serde_json::to_value(event(7)).unwrap();
        change(&mut value);
        Some(value.to_string().into_bytes())
    };
    let valid_text = || String::from_utf8(event_record(7).payload.unwrap()).unwrap();
    let many_keys: Vec<_> = (0..5000).map(|n| format!("\"k{n}\":0")).collect();
    vec![
        ("tombstone", None),
        ("invalid_utf8", Some(b"{\"tenant_id\":\"\xff\"}".to_vec())),
        ("truncated_json", Some(valid_text().into_bytes()[..60].to_vec())),
        ("invalid_json", Some(b"hello".to_vec())),
        ("not_an_object", Some(b"[1,2]".to_vec())),
        ("too_deep", Some("[".repeat(100_000).into_bytes())),
        ("too_many_keys", Some(format!("{{{}}}", many_keys.join(",")).into_bytes())),
        ("duplicate_field", Some(valid_text().replacen('{', "{\"agent_id\":\"x\",", 1).into_bytes())),
        ("missing_field", with_change(|v| drop(v.as_object_mut().unwrap().remove("event_id")))),
        ("missing_tenant", with_change(|v| drop(v.as_object_mut().unwrap().remove("tenant_id")))),
        ("wrong_type", with_change(|v| v["success"] = "yes".into())),
        ("out_of_range", with_change(|v| v["duration_ms"] = (1_u64 << 32).into())),
        ("out_of_range", with_change(|v| v["timestamp"] = "9999-01-01T00:00:00Z".into())),
        ("invalid_uuid", with_change(|v| v["customer_id"] = "c".into())),
        ("invalid_time", with_change(|v| v["timestamp"] = "NaN".into())),
        ("string_too_long", with_change(|v| v["agent_id"] = "x".repeat(300 << 10).into())),
        ("record_too_large", Some(vec![b' '; (512 << 10) + 1])),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exactly_the_poison_is_dead_lettered_and_its_neighbors_land() {
    let world = World::new().await;
    let mut settings = quick_settings();
    for pipeline in settings.pipelines.values_mut() {
        pipeline.limits.record = ByteSize::kib(512);
    }
    let worker = world.start(settings).await;
    let producer = world.producer("none");
    let mut sent = Vec::new();
    for (index, (reason, payload)) in (0..).zip(poison()) {
        world.produce(&producer, &event_record(index * 2)).await;
        let key = event_record(index).key;
        let headers = vec![("trace".to_owned(), Some(b"\x00\xff".to_vec())), ("empty".to_owned(), None)];
        let record = Record { key, payload, headers, partition: None };
        let at = world.produce(&producer, &record).await;
        world.produce(&producer, &event_record(index * 2 + 1)).await;
        sent.push((at, reason, record));
    }
    world.wait_for_rows(sent.len() * 2).await;
    let total = i64::try_from(sent.len() * 3).unwrap();
    eventually(DEADLINE, "all offsets are committed", || async {
        world.committed_sum(topic::COMMUNICATION_EVENTS).await == total
    })
    .await;
    let letters = world.dead_letters().await;
    assert_eq!(letters.len(), sent.len(), "every poison record, and no other");
    for (at, reason, record) in &sent {
        let letter = &letters[at];
        assert_eq!(letter.key(), record.key.as_deref());
        assert_eq!(letter.payload(), record.payload.as_deref(), "{reason}");
        let original_headers: Vec<_> = letter.headers().unwrap().iter().take(2).map(|h| (h.key, h.value)).collect();
        assert_eq!(original_headers, [("trace", Some(&b"\x00\xff"[..])), ("empty", None)]);
        assert_eq!(header(letter, "sluice.reason").as_deref(), Some(*reason));
        assert_eq!(header(letter, "sluice.stage").as_deref(), Some("decode"));
        assert_eq!(header(letter, "sluice.topic"), Some(world.names.topic(topic::COMMUNICATION_EVENTS)));
        assert_eq!(header(letter, "sluice.tenant"), Some(TENANT.to_string()));
    }
    assert_eq!(world.count().await, sent.len() * 2, "neighbors land once");
    assert_eq!(worker.stop().await.topics.values().map(|counts| counts.dead_lettered).sum::<u64>(), sent.len() as u64);
    world.drop_namespace().await;
}
