//! Bounds the records that a Kafka consumer has fetched and not yet delivered. It opens no connection.
//!
//! librdkafka counts only payloads in its queue: keys and headers are not counted, and a record may consist of nothing
//! else. So the queue is bounded by the fetch size: the next fetch is sent once the previous one is consumed. Each
//! broker has one fetch in flight, whose size is counted before decompression. A batch larger than a fetch is still
//! delivered, alone.

use crate::fault::{Fault, is_injected};
use rdkafka::ClientConfig;

/// Factor by which records grow when decompressed, unless they are malicious.
const EXPANSION: u64 = 16;
/// Minimum and maximum size of a fetch, in bytes.
const FETCH_BYTES: std::ops::RangeInclusive<u64> = 16 << 10..=16 << 20;
/// Minimum space for a response, in bytes, whatever the topics contain; a zstd batch may be this large once
/// decompressed.
const MIN_RESPONSE: u64 = 16 << 20;
/// Bytes of a response in addition to the records.
const RESPONSE_OVERHEAD: u64 = 64 << 10;

/// The brokers and topics that a consumer fetches from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FetchSource {
    /// Number of brokers that may lead one of the partitions.
    pub brokers: usize,
    /// Maximum batch size that any of the topics accepts, in bytes; `None` if Kafka did not report it.
    pub largest_batch: Option<u64>,
}

/// Bounds the bytes that a consumer holds to about `bytes`.
pub fn bound(kafka: &mut ClientConfig, bytes: u64, source: FetchSource) {
    let fetch = (bytes / EXPANSION / source.brokers.max(1) as u64).clamp(*FETCH_BYTES.start(), *FETCH_BYTES.end());
    let configured = kafka.get("receive.message.max.bytes").and_then(|configured| configured.parse().ok()).unwrap_or(0);
    // If Kafka did not report the batch size, use librdkafka's default, so that no batch remains unread.
    let batch = source.largest_batch.unwrap_or(100_000_000);
    let max_response = MIN_RESPONSE.max(bytes).max(batch + RESPONSE_OVERHEAD).max(configured).min(1 << 30);
    kafka
        .set("queued.min.messages", if is_injected(Fault::FetchFarAhead) { "20000" } else { "1" })
        .set("queued.max.messages.kbytes", (bytes / 1024).clamp(1024, 2_097_151).to_string())
        .set("fetch.max.bytes", fetch.to_string())
        .set("fetch.message.max.bytes", (fetch / 2).max(*FETCH_BYTES.start()).to_string())
        // librdkafka accepts no fetch smaller than this; a consumer sends no messages.
        .set("message.max.bytes", FETCH_BYTES.start().to_string())
        .set("receive.message.max.bytes", max_response.to_string())
        // Retry soon after the queue was full; the default of one second starves a fast consumer.
        .set("fetch.queue.backoff.ms", "2");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(config: &ClientConfig, name: &str) -> u64 {
        config.get(name).unwrap().parse().unwrap()
    }

    fn bounded(bytes: u64, brokers: usize, largest_batch: Option<u64>) -> ClientConfig {
        let mut config = ClientConfig::new();
        bound(&mut config, bytes, FetchSource { brokers, largest_batch });
        config.set("group.id", "g");
        config
    }

    #[test]
    fn fetches_from_all_brokers_stay_within_the_share() {
        for (bytes, brokers) in [(8 << 20, 1), (32 << 20, 3), (32 << 20, 12), (128 << 20, 30)] {
            let config = bounded(bytes, brokers, Some(1 << 20));
            assert!(number(&config, "fetch.max.bytes") * brokers as u64 * EXPANSION <= bytes, "{bytes} {brokers}");
            assert_eq!(number(&config, "queued.min.messages"), 1);
        }
    }

    #[test]
    fn librdkafka_accepts_the_settings_for_any_share() {
        for bytes in [0, 1 << 20, 8 << 20, 1 << 30, 1 << 34] {
            for batch in [None, Some(1 << 20), Some(200 << 20), Some(1 << 40)] {
                let config = bounded(bytes, 3, batch);
                let consumer = config.create::<rdkafka::consumer::BaseConsumer>();
                assert!(consumer.is_ok(), "{bytes} {batch:?} {:?}", consumer.err());
            }
        }
    }

    #[test]
    fn a_response_has_room_for_the_largest_batch() {
        assert_eq!(number(&bounded(8 << 20, 1, Some(1 << 20)), "receive.message.max.bytes"), 16 << 20);
        assert_eq!(
            number(&bounded(8 << 20, 1, Some(40 << 20)), "receive.message.max.bytes"),
            (40 << 20) + RESPONSE_OVERHEAD
        );
        assert_eq!(number(&bounded(8 << 20, 1, None), "receive.message.max.bytes"), 100_000_000 + RESPONSE_OVERHEAD);
        let mut config = ClientConfig::new();
        config.set("receive.message.max.bytes", "50000000");
        bound(&mut config, 8 << 20, FetchSource { brokers: 1, largest_batch: Some(1) });
        assert_eq!(number(&config, "receive.message.max.bytes"), 50_000_000, "the operator's setting, if larger");
    }
}
