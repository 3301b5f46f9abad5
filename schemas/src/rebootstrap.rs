//! Keeps a long-lived Kafka client from losing its cluster permanently: if the client's statistics list no broker, it
//! gets its bootstrap servers again. It never opens a connection itself.
//!
//! A cluster that has fenced all its brokers at once (they stalled for longer than `broker.session.timeout.ms`, or the
//! controller has just changed) responds to a metadata request with topics and no broker. Since 2.10, librdkafka then
//! forgets every broker and sends no further request, and its own re-bootstrap does not start, since it did receive
//! metadata (confluentinc/librdkafka#5301). Consumers then wait for records, and commits for responses, indefinitely.
#![expect(unsafe_code, reason = "rdkafka has no safe call for rd_kafka_brokers_add")]

use std::ffi::CString;
use std::sync::atomic::{AtomicBool, Ordering};

use rdkafka::ClientConfig;
use rdkafka::bindings::rd_kafka_brokers_add;
use rdkafka::client::{Client, ClientContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::statistics::Statistics;

/// Whether a call failed because no broker responded.
pub fn is_unanswered(error: &KafkaError) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        error.rdkafka_error_code(),
        Some(
            Code::AllBrokersDown
                | Code::BrokerTransportFailure
                | Code::MessageTimedOut
                | Code::OperationTimedOut
                | Code::WaitingForCoordinator
        )
    )
}

/// The bootstrap servers of one client, and whether it has lost all its brokers.
#[derive(Debug)]
pub struct Rebootstrap {
    servers: CString,
    is_lost: AtomicBool,
}

impl Rebootstrap {
    /// The state of a client with this `config`, which must set `statistics.interval.ms` for [`Self::observe`].
    pub fn new(config: &ClientConfig) -> Self {
        let servers = config.get("bootstrap.servers").unwrap_or_default();
        // With a zero byte in the setting, the client itself could not be created.
        Self { servers: CString::new(servers).unwrap_or_default(), is_lost: AtomicBool::new(false) }
    }

    /// Records from the client's statistics whether it has any broker.
    pub fn observe(&self, statistics: &Statistics) {
        let is_broker = |source: &str| source == "learned" || source == "configured";
        let is_lost = !statistics.brokers.values().any(|broker| is_broker(&broker.source));
        self.is_lost.store(is_lost, Ordering::Relaxed);
    }

    /// Adds the bootstrap servers to the client if the last [`Self::observe`] found no broker; returns whether it did.
    pub fn add_servers_if_lost<C: ClientContext>(&self, client: &Client<C>) -> bool {
        let is_lost = self.is_lost.load(Ordering::Relaxed);
        if is_lost {
            self.is_lost.store(false, Ordering::Relaxed);
            self.add_servers(client);
        }
        is_lost
    }

    /// Adds the bootstrap servers to the client, which has no effect on one that still has them. librdkafka keeps every
    /// list that it receives, so call this only if the cluster does not respond.
    pub fn add_servers<C: ClientContext>(&self, client: &Client<C>) {
        // SAFETY: the client outlives the call, and the string is NUL-terminated; librdkafka copies it.
        unsafe { rd_kafka_brokers_add(client.native_ptr(), self.servers.as_ptr()) };
    }
}

#[cfg(test)]
mod tests {
    use rdkafka::statistics::Broker;

    use super::*;

    fn statistics(sources: &[&str]) -> Statistics {
        let broker =
            |source: &&str| Broker { source: (*source).to_owned(), state: "DOWN".to_owned(), ..Default::default() };
        let brokers = sources.iter().map(|source| ((*source).to_owned(), broker(source))).collect();
        Statistics { brokers, ..Default::default() }
    }

    #[test]
    fn only_a_client_without_brokers_is_lost() {
        let rebootstrap = Rebootstrap::new(&ClientConfig::new());
        let is_lost = |sources: &[&str]| {
            rebootstrap.observe(&statistics(sources));
            rebootstrap.is_lost.load(Ordering::Relaxed)
        };
        assert!(is_lost(&["internal", "logical"]));
        assert!(!is_lost(&["internal", "configured"]), "a broker that is not connected yet");
        assert!(!is_lost(&["logical", "learned"]), "a broker that is down");
    }
}
