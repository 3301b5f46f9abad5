//! A partition's way from its assignment to its first record, and what Kafka says of its log from then on.
//! Assignments and answers of Kafka go in; questions to Kafka and to the table, stops and troubles come out. Nothing is waited
//! for here, and a partition without an answer is held by itself.

use std::sync::Arc;
use std::time::Instant;

use tracing::{info, warn};

use super::state::Assignment;
use crate::clock::{Moment, unix_now};
use crate::decode::Origin;
use crate::event::Assigned;
use crate::exactly_once::lease::Lease;
use crate::exactly_once::takeover::{self, Start};
use crate::kafka::offsets::PartitionOffsets;
use crate::kafka::watermarks::Watermarks;
use crate::lane::partition::{Fetching, Hold, Partition, SupplyState};

impl Assignment {
    /// A partition is ours from `since` on: a new epoch. It is held until Kafka and then its table have said where it
    /// begins.
    pub fn assign(&mut self, topic: &str, partition: i32, since: Moment) {
        let Some(pipeline) = self.pipeline(topic) else { return };
        self.epochs += 1;
        let owner = Assigned { pipeline, partition, epoch: self.epochs };
        let source = &self.sources[pipeline];
        let origin = Origin::new(&source.destination.target.topic, source.destination.target.topic_id, partition);
        let lease = Lease::new(since, self.tools.lease);
        let nowhere = Start { offset: 0, committed: None, intent: None, check_to: None };
        let mut state = Partition::new(owner, origin, lease, source.fingerprint, &self.tools.breaker, &nowhere);
        if self.is_draining {
            state.hold(Hold::Drain);
        }
        if self.pauses.has(pipeline, partition) {
            state.hold(Hold::Operator);
        }
        self.partitions.insert((pipeline, partition), state);
        self.tools.monitor.watch(topic, owner, source.destination.target.topic_id);
    }

    /// Kafka has said where a partition begins, or why it does not.
    pub(super) fn located(&mut self, owner: Assigned, found: Result<PartitionOffsets, String>) {
        let source = &self.sources[owner.pipeline];
        let (fingerprint, destination) = (source.fingerprint, Arc::clone(&source.destination));
        let (writer, topic, partition) =
            (Arc::clone(&self.tools.writer), Arc::clone(&destination.target.topic), owner.partition);
        let Some(state) = self.current(owner) else { return };
        let found = match found {
            Ok(found) => found,
            Err(why) => {
                let why =
                    format!("Kafka does not say where it begins: {why}; see to it that the partition has a leader");
                return self.report_supply(owner, Some(why));
            }
        };
        let start = match takeover::start(&found, unix_now()) {
            Ok(start) => start,
            Err(why) => {
                state.begin(fingerprint, &Start::stopped(&found), found.ends);
                self.report_supply(owner, None);
                return self.stopped(owner, &why);
            }
        };
        state.begin(fingerprint, &start, found.ends);
        if state.is_resealing() {
            info!(topic = &*topic, partition, "ranges that were announced before are taken over");
        }
        let cancel = state.cancel.clone();
        let ask = async move { writer.open_partition(owner, &destination.target, &start).await };
        self.tools.runtime.spawn(async move { cancel.run_until_cancelled(ask).await });
        self.report_supply(owner, None);
        self.report(owner);
    }

    /// Kafka has said where the log of a partition ends, or why it does not.
    pub(super) fn watermarks_known(&mut self, owner: Assigned, ends: Result<Watermarks, String>) {
        let is_polled = !self.waits_for_memory(Instant::now());
        let Some(state) = self.current(owner) else { return };
        let look = state.check_supply(ends, is_polled);
        let is_stopped = state.is_held(Hold::Stopped);
        match look {
            SupplyState::Flowing => self.report_supply(owner, None),
            SupplyState::Stalled(why) => self.report_supply(owner, Some(why)),
            SupplyState::GaveUp(_) if is_stopped => {}
            SupplyState::GaveUp(why) => {
                self.report_supply(owner, None);
                self.stopped(owner, &why);
            }
        }
        self.report(owner);
    }

    /// The client's statistics say how far it has fetched.
    pub fn update_fetch_state(&mut self, topic: &str, partition: i32, fetching: Fetching<'_>) {
        let Some(pipeline) = self.pipeline(topic) else { return };
        let Some(state) = self.partition_mut(topic, partition) else { return };
        let owner = state.owner;
        if state.update_fetch_state(fetching) {
            self.seal_passed_ranges((pipeline, partition), fetching.next);
            if let Some(state) = self.current(owner) {
                state.pass(fetching.next);
            }
        }
        self.report(owner);
    }

    /// Something is in the way of a partition's records, or no longer is. Said once.
    fn report_supply(&self, owner: Assigned, why: Option<String>) {
        let (topic, partition) = (&*self.sources[owner.pipeline].destination.target.topic, owner.partition);
        if self.tools.status.set_supply_trouble(topic, partition, why.clone()) {
            if let Some(why) = why {
                warn!(topic, partition, why, "no records come; they wait in Kafka");
            } else {
                info!(topic, partition, "records come again, or none are there");
            }
        }
    }

    /// How far a partition is behind.
    fn report(&self, owner: Assigned) {
        let Some(state) = self.partitions.get(&(owner.pipeline, owner.partition)) else { return };
        let topic = &*self.sources[owner.pipeline].destination.target.topic;
        if let (Some(lag), Some(held_back)) = (state.lag(), state.held_back()) {
            self.tools.metrics.lag(topic, owner.partition, lag, held_back);
        }
    }
}
