//! Opens a partition, from its assignment to its first record, and follows the ends of its log afterwards.
//! It starts the queries to Kafka and to the table, and handles the responses. It never blocks, and a query without a response
//! holds only its own partition.

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
    /// Begins a new epoch: the partition is assigned to this worker from `since` on. It is held until Kafka and then its table
    /// have returned where it begins.
    pub fn assign(&mut self, topic: &str, partition: i32, since: Moment) {
        let Some(pipeline) = self.pipeline(topic) else { return };
        self.epochs += 1;
        let owner = Assigned { pipeline, partition, epoch: self.epochs };
        let source = &self.sources[pipeline];
        let origin = Origin::new(&source.destination.target.topic, source.destination.target.topic_id, partition);
        let lease = Lease::new(since, self.tools.lease);
        let unknown = Start { offset: 0, committed: None, intent: None, check_to: None };
        let mut state = Partition::new(owner, origin, lease, source.fingerprint, &self.tools.breaker, &unknown);
        if self.is_draining {
            state.hold(Hold::Drain);
        }
        if self.pauses.is_paused(pipeline, partition) {
            state.hold(Hold::Operator);
        }
        self.partitions.insert((pipeline, partition), state);
        self.tools.monitor.watch(topic, owner, source.destination.target.topic_id);
    }

    /// Handles a partition's offsets as returned by Kafka, or the failure to get them.
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
                    format!("Kafka does not return its offsets: {why}; make sure that the partition has a leader");
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
            info!(topic = &*topic, partition, "taking over ranges announced by an earlier owner");
        }
        let cancel = state.cancel.clone();
        let open = async move { writer.open_partition(owner, &destination.target, &start).await };
        self.tools.runtime.spawn(async move { cancel.run_until_cancelled(open).await });
        self.report_supply(owner, None);
        self.report(owner);
    }

    /// Handles the ends of a partition's log as returned by Kafka, or the failure to get them.
    pub(super) fn watermarks_known(&mut self, owner: Assigned, ends: Result<Watermarks, String>) {
        let is_polled = !self.waits_for_memory(Instant::now());
        let Some(state) = self.current(owner) else { return };
        let supply = state.check_supply(ends, is_polled);
        let is_stopped = state.is_held(Hold::Stopped);
        match supply {
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

    /// Handles the client's statistics about a partition.
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

    /// Reports once that records of a partition have stopped arriving, or arrive again.
    fn report_supply(&self, owner: Assigned, why: Option<String>) {
        let (topic, partition) = (&*self.sources[owner.pipeline].destination.target.topic, owner.partition);
        if self.tools.status.set_supply_trouble(topic, partition, why.clone()) {
            if let Some(why) = why {
                warn!(topic, partition, why, "no records arrive; they wait in Kafka");
            } else {
                info!(topic, partition, "records arrive again, or none are left");
            }
        }
    }

    /// Exports the lag of a partition.
    fn report(&self, owner: Assigned) {
        let Some(state) = self.partitions.get(&(owner.pipeline, owner.partition)) else { return };
        let topic = &*self.sources[owner.pipeline].destination.target.topic;
        if let (Some(lag), Some(held_back)) = (state.lag(), state.held_back()) {
            self.tools.metrics.lag(topic, owner.partition, lag, held_back);
        }
    }
}
