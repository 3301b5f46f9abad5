//! In Kafka, a header's name consists of bytes. If it is not UTF-8, the worker does not stop and the record is not lost.
#![expect(unsafe_code, reason = "the safe producer accepts only UTF-8 names")]

use std::ffi::{CStr, c_char};
use std::ptr;

use rdkafka::bindings as sys;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::message::{Headers, Message};
use rdkafka::producer::{BaseProducer, DefaultProducerContext, Producer};
use sluice_schemas::connect;
use sluice_schemas::names::topic;

use crate::harness::{DEADLINE, World, event_record, header, quick_settings};

const NAME: &CStr = c"n\xe4me";

/// Produces `payload` with one header named [`NAME`].
fn produce_raw(producer: &BaseProducer, topic: &CStr, payload: &[u8]) {
    // SAFETY: every pointer lives for the whole call, and librdkafka copies the payload (`RD_KAFKA_MSG_F_COPY`), the
    // topic and the header before it returns. The arguments follow `rd_kafka_vtype_t` and end with `END`.
    let error = unsafe {
        sys::rd_kafka_producev(
            producer.client().native_ptr(),
            sys::rd_kafka_vtype_t::RD_KAFKA_VTYPE_TOPIC,
            topic.as_ptr(),
            sys::rd_kafka_vtype_t::RD_KAFKA_VTYPE_VALUE,
            payload.as_ptr(),
            payload.len(),
            sys::rd_kafka_vtype_t::RD_KAFKA_VTYPE_HEADER,
            NAME.as_ptr(),
            ptr::from_ref(b"value").cast::<c_char>(),
            5_usize,
            sys::rd_kafka_vtype_t::RD_KAFKA_VTYPE_MSGFLAGS,
            sys::RD_KAFKA_MSG_F_COPY,
            sys::rd_kafka_vtype_t::RD_KAFKA_VTYPE_END,
        )
    };
    assert_eq!(RDKafkaErrorCode::from(error), RDKafkaErrorCode::NoError);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_header_name_that_is_not_utf8_does_not_stop_the_worker() {
    let world = World::new().await;
    let worker = world.start(quick_settings()).await;
    let stores = world.stores.clone();
    let name = world.names.topic(topic::COMMUNICATION_EVENTS);
    let good = event_record(1).payload.unwrap();
    tokio::task::spawn_blocking(move || {
        let config = connect::kafka_config(&stores);
        let producer: BaseProducer = config.create_with_context(DefaultProducerContext).unwrap();
        let topic = std::ffi::CString::new(name).unwrap();
        produce_raw(&producer, &topic, &good);
        produce_raw(&producer, &topic, b"no json");
        producer.flush(DEADLINE).unwrap();
    })
    .await
    .unwrap();
    world.wait_for_rows(1).await;
    let summary = worker.stop().await;
    assert_eq!(summary.topics.values().map(|counts| counts.dead_lettered).sum::<u64>(), 1);
    let letters = world.dead_letters().await;
    let letter = letters.values().next().unwrap();
    assert_eq!(letter.payload(), Some(&b"no json"[..]));
    let original = letter.headers().unwrap().get(0);
    assert_eq!((original.key, original.value), ("n\u{fffd}me", Some(&b"value"[..])));
    assert_eq!(header(letter, "sluice.reason").as_deref(), Some("invalid_json"));
    world.drop_namespace().await;
}
