//! The drive's Kafka producer: sends keyed JSON records and counts delivery reports per tenant and topic.
//! A record counts as produced only when the broker has acknowledged it. The producer never drops a record: when the
//! queue is full the caller keeps it, and a failed delivery is counted and fails the run.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::Message as _;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer as _, ProducerContext, ThreadedProducer};
use rdkafka::statistics::Statistics;
use sluice_schemas::concurrency::lock;
use sluice_schemas::connect;
use sluice_schemas::names::{Names, topic};
use sluice_schemas::rebootstrap::Rebootstrap;
use sluice_schemas::records::MAX_RECORD_BYTES;
use sluice_schemas::stores::Stores;

use crate::measure::Deliveries;

/// Timeout of the acknowledgement of one record.
const MESSAGE_TIMEOUT_MS: &str = "60000";
/// A record lingers this long to be batched: with 18 partitions, a shorter time makes batches of two or three records,
/// and the broker then uses half a core of the machine under test.
const LINGER_MS: &str = "50";
/// Interval of the client's statistics, which list the known brokers.
const STATISTICS_MS: &str = "2000";
/// Interval at which a flush checks that the client still has a broker.
const FLUSH_CHECK_INTERVAL: Duration = Duration::from_secs(2);
/// Limit of unacknowledged records, in KiB.
const IN_FLIGHT_KIB: &str = "65536";

/// A topic of the platform's producers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Topic {
    /// `communication-events`.
    Events,
    /// `agent-metrics`.
    Metrics,
    /// `customer-interactions`.
    Interactions,
}

impl Topic {
    /// Every topic.
    pub(super) const ALL: [Self; 3] = [Self::Events, Self::Metrics, Self::Interactions];

    /// The topic's name in the ADR.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Events => topic::COMMUNICATION_EVENTS,
            Self::Metrics => topic::AGENT_METRICS,
            Self::Interactions => topic::CUSTOMER_INTERACTIONS,
        }
    }
}

/// Where a record goes and when it was intended to start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Delivery {
    pub(super) topic: Topic,
    pub(super) tenant: usize,
    /// Since the start of the drive; `None` for a record of the warm-up, which is not judged.
    pub(super) at: Option<Duration>,
    /// Whether it is watched until it is visible in its store.
    pub(super) is_watched: bool,
}

/// A watched record whose delivery is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Watched {
    pub(super) tenant: usize,
    /// Intended start.
    pub(super) at: Duration,
    /// Partition and offset; `None` if the brokers did not acknowledge it.
    pub(super) place: Option<(i32, i64)>,
}

/// Counters per topic and tenant that fit into a [`Delivery`]'s tag.
const SLOT_BITS: u32 = 16;
/// The bit of a tag that is set for a watched record.
const WATCHED_BIT: u32 = usize::BITS - 1;

impl Delivery {
    /// Packs the slot of the counters and the intended start, in microseconds, into one word for librdkafka.
    fn tag(self) -> usize {
        slot(self.tenant, self.topic)
            | self.at.map_or(0, |at| at.as_micros() as usize + 1) << SLOT_BITS
            | usize::from(self.is_watched) << WATCHED_BIT
    }

    /// The slot, the intended start, and whether the record is watched.
    fn from_tag(tag: usize) -> (usize, Option<Duration>, bool) {
        let (is_watched, tag) = (tag >> WATCHED_BIT == 1, tag & !(1 << WATCHED_BIT));
        let at = (tag >> SLOT_BITS).checked_sub(1).map(|micros| Duration::from_micros(micros as u64));
        (tag & ((1 << SLOT_BITS) - 1), at, is_watched)
    }
}

/// Counts of delivery reports.
#[derive(Debug)]
struct DeliveryReports {
    rebootstrap: Rebootstrap,
    acknowledged: Vec<AtomicU64>,
    /// Records that were not acknowledged, those of the warm-up included.
    unacknowledged: AtomicU64,
    /// Records of the drive.
    deliveries: Mutex<Deliveries>,
    /// Start of the drive, once that is known.
    drive_start: OnceLock<Instant>,
    first_failure: OnceLock<String>,
    /// Watched records that were delivered since they were last taken; the plan bounds their number.
    watched: Mutex<Vec<Watched>>,
}

impl DeliveryReports {
    /// Keeps a watched record. One that was delivered twice has no known offset, and is no sample.
    fn watch(&self, slot: usize, at: Duration, result: &DeliveryResult<'_>) {
        let place = result.as_ref().ok().map(|message| (message.partition(), message.offset()));
        if place.is_none_or(|(_, offset)| offset >= 0) {
            lock(&self.watched).push(Watched { tenant: slot / Topic::ALL.len(), at, place });
        }
    }
}

impl ClientContext for DeliveryReports {
    fn stats(&self, statistics: Statistics) {
        self.rebootstrap.observe(&statistics);
    }
}

impl ProducerContext for DeliveryReports {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, tag: usize) {
        let (slot, at, is_watched) = Delivery::from_tag(tag);
        if let Some(at) = at.filter(|_| is_watched) {
            self.watch(slot, at, result);
        }
        match result {
            Ok(_) => {
                self.acknowledged[slot].fetch_add(1, Ordering::Relaxed);
                if let Some((at, start)) = at.zip(self.drive_start.get()) {
                    lock(&self.deliveries).record_answer(at, start.elapsed());
                }
            }
            Err((error, _)) => {
                self.unacknowledged.fetch_add(1, Ordering::Relaxed);
                if let Some(at) = at {
                    lock(&self.deliveries).record_failure(at);
                }
                self.first_failure.get_or_init(|| error.to_string());
            }
        }
    }
}

