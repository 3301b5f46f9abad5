//! Keeps a long-lived Kafka client from losing its cluster for good.
//! In: what the client's statistics say about the brokers it knows. Out: the bootstrap servers, told to it once more. Never
//! opens a connection itself, and never says anything about a client that knows a broker, up or down.
//!
//! A cluster that has fenced all its brokers at one moment (they stood still for longer than
//! `broker.session.timeout.ms`, or a controller has just changed) answers a metadata request with topics and no broker.
//! librdkafka, since 2.10, takes that at its word: it forgets every broker, asks nobody any more, and its own
//! re-bootstrap does not begin, since metadata did come (confluentinc/librdkafka#5301). Consumers then wait for ever for
//! records and commits for answers.
#![expect(unsafe_code, reason = "rdkafka has no safe call for rd_kafka_brokers_add")]

use std::ffi::CString;
use std::sync::atomic::{AtomicBool, Ordering};

use rdkafka::ClientConfig;
use rdkafka::bindings::rd_kafka_brokers_add;
use rdkafka::client::{Client, ClientContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::statistics::Statistics;

/// Whether a call failed because nobody answered it.
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

/// The bootstrap servers of one client, and whether it has lost sight of the cluster.
#[derive(Debug)]
pub struct Rebootstrap {
    servers: CString,
    is_lost: AtomicBool,
}

impl Rebootstrap {
    /// For the client that is made with `config`, which has to set `statistics.interval.ms` for [`Self::look`].
    pub fn of(config: &ClientConfig) -> Self {
        let servers = config.get("bootstrap.servers").unwrap_or_default();
        // A zero byte would have kept the client from being made.
        Self { servers: CString::new(servers).unwrap_or_default(), is_lost: AtomicBool::new(false) }
    }

    /// Takes in what the client says about itself.
    pub fn look(&self, statistics: &Statistics) {
        let is_known = |source: &str| source == "learned" || source == "configured";
        let is_lost = !statistics.brokers.values().any(|broker| is_known(&broker.source));
        self.is_lost.store(is_lost, Ordering::Relaxed);
    }

    /// Tells the client its bootstrap servers again if the last [`Self::look`] saw no broker; whether it did.
    pub fn tell_if_lost<C: ClientContext>(&self, client: &Client<C>) -> bool {
        let is_lost = self.is_lost.load(Ordering::Relaxed);
        if is_lost {
            self.is_lost.store(false, Ordering::Relaxed);
            self.tell(client);
        }
        is_lost
    }

    /// Tells the client its bootstrap servers again. One that knows them already is not changed by it; librdkafka keeps
    /// every list it is told, so this is for moments when the cluster does not answer.
    pub fn tell<C: ClientContext>(&self, client: &Client<C>) {
        // SAFETY: the client lives for the whole call, and the string ends with a zero byte; librdkafka copies it.
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
    fn only_a_client_that_knows_no_broker_is_lost() {
        let rebootstrap = Rebootstrap::of(&ClientConfig::new());
        let is_lost = |sources: &[&str]| {
            rebootstrap.look(&statistics(sources));
            rebootstrap.is_lost.load(Ordering::Relaxed)
        };
        assert!(is_lost(&["internal", "logical"]));
        assert!(!is_lost(&["internal", "configured"]), "one that has yet to connect");
        assert!(!is_lost(&["logical", "learned"]), "one that is down");
    }
}
