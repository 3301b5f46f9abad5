//! Reads the bounds of many partitions' logs in one request: first offset, last stable offset and high watermark of
//! each partition, or its error. The safe crate queries one partition at a time and waits for each, so this module uses
//! `rdkafka-sys`. It also registers partitions with the client before their assignment. It never retries a request, and commits no offset.
#![expect(unsafe_code, reason = "rdkafka has no safe call for ListOffsets; every pointer here is checked and freed")]

use std::collections::BTreeMap;
use std::ffi::{CStr, CString};
use std::time::Duration;

use rdkafka::bindings as sys;
use rdkafka::bindings::rd_kafka_IsolationLevel_t as Isolation;
use rdkafka::client::{Client, ClientContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

/// A partition of a topic.
pub type TopicPartition = (String, i32);

/// The bounds of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Watermarks {
    /// The first offset of the log.
    pub low: i64,
    /// The last stable offset: one past the last offset readable by consumers that skip open transactions.
    pub stable: i64,
    /// The high watermark: one past the last offset of the log.
    pub high: i64,
}

/// Reads the bounds of `partitions`, which must be distinct. A partition without a leader fails alone.
pub fn read<C: ClientContext>(
    client: &Client<C>,
    partitions: &[TopicPartition],
    timeout: Duration,
) -> BTreeMap<TopicPartition, Result<Watermarks, KafkaError>> {
    let list = |position, isolation| list_offsets(client, partitions, position, isolation, timeout);
    // All three only increase. If they are read in this order, the start is never above an end, and an open transaction
    // has held back the offsets between the two ends at some time.
    let low = list(Offset::Beginning, Isolation::RD_KAFKA_ISOLATION_LEVEL_READ_UNCOMMITTED);
    let high = list(Offset::End, Isolation::RD_KAFKA_ISOLATION_LEVEL_READ_UNCOMMITTED);
    let stable = list(Offset::End, Isolation::RD_KAFKA_ISOLATION_LEVEL_READ_COMMITTED);
    let offset_of = |offsets: &OffsetsResult, at: &TopicPartition| match offsets {
        Ok(offsets) => offsets.get(at).copied().unwrap_or(Err(RDKafkaErrorCode::UnknownPartition)),
        Err(code) => Err(*code),
    };
    let bounds = |at: &TopicPartition| {
        let (low, high, stable) = (offset_of(&low, at)?, offset_of(&high, at)?, offset_of(&stable, at)?);
        Ok(Watermarks { low, stable, high: high.max(stable) })
    };
    partitions.iter().map(|at| (at.clone(), bounds(at).map_err(KafkaError::OffsetFetch))).collect()
}

type OffsetsResult = Result<BTreeMap<TopicPartition, Result<i64, RDKafkaErrorCode>>, RDKafkaErrorCode>;

/// An event of librdkafka, freed on drop.
struct Event(*mut sys::rd_kafka_event_t);

impl Drop for Event {
    fn drop(&mut self) {
        // SAFETY: the pointer came from `rd_kafka_queue_poll`, is not null and is destroyed once, here.
        unsafe { sys::rd_kafka_event_destroy(self.0) }
    }
}

fn list_offsets<C: ClientContext>(
    client: &Client<C>,
    partitions: &[TopicPartition],
    position: Offset,
    isolation: Isolation,
    timeout: Duration,
) -> OffsetsResult {
    let mut list = TopicPartitionList::with_capacity(partitions.len());
    for (topic, partition) in partitions {
        // ListOffsets expects the requested position in the offset field.
        list.add_partition_offset(topic, *partition, position).map_err(|_| RDKafkaErrorCode::InvalidArgument)?;
    }
    let millis = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
    // SAFETY: client and list live for the whole call, and librdkafka copies the list. Queue and options are created
    // here and destroyed once, after the request, which does not keep the options; librdkafka drops a response that
    // arrives after the queue is destroyed.
    let event = unsafe {
        let handle = client.native_ptr();
        let queue = sys::rd_kafka_queue_new(handle);
        let options = sys::rd_kafka_AdminOptions_new(handle, sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_LISTOFFSETS);
        sys::rd_kafka_AdminOptions_set_request_timeout(options, millis, std::ptr::null_mut(), 0);
        let error = sys::rd_kafka_AdminOptions_set_isolation_level(options, isolation);
        if !error.is_null() {
            sys::rd_kafka_error_destroy(error);
        }
        sys::rd_kafka_ListOffsets(handle, list.ptr(), options, queue);
        let event = sys::rd_kafka_queue_poll(queue, millis);
        sys::rd_kafka_AdminOptions_destroy(options);
        sys::rd_kafka_queue_destroy(queue);
        event
    };
    if event.is_null() { Err(RDKafkaErrorCode::OperationTimedOut) } else { Event(event).offsets() }
}

impl Event {
    fn offsets(&self) -> OffsetsResult {
        let mut offsets = BTreeMap::new();
        // SAFETY: the event lives as long as `self`; everything read from it belongs to it and is copied before this
        // function returns. Null is checked wherever librdkafka may return it.
        unsafe {
            let error = sys::rd_kafka_event_error(self.0);
            if error != sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
                return Err(error.into());
            }
            let result = sys::rd_kafka_event_ListOffsets_result(self.0);
            if result.is_null() {
                return Err(RDKafkaErrorCode::BadMessage);
            }
            let mut count = 0;
            let infos = sys::rd_kafka_ListOffsets_result_infos(result, &raw mut count);
            for index in 0..count {
                let entry = &*sys::rd_kafka_ListOffsetsResultInfo_topic_partition(*infos.add(index));
                let topic = CStr::from_ptr(entry.topic).to_string_lossy().into_owned();
                let is_valid = entry.err == sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR && entry.offset >= 0;
                let offset = if is_valid { Ok(entry.offset) } else { Err(entry.err.into()) };
                offsets.insert((topic, entry.partition), offset);
            }
        }
        Ok(offsets)
    }
}

/// Registers partitions with the client before they are assigned to it, so that they can be paused before the first
/// fetch.
pub fn register_partitions<C: ClientContext>(client: &Client<C>, list: &TopicPartitionList) {
    let (mut low, mut high) = (0, 0);
    for element in list.elements() {
        let Ok(topic) = CString::new(element.topic()) else { continue };
        // SAFETY: the client and the string live for the whole call; low and high are written before it returns. The
        // call sends no request: it looks the partition up, adding it to those that the client has, and copies two
        // numbers.
        unsafe {
            sys::rd_kafka_get_watermark_offsets(
                client.native_ptr(),
                topic.as_ptr(),
                element.partition(),
                &raw mut low,
                &raw mut high,
            );
        }
    }
}
