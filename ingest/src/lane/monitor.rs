//! Questions to Kafka about the partitions of this worker, asked on a thread of its own with a client of its own.
//! The consume thread says which partitions it has; where each of them begins, and from then on where its log ends, comes
//! back as [`Event`]s. All partitions are asked about in a few requests, and one that gets no answer (it has no leader)
//! holds up no other. The consume thread never waits for it, and it decides nothing.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer, DefaultConsumerContext};
use rdkafka::error::KafkaError;
use sluice_schemas::rebootstrap::{Rebootstrap, is_unanswered};
use tokio::sync::mpsc;
use uuid::Uuid;

use crate::event::{Assigned, Event};
use crate::fault::{Fault, is_injected};
use crate::kafka::offsets;
use crate::kafka::offsets::PartitionOffsets;
use crate::kafka::topic_id::{RECREATED, TopicIds};
use crate::kafka::watermarks;
use crate::kafka::watermarks::{TopicPartition, Watermarks};

/// How long Kafka may take for one answer.
const ANSWER_WAIT: Duration = Duration::from_secs(5);
/// Time between two questions about where partitions begin, while one of them has had no answer.
const ASK_AGAIN: Duration = Duration::from_secs(1);
/// Time between two questions about where logs end.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// What is asked about a partition.
#[derive(Debug, Clone, Copy)]
struct Watched {
    owner: Assigned,
    /// Identity of its topic as the rows carry it.
    topic_id: Uuid,
    /// Whether it is known where the partition begins.
    is_located: bool,
}

#[derive(Debug, Default)]
struct List {
    watched: BTreeMap<TopicPartition, Watched>,
    /// A partition was added that nobody has asked about.
    has_news: bool,
    is_over: bool,
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

/// The partitions that are asked about. The thread ends with it.
#[derive(Debug)]
pub struct Monitor(Arc<Shared>);

impl Drop for Monitor {
    fn drop(&mut self) {
        self.0.list().is_over = true;
        self.0.changed.notify_all();
    }
}

impl Monitor {
    /// Starts the thread. `kafka` is a client in the workers' group that never joins it.
    pub fn start(kafka: &ClientConfig, topic_ids: Arc<TopicIds>, events: mpsc::Sender<Event>) -> Result<Self, Error> {
        let shared = Arc::new(Shared::default());
        let rebootstrap = Rebootstrap::new(kafka);
        let asker =
            MonitorThread { shared: Arc::clone(&shared), client: kafka.create()?, rebootstrap, topic_ids, events };
        std::thread::Builder::new().name("monitor".to_owned()).spawn(move || asker.run())?;
        Ok(Self(shared))
    }

    /// A partition is ours; where it begins is asked at once.
    pub fn watch(&self, topic: &str, owner: Assigned, topic_id: Uuid) {
        let mut list = self.0.list();
        list.watched.insert((topic.to_owned(), owner.partition), Watched { owner, topic_id, is_located: false });
        list.has_news = true;
        self.0.changed.notify_all();
    }

    /// A partition is no longer ours.
    pub fn forget(&self, topic: &str, partition: i32) {
        self.0.list().watched.remove(&(topic.to_owned(), partition));
    }
}

/// The thread or its client cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The client.
    #[error(transparent)]
    Kafka(#[from] KafkaError),
    /// The thread.
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
        let (mut next_look, mut failed) = (Instant::now() + LOOK_EVERY, Vec::new());
        while let Some(watched) = self.next_round(next_look) {
            let (located, unlocated): (Vec<_>, Vec<_>) =
                watched.into_iter().partition(|(_, watched)| watched.is_located);
            self.refresh(unlocated.iter().map(|(at, _)| at).chain(&failed));
            self.place(unlocated);
            if Instant::now() >= next_look {
                failed = self.look(&located);
                next_look = Instant::now() + LOOK_EVERY;
            }
        }
    }

