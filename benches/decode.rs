//! How long it takes to decode one communication event of the usual size and to encode it as a row.
//! Run with `cargo bench --bench decode`; reading it into its struct with serde_json is there as a
//! yardstick on the same machine.

use std::hint::black_box;

use chrono::{DateTime, Utc};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use sluice_ingest::config::Settings;
use sluice_ingest::decode::Origin;
use sluice_ingest::decode::table::{Shape, ShapeColumn, plan};
use sluice_schemas::names::topic;
use sluice_schemas::records::{Channel, CommunicationEvent, EventMetadata, EventType};
use uuid::Uuid;

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
    let column = |(name, of): (&str, &str)| ShapeColumn {
        name: name.to_owned(),
        type_text: of.to_owned(),
        default_kind: String::new(),
    };
    Shape {
        columns: columns.map(column).into(),
        partition_key: "toYYYYMM(timestamp)".to_owned(),
        server_zone: "UTC".to_owned(),
    }
}

fn decode(criterion: &mut Criterion) {
    let payload = event();
    let settings = Settings::default();
    let pipeline = &settings.pipelines[topic::COMMUNICATION_EVENTS];
    let mut decoder = plan(topic::COMMUNICATION_EVENTS, pipeline, &shape()).expect("the platform's own table").decoder;
    let origin = Origin::new(topic::COMMUNICATION_EVENTS, Uuid::from_u128(5), 3);
    let mut row = Vec::with_capacity(1024);
    let mut group = criterion.benchmark_group("decode");
    group.throughput(Throughput::Bytes(payload.len() as u64));
    group.bench_function("event to row", |bencher| {
        bencher.iter(|| {
            row.clear();
            decoder.decode(Some(black_box(&payload)), &origin, 42, &mut row)
        });
    });
    group.bench_function("serde_json to struct", |bencher| {
        bencher.iter(|| serde_json::from_slice::<CommunicationEvent>(black_box(&payload)));
    });
    group.finish();
}

criterion_group!(benches, decode);
criterion_main!(benches);
