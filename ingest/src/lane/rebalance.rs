//! Rebalances: partitions are assigned and revoked.
//! librdkafka calls back inside `poll`. New partitions are assigned paused while [`crate::lane::monitor`] queries their
//! offsets; writes and commits of revoked partitions are awaited. The consume thread is blocked until then, so every wait has
//! a deadline. It never decides which offset to commit; the assignment does.

use std::sync::PoisonError;
use std::time::{Duration, Instant};

use rdkafka::bindings::rd_kafka_resp_err_t as ResponseError;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, RebalanceProtocol};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tracing::{info, warn};

use super::assignment::Assignment;
use super::consume::{ConsumeError, Context};
use crate::clock::Moment;
use crate::exactly_once::commit::{self, FinalCommit};
use crate::fault::{Failpoint, Fault, is_injected, reached};
use crate::kafka::watermarks;

/// Maximum wait for the response to a commit when its partition is revoked. librdkafka gives up sooner, unless it is stuck; a
/// commit that it sends later could carry the next generation of the group.
const COMMIT_TIMEOUT: Duration = Duration::from_mins(2);
/// Wait for a commit before the bootstrap servers are added to the client again: the client is not polled during the wait, so
/// it cannot report that it has lost the cluster.
const REBOOTSTRAP_AFTER: Duration = Duration::from_secs(5);

impl Context {
    /// Handles events while `is_in_flight`, for at most `timeout`.
    fn wait_while(&self, timeout: Duration, is_in_flight: impl Fn(&Assignment) -> bool) {
        let deadline = Instant::now() + timeout;
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        while is_in_flight(&self.assignment()) && Instant::now() < deadline {
            let remaining = deadline.saturating_duration_since(Instant::now()).min(Duration::from_secs(1));
            match self.services.runtime.block_on(async { tokio::time::timeout(remaining, events.recv()).await }) {
                Ok(Some(event)) => self.assignment().handle(event),
                Ok(None) => return,
                Err(_) => {}
            }
        }
    }

    /// Waits for commits in flight; the worker has to end if one gets no response.
    fn wait_for_commits(&self, consumer: &BaseConsumer<Self>, is_committing: impl Fn(&Assignment) -> bool) {
        let deadline = Instant::now() + COMMIT_TIMEOUT;
        self.services.status.expect_wait(COMMIT_TIMEOUT);
        loop {
            self.wait_while(REBOOTSTRAP_AFTER, &is_committing);
            if !is_committing(&self.assignment()) {
                return;
            }
            if Instant::now() >= deadline {
                break;
            }
            warn!("a commit is unanswered; adding the bootstrap servers again in case the client has lost the cluster");
            self.rebootstrap.add_servers(consumer.client());
        }
        let error = ConsumeError::Unanswered(COMMIT_TIMEOUT);
        self.fatal.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
    }

    /// Assigns new partitions to the client, paused, and starts to open them.
    fn assign(&self, consumer: &BaseConsumer<Self>, list: &mut TopicPartitionList) {
        let since = Moment::now();
        // The partition is moved to its first offset before it resumes. No logical offset: librdkafka would look it up, and a
        // late response could move the partition again.
        list.set_all_offsets(Offset::Offset(0)).expect("zero is in range");
        // In librdkafka a pause survives an assignment, so nothing is fetched between the two.
        watermarks::register_partitions(consumer.client(), list);
        let assigned = consumer.pause(list).and_then(|()| match consumer.rebalance_protocol() {
            RebalanceProtocol::Cooperative => consumer.incremental_assign(list),
            _ => consumer.assign(list),
        });
        if let Err(error) = assigned {
            warn!(%error, "assign failed; the group will retry");
            return;
        }
        for (topic, partition) in partitions_of(list) {
            self.assignment().assign(&topic, partition, since);
        }
        self.apply_flow(consumer);
        info!(partitions = list.count(), "partitions assigned");
        self.services.status.mark_assigned();
    }

    /// Stops intake, waits for writes and commits in flight, commits the final offsets, and releases the partitions.
    fn revoke(&self, consumer: &BaseConsumer<Self>, list: &TopicPartitionList) {
        let partitions = partitions_of(list);
        for (topic, partition) in &partitions {
            self.assignment().begin_revocation(topic, *partition);
        }
        let is_lost = consumer.assignment_lost();
        info!(
            partitions = partitions.len(),
            is_lost, "partitions are being revoked; waiting for writes and commits in flight"
        );
        let any = |test: fn(&Assignment, &str, i32) -> bool| {
            let partitions = &partitions;
            move |assignment: &Assignment| {
                partitions.iter().any(|(topic, partition)| test(assignment, topic, *partition))
            }
        };
        reached(Failpoint::Revoking);
        let must_wait = !is_injected(Fault::SkipRevocationWait);
        if must_wait && !is_lost {
            self.services.status.expect_wait(self.revoke_deadline);
            self.wait_while(self.revoke_deadline, any(Assignment::is_in_flight));
        }
        if must_wait {
            self.wait_for_commits(consumer, any(Assignment::is_committing));
        }
        let mut commits = Vec::new();
        for (topic, partition) in &partitions {
            let mut assignment = self.assignment();
            if let Some(due) = assignment.end(topic, *partition) {
                let topic_id = assignment.topic_id(topic);
                commits.push(FinalCommit { topic, topic_id, partition: *partition, due });
            }
        }
        self.services.status.mark_revoked();
        info!(partitions = partitions.len(), is_lost, "partitions revoked");
        self.services.status.expect_wait(commit::FINAL_CHECK_TIMEOUT + COMMIT_TIMEOUT);
        if !is_lost {
            commit::commit_final(consumer, &self.services.topic_ids, commits);
        }
        let unassigned = match consumer.rebalance_protocol() {
            RebalanceProtocol::Cooperative => consumer.incremental_unassign(list),
            _ => consumer.unassign(),
        };
        if let Err(error) = unassigned {
            warn!(%error, "unassign failed; the group will retry");
        }
    }
}

fn partitions_of(list: &TopicPartitionList) -> Vec<(String, i32)> {
    list.elements().iter().map(|element| (element.topic().to_owned(), element.partition())).collect()
}

impl ConsumerContext for Context {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, code: ResponseError, list: &mut TopicPartitionList) {
        match code {
            ResponseError::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => self.assign(consumer, list),
            ResponseError::RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS => self.revoke(consumer, list),
            other => {
                warn!(error = %RDKafkaErrorCode::from(other), "rebalance failed; the group will retry");
                self.revoke(consumer, list);
            }
        }
    }
}
