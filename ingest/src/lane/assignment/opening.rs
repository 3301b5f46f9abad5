//! Opens a partition, from its assignment to its first record, and follows the ends of its log afterwards.
//! It starts the queries to Kafka and to the table, and handles the responses. It never blocks, and a query without a response
//! holds only its own partition.

use std::sync::Arc;
use std::time::Instant;

use tracing::{info, warn};

use super::state::Assignment;
use crate::clock::{Moment, unix_now};
use crate::decode::Origin;
use crate::event::AssignmentId;
use crate::exactly_once::lease::Lease;
use crate::exactly_once::takeover::{self, Start};
use crate::kafka::offsets::PartitionOffsets;
use crate::kafka::watermarks::Watermarks;
use crate::lane::partition::{FetchState, FetchStats, Hold, Partition};

impl Assignment {
    /// Begins a new epoch: the partition is assigned to this worker as of `since`. Intake is paused until Kafka and then the
    /// table have returned where it begins.
    pub fn assign(&mut self, topic: &str, partition: i32, since: Moment) {
        let Some(pipeline) = self.pipeline(topic) else { return };
        self.epochs += 1;
        let assignment = AssignmentId { pipeline, partition, epoch: self.epochs };
        let ready = &self.pipelines[pipeline];
        let origin = Origin::new(&ready.destination.target.topic, ready.destination.target.topic_id, partition);
        let lease = Lease::new(since, self.services.lease);
        let unknown = Start { offset: 0, committed: None, intent: None, lookup_through: None };
        let mut state = Partition::new(assignment, origin, lease, ready.fingerprint, &self.services.breaker, &unknown);
        if self.is_draining {
            state.hold(Hold::Drain);
        }
        if self.pauses.is_paused(pipeline, partition) {
            state.hold(Hold::Operator);
        }
        self.partitions.insert((pipeline, partition), state);
        self.services.monitor.watch(topic, assignment, ready.destination.target.topic_id);
    }

    /// Handles a partition's offsets as returned by Kafka, or the failure to get them.
    pub(super) fn handle_offsets(&mut self, assignment: AssignmentId, offsets: Result<PartitionOffsets, String>) {
        let ready = &self.pipelines[assignment.pipeline];
        let (fingerprint, destination) = (ready.fingerprint, Arc::clone(&ready.destination));
        let (writer, topic, partition) =
            (Arc::clone(&self.services.writer), Arc::clone(&destination.target.topic), assignment.partition);
        let Some(state) = self.current(assignment) else { return };
        let offsets = match offsets {
            Ok(offsets) => offsets,
            Err(why) => {
                let why =
                    format!("Kafka does not return its offsets: {why}; make sure that the partition has a leader");
                return self.report_fetch(assignment, Some(why));
            }
        };
        let start = match takeover::start(&offsets, unix_now()) {
            Ok(start) => start,
            Err(why) => {
                state.begin(fingerprint, &Start::stopped(&offsets), offsets.bounds);
                self.report_fetch(assignment, None);
                return self.stop_partition(assignment, &why);
            }
        };
        state.begin(fingerprint, &start, offsets.bounds);
        if state.is_resealing() {
            info!(topic = &*topic, partition, "taking over ranges announced by an earlier owner");
        }
        let cancel = state.cancel.clone();
        let open = async move { writer.open_partition(assignment, &destination.target, &start).await };
        self.services.runtime.spawn(async move { cancel.run_until_cancelled(open).await });
        self.report_fetch(assignment, None);
        self.export_lag(assignment);
    }

    /// Handles the ends of a partition's log as returned by Kafka, or the failure to get them.
    pub(super) fn handle_watermarks(&mut self, assignment: AssignmentId, ends: Result<Watermarks, String>) {
        let is_polled = !self.waits_for_memory(Instant::now());
        let Some(state) = self.current(assignment) else { return };
        let fetch = state.check_fetch(ends, is_polled);
        let is_stopped = state.is_held(Hold::Stopped);
        match fetch {
            FetchState::Normal => self.report_fetch(assignment, None),
            FetchState::Stalled(why) => self.report_fetch(assignment, Some(why)),
            FetchState::GaveUp(_) if is_stopped => {}
            FetchState::GaveUp(why) => {
                self.report_fetch(assignment, None);
                self.stop_partition(assignment, &why);
            }
        }
        self.export_lag(assignment);
    }

    /// Handles the client's statistics about a partition.
    pub fn update_fetch_stats(&mut self, topic: &str, number: i32, stats: FetchStats<'_>) {
        let Some(pipeline) = self.pipeline(topic) else { return };
        let Some(partition) = self.partition_mut(topic, number) else { return };
        let assignment = partition.assignment;
        if partition.update_fetch_stats(stats) {
            self.seal_passed_ranges((pipeline, number), stats.next);
            if let Some(partition) = self.current(assignment) {
                partition.advance_past_gap(stats.next);
            }
        }
        self.export_lag(assignment);
    }

    /// Logs once that records of a partition have stopped arriving, or that they arrive again.
    fn report_fetch(&self, assignment: AssignmentId, why: Option<String>) {
        let (topic, partition) = (&*self.pipelines[assignment.pipeline].destination.target.topic, assignment.partition);
        if self.services.status.set_fetch_trouble(topic, partition, why.clone()) {
            if let Some(why) = why {
                warn!(topic, partition, why, "no records arrive; they wait in Kafka");
            } else {
                info!(topic, partition, "records arrive again, or none remain");
            }
        }
    }

    /// Exports the lag of a partition.
    fn export_lag(&self, assignment: AssignmentId) {
        let Some(state) = self.partitions.get(&(assignment.pipeline, assignment.partition)) else { return };
        let topic = &*self.pipelines[assignment.pipeline].destination.target.topic;
        if let (Some(lag), Some(held_back)) = (state.lag(), state.held_back()) {
            self.services.metrics.set_lag(topic, assignment.partition, lag, held_back);
        }
    }
}