    /// Waits until there is something to ask; `None` when the worker ends.
    fn next_round(&self, next_look: Instant) -> Option<Vec<(TopicPartition, Watched)>> {
        let mut list = self.shared.list();
        let until = |list: &List| {
            let is_waiting = list.watched.values().any(|watched| !watched.is_located);
            if is_waiting { next_look.min(Instant::now() + ASK_AGAIN) } else { next_look }
        };
        let deadline = until(&list);
        while !list.is_over && !list.has_news {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let woken = self.shared.changed.wait_timeout(list, left);
            list = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
        list.has_news = false;
        (!list.is_over).then(|| list.watched.iter().map(|(at, watched)| (at.clone(), *watched)).collect())
    }

    /// librdkafka takes what it remembers of a partition's leader for granted, so it is told to ask again.
    fn refresh<'a>(&self, partitions: impl Iterator<Item = &'a TopicPartition>) {
        let mut topics: Vec<_> = partitions.map(|(topic, _)| topic).collect();
        topics.dedup();
        for topic in topics {
            // What is wrong with it shows in the answers.
            drop(self.client.fetch_metadata(Some(topic), ANSWER_WAIT));
        }
    }

    /// Asks where partitions begin, and tells of each.
    fn place(&self, mut unlocated: Vec<(TopicPartition, Watched)>) {
        self.leave_out_other_topics(&mut unlocated);
        if unlocated.is_empty() {
            return;
        }
        let asked: Vec<_> = unlocated.iter().map(|(at, _)| at.clone()).collect();
        let mut answers = match offsets::found(&self.client, &asked, ANSWER_WAIT) {
            Ok(answers) => answers,
            Err(error) => {
                self.unanswered(&error);
                asked.iter().map(|at| (at.clone(), Err(error.clone()))).collect()
            }
        };
        if is_injected(Fault::PlaceAllOrNone) && answers.values().any(Result::is_err) {
            return;
        }
        for (at, Watched { owner, .. }) in unlocated {
            let found: Result<PartitionOffsets, KafkaError> =
                answers.remove(&at).unwrap_or(Err(KafkaError::NoMessageReceived));
            if found.is_ok() {
                self.located(&at, owner);
            }
            self.report_verdict(Event::Located { owner, found: found.map_err(|error| error.to_string()) });
        }
    }

    /// A topic that was deleted and recreated is not the one whose identity the rows carry.
    fn leave_out_other_topics(&self, unlocated: &mut Vec<(TopicPartition, Watched)>) {
        let mut same = BTreeMap::new();
        for ((topic, _), Watched { topic_id, .. }) in &*unlocated {
            same.entry(topic.clone()).or_insert_with(|| self.topic_ids.is_same(topic, Some(*topic_id)));
        }
        unlocated.retain(|(at, Watched { owner, .. })| {
            let is_same = same.get(&at.0).copied().unwrap_or(true);
            if !is_same {
                self.located(at, *owner);
                self.report_verdict(Event::Stopped { owner: *owner, why: RECREATED.to_owned() });
            }
            is_same
        });
    }

    fn located(&self, at: &TopicPartition, owner: Assigned) {
        if let Some(watched) = self.shared.list().watched.get_mut(at).filter(|watched| watched.owner == owner) {
            watched.is_located = true;
        }
    }

    /// Asks where logs end, tells of each, and gives those that were not answered.
    fn look(&self, located: &[(TopicPartition, Watched)]) -> Vec<TopicPartition> {
        if located.is_empty() {
            return Vec::new();
        }
        let asked: Vec<_> = located.iter().map(|(at, _)| at.clone()).collect();
        let mut answers = watermarks::ask(self.client.client(), &asked, ANSWER_WAIT);
        let mut failed = Vec::new();
        for (at, Watched { owner, .. }) in located {
            let ends: Result<Watermarks, KafkaError> = answers.remove(at).unwrap_or(Err(KafkaError::NoMessageReceived));
            if let Err(error) = &ends {
                self.unanswered(error);
                failed.push(at.clone());
            }
            self.report_verdict(Event::Watermarks { owner: *owner, ends: ends.map_err(|error| error.to_string()) });
        }
        failed
    }

    fn unanswered(&self, error: &KafkaError) {
        if is_unanswered(error) {
            self.rebootstrap.add_servers(self.client.client());
        }
    }

    fn report_verdict(&self, event: Event) {
        // Nobody listens any more only when the worker has ended; then the list is over as well.
        drop(self.events.blocking_send(event));
    }
}
