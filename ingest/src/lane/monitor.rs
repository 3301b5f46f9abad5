//! Queries Kafka about the assigned partitions, on a separate thread with a separate client.
//! The consume thread registers its partitions; the offsets of each, and from then on the ends of its log, arrive as
//! [`Event`]s. A few requests cover all partitions, and one without a response (it has no leader) delays no other. The consume
//! thread never waits for the monitor, and the monitor decides nothing.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer, DefaultConsumerContext};
use rdkafka::error::KafkaError;
use sluice_schemas::rebootstrap::{Rebootstrap, is_unanswered};
use tokio::sync::mpsc;
use uuid::Uuid;

use crate::event::{AssignmentId, Event};
use crate::fault::{Fault, is_injected};
use crate::kafka::offsets;
use crate::kafka::offsets::PartitionOffsets;
use crate::kafka::topic_id::{RECREATED, TopicIds, TopicState};
use crate::kafka::watermarks;
use crate::kafka::watermarks::{TopicPartition, Watermarks};

/// Timeout of one request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// Time between two queries for the offsets of partitions, while any is missing.
const LOCATE_INTERVAL: Duration = Duration::from_secs(1);
/// Time between two queries for the ends of logs.
const WATERMARK_INTERVAL: Duration = Duration::from_secs(5);

/// A registered partition.
#[derive(Debug, Clone, Copy)]
struct Watched {
    assignment: AssignmentId,
    /// ID of the topic, as stored in the rows.
    topic_id: Uuid,
    /// Whether the offsets of the partition are known.
    is_located: bool,
}

#[derive(Debug, Default)]
struct List {
    watched: BTreeMap<TopicPartition, Watched>,
    /// Whether a partition was added since the last round.
    has_new: bool,
    is_closed: bool,
}

#[derive(Debug, Default)]
struct Shared {
    list: Mutex<List>,
    changed: Condvar,
}

impl Shared {
    fn list(&self) -> MutexGuard<'_, List> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Handle of the monitor thread, which ends when the handle is dropped.
#[derive(Debug)]
pub struct Monitor(Arc<Shared>);

impl Drop for Monitor {
    fn drop(&mut self) {
        self.0.list().is_closed = true;
        self.0.changed.notify_all();
    }
}

impl Monitor {
    /// Starts the monitor thread. `kafka` configures a client with the workers' group ID, which never joins the group.
    pub fn start(kafka: &ClientConfig, topic_ids: Arc<TopicIds>, events: mpsc::Sender<Event>) -> Result<Self, Error> {
        let shared = Arc::new(Shared::default());
        let rebootstrap = Rebootstrap::new(kafka);
        let thread =
            MonitorThread { shared: Arc::clone(&shared), client: kafka.create()?, rebootstrap, topic_ids, events };
        std::thread::Builder::new().name("monitor".to_owned()).spawn(move || thread.run())?;
        Ok(Self(shared))
    }

    /// Registers an assigned partition; its offsets are queried at once.
    pub fn watch(&self, topic: &str, assignment: AssignmentId, topic_id: Uuid) {
        let mut list = self.0.list();
        list.watched
            .insert((topic.to_owned(), assignment.partition), Watched { assignment, topic_id, is_located: false });
        list.has_new = true;
        self.0.changed.notify_all();
    }

