//! Stage one's other half: partitions come and go.
//! librdkafka calls back inside `poll` when the group has decided. New partitions are assigned held, and where each of them
//! begins is asked elsewhere ([`crate::lane::monitor`]); writes and commits of partitions that go are waited for. Everything else
//! waits meanwhile, so nothing is ever waited for beyond its deadline.

use std::sync::PoisonError;
use std::time::{Duration, Instant};

use rdkafka::bindings::rd_kafka_resp_err_t as ResponseError;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext, RebalanceProtocol};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tracing::{info, warn};

use super::assignment::Assignment;
use super::consume::{ConsumeError, Context};
use crate::clock::Moment;
use crate::exactly_once::commit;
use crate::fault::{Failpoint, Fault, is_injected, reached};
use crate::kafka::watermarks;

/// How long a commit may go without an answer when its partition is taken away. librdkafka gives up sooner, unless it is
/// stuck; a commit that it sends later could carry the next generation of the group.
const COMMIT_ANSWER: Duration = Duration::from_mins(2);
/// How long a commit waits for its answer before the client is told where the cluster is: nothing polls the client
/// meanwhile, so it cannot say itself that it has lost it.
const COMMIT_PATIENCE: Duration = Duration::from_secs(5);

impl Context {
    /// Waits while `is_on_its_way`, for at most this long.
    fn wait_while(&self, patience: Duration, is_on_its_way: impl Fn(&Assignment) -> bool) {
        let deadline = Instant::now() + patience;
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        while is_on_its_way(&self.assignment()) && Instant::now() < deadline {
            let left = deadline.saturating_duration_since(Instant::now()).min(Duration::from_secs(1));
            match self.tools.runtime.block_on(async { tokio::time::timeout(left, events.recv()).await }) {
                Ok(Some(event)) => self.assignment().handle(event),
                Ok(None) => return,
                Err(_) => {}
            }
        }
    }

    /// Waits for the answers to commits; the worker has to end if one never comes.
    fn wait_for_commits(&self, consumer: &BaseConsumer<Self>, is_committing: impl Fn(&Assignment) -> bool) {
        let deadline = Instant::now() + COMMIT_ANSWER;
        self.tools.status.expect_wait(COMMIT_ANSWER);
        loop {
            self.wait_while(COMMIT_PATIENCE, &is_committing);
            if !is_committing(&self.assignment()) {
                return;
            }
            if Instant::now() >= deadline {
                break;
            }
            warn!("a commit has no answer; the client is told the bootstrap servers again, should it have lost them");
            self.rebootstrap.add_servers(consumer.client());
        }
        let error = ConsumeError::Unanswered(COMMIT_ANSWER);
        self.broken.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
    }

    /// Hands new partitions to the client, paused, and has it asked where each of them begins.
    fn assign(&self, consumer: &BaseConsumer<Self>, list: &mut TopicPartitionList) {
        let since = Moment::now();
        // It is sent to where the partition begins before it goes on. No logical offset: librdkafka would look it up, and
        // an answer that is late could move the partition once more.
        list.set_all_offsets(Offset::Offset(0)).expect("zero is in range");
        // A pause outlives an assignment inside librdkafka, so nothing is fetched between the two.
        watermarks::make_known(consumer.client(), list);
        let assigned = consumer.pause(list).and_then(|()| match consumer.rebalance_protocol() {
            RebalanceProtocol::Cooperative => consumer.incremental_assign(list),
            _ => consumer.assign(list),
        });
        if let Err(error) = assigned {
            warn!(%error, "assign failed; the group tries again");
            return;
        }
        for (topic, partition) in partitions_of(list) {
            self.assignment().assign(&topic, partition, since);
        }
        self.apply_flow(consumer);
        info!(partitions = list.count(), "partitions assigned");
        self.tools.status.assigned();
    }

    /// Stops intake, finishes what is being written, commits what is done, and lets go.
    fn revoke(&self, consumer: &BaseConsumer<Self>, list: &TopicPartitionList) {
        let partitions = partitions_of(list);
        for (topic, partition) in &partitions {
            self.assignment().abandon(topic, *partition);
        }
        let is_lost = consumer.assignment_lost();
        info!(
            partitions = partitions.len(),
            is_lost, "partitions are being taken away; what is on its way is waited for"
        );
        let any = |is: fn(&Assignment, &str, i32) -> bool| {
            let partitions = &partitions;
            move |assignment: &Assignment| partitions.iter().any(|(topic, partition)| is(assignment, topic, *partition))
        };
        reached(Failpoint::Revoking);
        let waits = !is_injected(Fault::SkipRevocationWait);
        if waits && !is_lost {
            self.tools.status.expect_wait(self.revoke_deadline);
            self.wait_while(self.revoke_deadline, any(Assignment::is_in_flight));
        }
        if waits {
            self.wait_for_commits(consumer, any(Assignment::is_committing));
        }
        let due = partitions.iter().filter_map(|(topic, partition)| {
            let due = self.assignment().end(topic, *partition)?;
            Some((topic.as_str(), *partition, due))
        });
        let offsets = commit::offsets(due);
        self.tools.status.revoked();
        info!(partitions = partitions.len(), is_lost, "partitions revoked");
        self.tools.status.expect_wait(COMMIT_ANSWER);
        if !is_lost
            && offsets.count() > 0
            && let Err(error) = consumer.commit(&offsets, CommitMode::Sync)
        {
            warn!(%error, "commit at revocation failed; the next owner finds those batches in the table");
        }
        let release_batches = match consumer.rebalance_protocol() {
            RebalanceProtocol::Cooperative => consumer.incremental_unassign(list),
            _ => consumer.unassign(),
        };
        if let Err(error) = release_batches {
            warn!(%error, "unassign failed; the group tries again");
        }
    }
}

fn partitions_of(list: &TopicPartitionList) -> Vec<(String, i32)> {
    list.elements().iter().map(|element| (element.topic().to_owned(), element.partition())).collect()
}

impl ConsumerContext for Context {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, what: ResponseError, list: &mut TopicPartitionList) {
        match what {
            ResponseError::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => self.assign(consumer, list),
            ResponseError::RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS => self.revoke(consumer, list),
            other => {
                warn!(error = %RDKafkaErrorCode::from(other), "rebalance failed; the group tries again");
                self.revoke(consumer, list);
            }
        }
    }
}
