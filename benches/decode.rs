//! Measures the time to decode one communication event of typical size and encode it as a row, and the number of allocations,
//! which is zero once the buffers have grown. Run with `cargo bench --bench decode`. Parsing the event into its struct with
//! serde_json is the baseline on the same machine. No row is sent to a store.

#[path = "support/counting_allocator.rs"]
mod counting_allocator;

use std::hint::black_box;

use chrono::{DateTime, Utc};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use sluice_ingest::clickhouse::shape::{Column, Shape};
use sluice_ingest::config::Settings;
use sluice_ingest::decode::Origin;
use sluice_ingest::decode::table::plan;
use sluice_schemas::names::topic;
use sluice_schemas::records::{Channel, CommunicationEvent, EventMetadata, EventType};
use uuid::Uuid;

use counting_allocator::print_allocations;

/// Number of repetitions for which allocations are counted.
const REPETITIONS: u64 = 1_000;

fn event() -> Vec<u8> {
    let event = CommunicationEvent {
        event_id: Uuid::from_u128(1),
        tenant_id: Uuid::from_u128(2),
        customer_id: Uuid::from_u128(3),
        campaign_id: Uuid::nil(),
        agent_id: "negotiator-17".to_owned(),
        channel: Channel::Email,
        event_type: EventType::Delivered,
        timestamp: DateTime::<Utc>::from_timestamp_millis(1_795_509_206_123).expect("a time in range"),
        duration_ms: 1234,
        success: true,
        error_code: String::new(),
        metadata: EventMetadata {
            communication_id: Uuid::from_u128(4),
            seq: 12,
            template: "reminder-2".to_owned(),
            language: "en".to_owned(),
        },
    };
    serde_json::to_vec(&event).expect("an event is JSON")
}

fn shape() -> Shape {
    let columns = [
        ("event_id", "UUID"),
        ("tenant_id", "UUID"),
        ("customer_id", "UUID"),
        ("campaign_id", "UUID"),
        ("agent_id", "String"),
        ("channel", "LowCardinality(String)"),
        ("event_type", "LowCardinality(String)"),
        ("timestamp", "DateTime64(3, 'UTC')"),
        ("duration_ms", "UInt32"),
        ("success", "Bool"),
        ("error_code", "LowCardinality(String)"),
        ("metadata", "String"),
        ("_topic", "LowCardinality(String)"),
        ("_topic_id", "UUID"),
        ("_partition", "Int32"),
        ("_offset", "Int64"),
    ];
    let column = |(name, column_type): (&str, &str)| Column {
        name: name.to_owned(),
        type_text: column_type.to_owned(),
        default_kind: String::new(),
    };
    Shape {
        columns: columns.map(column).into(),
        partition_key: "toYYYYMM(timestamp)".to_owned(),
        server_zone: "UTC".to_owned(),
    }
}

/// The event with its fields in reverse order, escapes, and white space between tokens.
fn with_unusual_syntax(event: &[u8]) -> Vec<u8> {
    let event: serde_json::Value = serde_json::from_slice(event).expect("an event is JSON");
    let members = event.as_object().expect("an event is an object").iter().rev();
    let members =
        members.map(|(name, value)| format!("  \"{name}\" : {value}").replace("negotiator", "n\\u0065gotiator"));
    format!("{{\n{}\n}}", members.collect::<Vec<_>>().join(",\n")).into_bytes()
}

fn decode(criterion: &mut Criterion) {
    let settings = Settings::default();
    let pipeline = &settings.pipelines[topic::COMMUNICATION_EVENTS];
    let mut decoder = plan(topic::COMMUNICATION_EVENTS, pipeline, &shape()).expect("the platform's own table").decoder;
    let origin = Origin::new(topic::COMMUNICATION_EVENTS, Uuid::from_u128(5), 3);
    let mut row = Vec::with_capacity(1024);
    let mut decode = |payload: &[u8]| {
        row.clear();
        decoder.decode(Some(black_box(payload)), &origin, 42, &mut row).expect("a good record")
    };
    let mut group = criterion.benchmark_group("decode");
    let typical = event();
    for (name, payload) in [("event to row", &typical), ("unusual event to row", &with_unusual_syntax(&typical))] {
        decode(payload);
        print_allocations(name, REPETITIONS, || {
            for _ in 0..REPETITIONS {
                black_box(decode(payload));
            }
        });
        group.throughput(Throughput::Bytes(payload.len() as u64));
        group.bench_function(name, |bencher| bencher.iter(|| decode(payload)));
    }
    group.throughput(Throughput::Bytes(typical.len() as u64));
    let to_struct = || serde_json::from_slice::<CommunicationEvent>(black_box(&typical));
    print_allocations("serde_json to struct", REPETITIONS, || {
        (0..REPETITIONS).for_each(|_| drop(black_box(to_struct())));
    });
    group.bench_function("serde_json to struct", |bencher| bencher.iter(to_struct));
    group.finish();
}

criterion_group!(benches, decode);
criterion_main!(benches);
