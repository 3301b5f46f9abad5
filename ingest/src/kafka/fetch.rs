//! How much a Kafka consumer holds of what it has fetched and not yet given to anybody.
//! Bytes and brokers go in, librdkafka's settings come out. Opens no connection.
//!
//! librdkafka counts only payloads in its queue: keys and headers are free there, and a record may consist of nothing else.
//! So the queue is bounded by what is fetched: the next fetch goes out when nothing is left of the last one. Each broker
//! has one fetch on its way, whose size is counted before it is decompressed. A batch that is larger than a fetch comes all
//! the same, alone.

use crate::fault::{Fault, is_injected};
use rdkafka::ClientConfig;

/// How many times as large records become when they are decompressed, where nobody means harm.
const EXPANSION: u64 = 16;
/// Smallest and largest fetch, in bytes.
const FETCH: std::ops::RangeInclusive<u64> = 16 << 10..=16 << 20;
/// Least room for an answer, whatever the topics hold; a zstd batch may be as large once it is decompressed.
const LEAST_ANSWER: u64 = 16 << 20;
/// What an answer has beside the records.
const FRAME: u64 = 64 << 10;

/// What a consumer reads from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Supply {
    /// Brokers that may lead one of its partitions.
    pub brokers: usize,
    /// Largest batch that one of its topics takes; `None` where Kafka did not say.
    pub largest_batch: Option<u64>,
}

/// Bounds what a consumer holds to about `bytes`.
pub fn bound(kafka: &mut ClientConfig, bytes: u64, supply: Supply) {
    let fetch = (bytes / EXPANSION / supply.brokers.max(1) as u64).clamp(*FETCH.start(), *FETCH.end());
    let own = kafka.get("receive.message.max.bytes").and_then(|own| own.parse().ok()).unwrap_or(0);
    // Without an answer from Kafka it is librdkafka's default, that no batch is left unread.
    let batch = supply.largest_batch.unwrap_or(100_000_000);
    let answer = LEAST_ANSWER.max(bytes).max(batch + FRAME).max(own).min(1 << 30);
    kafka
        .set("queued.min.messages", if is_injected(Fault::FetchFarAhead) { "20000" } else { "1" })
        .set("queued.max.messages.kbytes", (bytes / 1024).clamp(1024, 2_097_151).to_string())
        .set("fetch.max.bytes", fetch.to_string())
        .set("fetch.message.max.bytes", (fetch / 2).max(*FETCH.start()).to_string())
        // librdkafka takes no fetch that is smaller; a consumer sends nothing.
        .set("message.max.bytes", FETCH.start().to_string())
        .set("receive.message.max.bytes", answer.to_string())
        // A fetch that found the queue full is tried again soon; the default of a second starves a fast consumer.
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
        bound(&mut config, bytes, Supply { brokers, largest_batch });
        config.set("group.id", "g");
        config
    }

    #[test]
    fn fetches_of_all_brokers_stay_within_the_share() {
        for (bytes, brokers) in [(8 << 20, 1), (32 << 20, 3), (32 << 20, 12), (128 << 20, 30)] {
            let config = bounded(bytes, brokers, Some(1 << 20));
            assert!(number(&config, "fetch.max.bytes") * brokers as u64 * EXPANSION <= bytes, "{bytes} {brokers}");
            assert_eq!(number(&config, "queued.min.messages"), 1);
        }
    }

    #[test]
    fn librdkafka_takes_them_whatever_the_share() {
        for bytes in [0, 1 << 20, 8 << 20, 1 << 30, 1 << 34] {
            for batch in [None, Some(1 << 20), Some(200 << 20), Some(1 << 40)] {
                let config = bounded(bytes, 3, batch);
                let consumer = config.create::<rdkafka::consumer::BaseConsumer>();
                assert!(consumer.is_ok(), "{bytes} {batch:?} {:?}", consumer.err());
            }
        }
    }

    #[test]
    fn an_answer_has_room_for_the_largest_batch() {
        assert_eq!(number(&bounded(8 << 20, 1, Some(1 << 20)), "receive.message.max.bytes"), 16 << 20);
        assert_eq!(number(&bounded(8 << 20, 1, Some(40 << 20)), "receive.message.max.bytes"), (40 << 20) + FRAME);
        assert_eq!(number(&bounded(8 << 20, 1, None), "receive.message.max.bytes"), 100_000_000 + FRAME);
        let mut config = ClientConfig::new();
        config.set("receive.message.max.bytes", "50000000");
        bound(&mut config, 8 << 20, Supply { brokers: 1, largest_batch: Some(1) });
        assert_eq!(number(&config, "receive.message.max.bytes"), 50_000_000, "the operator's, where it is larger");
    }
}