/// Why records were not produced.
#[derive(Debug, thiserror::Error)]
pub enum ProduceError {
    /// The client rejected its settings, or a record for a reason other than a full queue.
    #[error("produce to Kafka: {0}")]
    Kafka(#[from] KafkaError),
    /// Records were not acknowledged.
    #[error("produce to Kafka: {failed} records were not acknowledged; the first: {first}")]
    Unacknowledged {
        /// Number of records that were not acknowledged.
        failed: u64,
        /// Why the first one failed.
        first: String,
    },
}

/// An idempotent producer with acknowledgement by all replicas, lz4, and a bound on bytes in flight.
pub(super) struct Producer {
    inner: ThreadedProducer<DeliveryReports>,
    topics: [String; 3],
}

impl std::fmt::Debug for Producer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Producer").field("topics", &self.topics).finish_non_exhaustive()
    }
}

impl Producer {
    /// A producer that counts for `tenants` tenants over a drive of that length. Connects on demand.
    pub(super) fn new(stores: &Stores, names: &Names, tenants: usize, drive: Duration) -> Result<Self, ProduceError> {
        let mut config = connect::kafka_config(stores);
        let reports = DeliveryReports {
            rebootstrap: Rebootstrap::new(&config),
            acknowledged: (0..tenants * Topic::ALL.len()).map(|_| AtomicU64::new(0)).collect(),
            unacknowledged: AtomicU64::new(0),
            deliveries: Mutex::new(Deliveries::new(drive)),
            drive_start: OnceLock::new(),
            first_failure: OnceLock::new(),
            watched: Mutex::default(),
        };
        let inner = config
            .set("statistics.interval.ms", STATISTICS_MS)
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("compression.type", "lz4")
            .set("linger.ms", LINGER_MS)
            .set("message.timeout.ms", MESSAGE_TIMEOUT_MS)
            .set("queue.buffering.max.kbytes", IN_FLIGHT_KIB)
            .set("message.max.bytes", (2 * MAX_RECORD_BYTES).to_string())
            .create_with_context(reports)?;
        Ok(Self { inner, topics: Topic::ALL.map(|topic| names.topic(topic.name())) })
    }

    /// Says when the drive starts, so that acknowledgements are counted by their time in it.
    pub(super) fn starts(&self, drive: Instant) {
        self.reports().drive_start.get_or_init(|| drive);
    }

    /// Queues one record. `Ok(false)` means that the queue is full; retry when it has drained.
    pub(super) fn send(&self, delivery: Delivery, key: &str, payload: &[u8]) -> Result<bool, ProduceError> {
        self.reports().rebootstrap.add_servers_if_lost(self.inner.client());
        let topic = &self.topics[delivery.topic as usize];
        let record: BaseRecord<'_, str, [u8], usize> =
            BaseRecord::with_opaque_to(topic, delivery.tag()).key(key).payload(payload);
        match self.inner.send(record) {
            Ok(()) => Ok(true),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => Ok(false),
            Err((error, _)) => Err(error.into()),
        }
    }

    /// Waits until every record is acknowledged or has failed, for at most `timeout`. Blocks the thread.
    pub(super) fn flush(&self, timeout: Duration) -> Result<(), ProduceError> {
        let until = Instant::now() + timeout;
        loop {
            self.reports().rebootstrap.add_servers_if_lost(self.inner.client());
            let remaining = until.saturating_duration_since(Instant::now());
            match self.inner.flush(remaining.min(FLUSH_CHECK_INTERVAL)) {
                Err(KafkaError::Flush(RDKafkaErrorCode::OperationTimedOut)) if remaining > FLUSH_CHECK_INTERVAL => {}
                outcome => break outcome?,
            }
        }
        let reports = self.reports();
        let failed = reports.unacknowledged.load(Ordering::Relaxed);
        let first = reports.first_failure.get().cloned().unwrap_or_default();
        if failed == 0 { Ok(()) } else { Err(ProduceError::Unacknowledged { failed, first }) }
    }

    /// Number of a tenant's records that the brokers have acknowledged.
    pub(super) fn acknowledged(&self, tenant: usize, topic: Topic) -> u64 {
        self.reports().acknowledged[slot(tenant, topic)].load(Ordering::Relaxed)
    }

    /// What is known about the records of the drive.
    pub(super) fn deliveries(&self) -> Deliveries {
        lock(&self.reports().deliveries).clone()
    }

    /// The watched records whose deliveries have become known since the last call.
    pub(super) fn take_watched(&self) -> Vec<Watched> {
        std::mem::take(&mut lock(&self.reports().watched))
    }

    fn reports(&self) -> &DeliveryReports {
        self.inner.client().context()
    }
}

fn slot(tenant: usize, topic: Topic) -> usize {
    tenant * Topic::ALL.len() + topic as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_holds_every_tenant_and_a_week() {
        let at = Duration::from_hours(24 * 8);
        for (is_watched, at) in [(true, Some(at)), (false, Some(at)), (false, Some(Duration::ZERO)), (false, None)] {
            let delivery = Delivery { topic: Topic::Interactions, tenant: 999, at, is_watched };
            assert_eq!(Delivery::from_tag(delivery.tag()), (slot(999, Topic::Interactions), at, is_watched));
        }
    }
}
