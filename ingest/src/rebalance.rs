//! Stage one's other half: partitions come and go.
//! librdkafka calls back inside `poll` when the group has decided; where each new partition begins is asked for and opened
//! here, and writes and commits of partitions that go are waited for. Everything else waits meanwhile, so no other store is
//! ever waited for beyond the deadline of a revocation.

use std::collections::BTreeMap;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use rdkafka::bindings::rd_kafka_resp_err_t as ResponseError;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext, RebalanceProtocol};
use rdkafka::error::{KafkaResult, RDKafkaErrorCode};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use sluice_schemas::rebootstrap::is_unanswered;
use tracing::{info, warn};

use crate::assignment::Assignment;
use crate::clock::{Moment, unix_now};
use crate::consume::{ANSWER_WAIT, ConsumeError, Context, MADE_ANEW, commit_list};
use crate::failpoint::is_sabotaged;
use crate::partition::Start;
use crate::takeover::{self, Found, Opening};

/// How long a commit may go without an answer when its partition is taken away. librdkafka gives up sooner, unless it is
/// stuck; a commit that it sends later could carry the next generation of the group.
const COMMIT_ANSWER: Duration = Duration::from_mins(2);
/// How long a commit waits for its answer before the client is told where the cluster is: nothing polls the client
/// meanwhile, so it cannot say itself that it has lost it.
const COMMIT_PATIENCE: Duration = Duration::from_secs(5);
/// Least time between two questions about a partition that Kafka does not answer.
const ASK_AGAIN: Duration = Duration::from_secs(1);

impl Context {
    /// Waits while `is_on_its_way`, for at most this long.
    fn wait_while(&self, patience: Duration, is_on_its_way: impl Fn(&Assignment) -> bool) {
        let deadline = Instant::now() + patience;
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        while is_on_its_way(&self.assignment()) && Instant::now() < deadline {
            self.tools.status.turned();
            let left = deadline.saturating_duration_since(Instant::now()).min(Duration::from_secs(1));
            match self.tools.runtime.block_on(async { tokio::time::timeout(left, events.recv()).await }) {
                Ok(Some(event)) => self.assignment().happened(event),
                Ok(None) => return,
                Err(_) => {}
            }
        }
    }

    /// Waits for the answers to commits; the worker has to end if one never comes.
    fn wait_for_commits(&self, consumer: &BaseConsumer<Self>, is_committing: impl Fn(&Assignment) -> bool) {
        let deadline = Instant::now() + COMMIT_ANSWER;
        loop {
            self.wait_while(COMMIT_PATIENCE, &is_committing);
            if !is_committing(&self.assignment()) {
                return;
            }
            if Instant::now() >= deadline {
                break;
            }
            warn!("a commit has no answer; the client is told the bootstrap servers again, should it have lost them");
            self.rebootstrap.tell(consumer.client());
        }
        let error = ConsumeError::Unanswered(COMMIT_ANSWER);
        self.broken.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
    }

    /// Finds out where each partition begins, hands them to the client with that offset, and opens them.
    fn assign(&self, consumer: &BaseConsumer<Self>, list: &mut TopicPartitionList) {
        let since = Moment::now();
        let mut starts = BTreeMap::new();
        for (topic, partition) in partitions_of(list) {
            let Some(opening) = self.opening(consumer, &topic, partition) else { return };
            let (offset, mut start) = start(opening);
            let known = self.assignment().topic_id(&topic);
            if !self.tools.topic_ids.is_same(&topic, known) {
                start = Err(MADE_ANEW.to_owned());
            }
            list.set_partition_offset(&topic, partition, offset).expect("the partition is in the list it came from");
            starts.insert((topic, partition), start);
        }
        let assigned = match consumer.rebalance_protocol() {
            RebalanceProtocol::Cooperative => consumer.incremental_assign(list),
            _ => consumer.assign(list),
        };
        // A pause outlives an assignment inside librdkafka.
        if let Err(error) = assigned.and_then(|()| consumer.resume(list)) {
            warn!(%error, "assign failed; the group tries again");
            return;
        }
        for ((topic, partition), start) in starts {
            self.assignment().assign(&topic, partition, start, since);
        }
        self.apply_flow(consumer);
        info!(partitions = list.count(), "partitions assigned");
        self.tools.status.assigned();
    }

    /// Asks Kafka about a partition until it answers; `None` when the worker ends meanwhile.
    fn opening(&self, consumer: &BaseConsumer<Self>, topic: &str, partition: i32) -> Option<(Opening, Option<i64>)> {
        loop {
            self.tools.status.turned();
            match found(consumer, topic, partition) {
                Ok(found) => return Some((takeover::open(&found, unix_now()), found.committed)),
                Err(_) if self.is_ending() => return None,
                Err(error) => {
                    warn!(%error, topic, partition, "Kafka does not say where a partition stands; asking again");
                    if is_unanswered(&error) {
                        self.rebootstrap.tell(consumer.client());
                    }
                    self.tools.runtime.block_on(tokio::time::sleep(ASK_AGAIN));
                }
            }
        }
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
        failpoint!("revoking");
        let waits = !is_sabotaged("revocation");
        if waits && !is_lost {
            self.wait_while(self.revoke_deadline, any(Assignment::is_in_flight));
        }
        if waits {
            self.wait_for_commits(consumer, any(Assignment::is_committing));
        }
        let due = partitions.iter().filter_map(|(topic, partition)| {
            let due = self.assignment().end(topic, *partition)?;
            Some((topic.as_str(), *partition, due))
        });
        let commit = commit_list(due);
        self.tools.status.revoked();
        info!(partitions = partitions.len(), is_lost, "partitions revoked");
        if !is_lost
            && commit.count() > 0
            && let Err(error) = consumer.commit(&commit, CommitMode::Sync)
        {
            warn!(%error, "commit at revocation failed; the next owner finds those batches in the table");
        }
        let let_go = match consumer.rebalance_protocol() {
            RebalanceProtocol::Cooperative => consumer.incremental_unassign(list),
            _ => consumer.unassign(),
        };
        if let Err(error) = let_go {
            warn!(%error, "unassign failed; the group tries again");
        }
    }
}

/// What Kafka says about a partition of ours.
fn found(consumer: &BaseConsumer<Context>, topic: &str, partition: i32) -> KafkaResult<Found> {
    let mut list = TopicPartitionList::with_capacity(1);
    list.add_partition(topic, partition);
    let answer = consumer.committed_offsets(list, ANSWER_WAIT)?;
    let (low, high) = consumer.fetch_watermarks(topic, partition, ANSWER_WAIT)?;
    let elements = answer.elements();
    let committed = elements.first().and_then(|element| match element.offset() {
        Offset::Offset(offset) => Some(offset),
        _ => None,
    });
    let metadata = elements.first().map(|element| element.metadata().to_owned()).unwrap_or_default();
    Ok(Found { committed, metadata, low, high })
}

/// Where the client begins, and where the partition does.
fn start((opening, committed): (Opening, Option<i64>)) -> (Offset, Result<Start, String>) {
    match opening {
        Opening::Ask { offset, intent, check_to } => {
            (Offset::Offset(offset), Ok(Start { offset, committed, intent, check_to }))
        }
        Opening::Stop(why) => (Offset::End, Err(why)),
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