    /// Removes a revoked partition.
    pub fn forget(&self, topic: &str, partition: i32) {
        self.0.list().watched.remove(&(topic.to_owned(), partition));
    }
}

/// Why the monitor cannot start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The client cannot be created.
    #[error(transparent)]
    Kafka(#[from] KafkaError),
    /// The thread cannot be started.
    #[error("start the partition monitor: {0}")]
    Thread(#[from] std::io::Error),
}

struct MonitorThread {
    shared: Arc<Shared>,
    client: BaseConsumer<DefaultConsumerContext>,
    rebootstrap: Rebootstrap,
    topic_ids: Arc<TopicIds>,
    events: mpsc::Sender<Event>,
}

impl MonitorThread {
    fn run(self) {
        let (mut next_query, mut failed) = (Instant::now() + WATERMARK_INTERVAL, Vec::new());
        while let Some(watched) = self.next_round(next_query) {
            let (located, unlocated): (Vec<_>, Vec<_>) =
                watched.into_iter().partition(|(_, watched)| watched.is_located);
            self.refresh(unlocated.iter().map(|(at, _)| at).chain(&failed));
            self.locate(unlocated);
            if Instant::now() >= next_query {
                failed = self.query_watermarks(&located);
                next_query = Instant::now() + WATERMARK_INTERVAL;
            }
        }
    }

    /// Waits until a query is due; `None` when the worker ends.
    fn next_round(&self, next_query: Instant) -> Option<Vec<(TopicPartition, Watched)>> {
        let mut list = self.shared.list();
        let until = |list: &List| {
            let is_waiting = list.watched.values().any(|watched| !watched.is_located);
            if is_waiting { next_query.min(Instant::now() + LOCATE_INTERVAL) } else { next_query }
        };
        let deadline = until(&list);
        while !list.is_closed && !list.has_new {
            let remaining = deadline.saturating_duration_since(Instant::now());
            if remaining.is_zero() {
                break;
            }
            let woken = self.shared.changed.wait_timeout(list, remaining);
            list = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
        list.has_new = false;
        (!list.is_closed).then(|| list.watched.iter().map(|(at, watched)| (at.clone(), *watched)).collect())
    }

    /// Refreshes the metadata of topics: librdkafka does not verify the partition leaders that it has cached.
    fn refresh<'a>(&self, partitions: impl Iterator<Item = &'a TopicPartition>) {
        let mut topics: Vec<_> = partitions.map(|(topic, _)| topic).collect();
        topics.dedup();
        for topic in topics {
            // A failure shows in the responses of the queries.
            drop(self.client.fetch_metadata(Some(topic), REQUEST_TIMEOUT));
        }
    }

    /// Queries the offsets of partitions, and sends an event for each.
    fn locate(&self, mut unlocated: Vec<(TopicPartition, Watched)>) {
        self.remove_recreated_topics(&mut unlocated);
        if unlocated.is_empty() {
            return;
        }
        let queried: Vec<_> = unlocated.iter().map(|(at, _)| at.clone()).collect();
        let mut responses = match offsets::read_partitions(&self.client, &queried, REQUEST_TIMEOUT) {
            Ok(responses) => responses,
            Err(error) => {
                self.rebootstrap_if_unanswered(&error);
                queried.iter().map(|at| (at.clone(), Err(error.clone()))).collect()
            }
        };
        if is_injected(Fault::LocateAllOrNone) && responses.values().any(Result::is_err) {
            return;
        }
        for (at, Watched { assignment, .. }) in unlocated {
            let offsets: Result<PartitionOffsets, KafkaError> =
                responses.remove(&at).unwrap_or(Err(KafkaError::NoMessageReceived));
            if offsets.is_ok() {
                self.mark_located(&at, assignment);
            }
            self.send(Event::Located { assignment, offsets: offsets.map_err(|error| error.to_string()) });
        }
    }

    /// Stops partitions of topics that were deleted and recreated: the topic's ID differs from the ID in the rows.
    fn remove_recreated_topics(&self, unlocated: &mut Vec<(TopicPartition, Watched)>) {
        let mut same = BTreeMap::new();
        for ((topic, _), Watched { topic_id, .. }) in &*unlocated {
            same.entry(topic.clone())
                .or_insert_with(|| self.topic_ids.state(topic, Some(*topic_id)) != TopicState::Recreated);
        }
        unlocated.retain(|(at, Watched { assignment, .. })| {
            let is_same = same.get(&at.0).copied().unwrap_or(true);
            if !is_same {
                self.mark_located(at, *assignment);
                self.send(Event::Stopped { assignment: *assignment, why: RECREATED.to_owned() });
            }
            is_same
        });
    }

    fn mark_located(&self, at: &TopicPartition, assignment: AssignmentId) {
        if let Some(watched) = self.shared.list().watched.get_mut(at).filter(|watched| watched.assignment == assignment)
        {
            watched.is_located = true;
        }
    }

    /// Queries the ends of logs, sends an event for each, and returns the partitions without a response.
    fn query_watermarks(&self, located: &[(TopicPartition, Watched)]) -> Vec<TopicPartition> {
        if located.is_empty() {
            return Vec::new();
        }
        let queried: Vec<_> = located.iter().map(|(at, _)| at.clone()).collect();
        let mut responses = watermarks::read(self.client.client(), &queried, REQUEST_TIMEOUT);
        let mut failed = Vec::new();
        for (at, Watched { assignment, .. }) in located {
            let ends: Result<Watermarks, KafkaError> =
                responses.remove(at).unwrap_or(Err(KafkaError::NoMessageReceived));
            if let Err(error) = &ends {
                self.rebootstrap_if_unanswered(error);
                failed.push(at.clone());
            }
            self.send(Event::Watermarks { assignment: *assignment, ends: ends.map_err(|error| error.to_string()) });
        }
        failed
    }

    fn rebootstrap_if_unanswered(&self, error: &KafkaError) {
        if is_unanswered(error) {
            self.rebootstrap.add_servers(self.client.client());
        }
    }

    fn send(&self, event: Event) {
        // The channel is closed only when the worker has ended; then the list is closed as well.
        drop(self.events.blocking_send(event));
    }
}
