//! The dead-letter topic from the operator's side: what waits there, and landing it once the cause is repaired.
//! Settings and a [`Filter`] go in; letters with their states, counts, or rows in their tables come out. Nothing is ever
//! written to Kafka, and nothing is said about a letter that its table does not say.
//!
//! Whether a letter was replayed is no note of ours: the table is asked for its topic, partition and offset. So there is
//! nothing that a killed replay could have left half-written, and a record that landed by another way (offsets that were
//! set back, a backup that was restored) is seen as well.
//!
//! # Layout
//! - [`letter`]: a record of the topic becomes a [`Letter`]
//! - [`read`]: the topic from its start to its end, each identity once
//! - [`filter`] and [`stats`]: which are meant, and how many there are
//! - [`topics`]: what Kafka says of the topics that they come from
//! - [`sent`]: which records of ranges that are taken over stand there already
//! - [`replay`]: letters are decoded again and land; [`block`] says which of them together, [`tally`] how many did

pub mod block;
pub mod filter;
pub mod replay;
mod state;
pub mod stats;
pub mod tally;
mod topics;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use rdkafka::ClientConfig;
use sluice_schemas::names::Names;
use sluice_schemas::stores::Stores;
use uuid::Uuid;

use crate::clickhouse::client::ClickHouse;
use crate::clickhouse::demand::Unfit;
use crate::clickhouse::lookup;
use crate::config::{Pipeline, Settings};
use crate::dead_letter::letter::{Letter, Payload, Source};
use crate::dead_letter::refetch::{Record, Refetch};
use crate::dead_letter::scan::{Detail, Item, LetterFilter, Scan, ScanError, ScanOptions};
use crate::decode::table::MappingError;
use crate::failure::{Class, Failure};
use crate::target::Target;
use crate::write::retry::{Decision, decide};
use topics::Topics;

pub use filter::{Filter, FilteredOut};
pub use state::State;
pub use stats::Stats;

/// Letters whose states are asked for together.
const TOGETHER: usize = 10_000;
/// Offsets that one question to a table names.
const OFFSETS: usize = 5_000;

/// What [`Dlq::each`] came across beside the letters it gave.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ScanSummary {
    /// Letters whose identity had come before.
    pub duplicates: u64,
    /// Records that no worker wrote.
    pub foreign: u64,
    /// Whether ClickHouse could not be asked about some states.
    pub is_unavailable: bool,
    /// What the filter left out.
    pub filtered_out: FilteredOut,
}

/// What goes wrong with dead letters.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The topic cannot be read.
    #[error(transparent)]
    Scan(#[from] ScanError),
    /// ClickHouse does not answer, or not as it should.
    #[error("ask table {table} at {url} what it holds: {failure}; check that ClickHouse runs, and [stores.clickhouse]")]
    ClickHouse {
        /// The table.
        table: String,
        /// Where it should be.
        url: String,
        /// What happened.
        failure: Failure,
    },
    /// A pipeline does not fit its table.
    #[error(transparent)]
    Mapping(#[from] MappingError),
    /// A table that a replay reaches would count a repeated INSERT twice, or loses rows.
    #[error("replay into table {table}: {unfit}")]
    Unfit {
        /// The table.
        table: String,
        /// The table that does not fit, and what to do.
        unfit: Unfit,
    },
    /// ClickHouse refuses a replay for a reason that is not the record's.
    #[error("replay into table {table}: {failure}; repair that and run it again")]
    Write {
        /// The table.
        table: String,
        /// What happened.
        failure: Failure,
    },
    /// The table has taken rows that a view of it refuses.
    #[error(
        "replay into table {table}: {failure}; once that is done, its aggregates of month {month} have to be rebuilt with \
         `sluice ingest rebuild`, since the rows themselves have landed"
    )]
    View {
        /// The table.
        table: String,
        /// Month of the rows.
        month: u32,
        /// What happened.
        failure: Failure,
    },
    /// The HTTP client cannot be made.
    #[error("prepare the HTTP client: {0}")]
    Http(#[from] reqwest::Error),
}

/// The dead-letter topic with the tables that its letters belong to.
#[derive(Debug)]
pub struct Dlq {
    settings: Settings,
    stores: Stores,
    names: Names,
    /// Settings of its clients.
    kafka: ClientConfig,
    clickhouse: ClickHouse,
    refetch: Refetch,
    /// Ids of topics for letters that do not say theirs.
    assumed: HashMap<String, Uuid>,
}

impl Dlq {
    /// Opens no connection yet, unless `assume_current_topic` says that letters without a topic id are of the topics
    /// that bear the names today.
    pub async fn open(
        settings: Settings,
        stores: Stores,
        names: Names,
        assume_current_topic: bool,
    ) -> Result<Self, Error> {
        let clickhouse = ClickHouse::new(&stores.clickhouse, &names.database(), settings.insert_timeout)?;
        let mut kafka = settings.client(&stores);
        let group = names.group("sluice-dlq");
        kafka.set("group.id", &group);
        let refetch = Refetch::new(kafka.clone(), &group);
        let mut dlq = Self { settings, stores, names, kafka, clickhouse, refetch, assumed: HashMap::new() };
        if assume_current_topic {
            dlq.assumed = dlq.topics().await?.ids();
        }
        Ok(dlq)
    }

    /// Name of the dead-letter topic, with its namespace.
    pub fn topic(&self) -> String {
        self.names.topic(&self.settings.dead_letter_topic)
    }

    /// Gives every letter that the filter takes to `take`, with its state, in the order of the topic. Where the states are
    /// only `tolerate_outage` for, a ClickHouse that does not answer leaves them unknown.
    pub async fn each(
        &self,
        filter: &Filter,
        tolerate_outage: bool,
        mut take: impl FnMut(&Letter, State),
    ) -> Result<ScanSummary, Error> {
        let (mut scan, mut summary) = (self.scan(filter.since_ms, Detail::Facts, None)?, ScanSummary::default());
        let mut letters = Vec::new();
        loop {
            let is_end = match scan.next().await? {
                Item::Letter(letter) => {
                    if filter.takes(&letter) {
                        letters.push(letter);
                    } else {
                        summary.filtered_out.note(&letter);
                    }
                    false
                }
                Item::Again => {
                    summary.duplicates += 1;
                    false
                }
                Item::Foreign => {
                    summary.foreign += 1;
                    false
                }
                Item::End => true,
            };
            if letters.len() < TOGETHER && !is_end {
                continue;
            }
            let states = self.states(&letters, tolerate_outage, &mut summary).await?;
            letters.drain(..).zip(states).for_each(|(letter, state)| take(&letter, state));
            if is_end {
                return Ok(summary);
            }
        }
    }

    /// The letter of a record with what it holds. A topic that was made anew may have had the same offset before: the
    /// newest counts.
    pub async fn find(&self, topic: &str, partition: i32, offset: i64) -> Result<Option<(Letter, State)>, Error> {
        let name = topic.to_owned();
        let only: LetterFilter =
            Box::new(move |source, at| (source.topic.as_str(), source.partition, at) == (&*name, partition, offset));
        let (mut scan, mut found) = (self.scan(None, Detail::Whole, Some(only))?, None::<Letter>);
        loop {
            match scan.next().await? {
                Item::Letter(letter) => {
                    if found.as_ref().is_none_or(|found| found.at_ms <= letter.at_ms) {
                        found = Some(letter);
                    }
                }
                Item::Again | Item::Foreign => {}
                Item::End => break,
            }
        }
        let Some(letter) = found else { return Ok(None) };
        let states = self.states(std::slice::from_ref(&letter), true, &mut ScanSummary::default()).await?;
        Ok(Some((letter, states[0])))
    }

    /// The record of a letter that [`Dlq::find`] found, from its own topic where the letter had to leave the payload out;
    /// `None` if it is no longer there.
    pub async fn record(&self, letter: &Letter) -> Result<Option<Record>, Error> {
        if let Payload::LeftOut(_) = letter.payload {
            return self.read_again(letter, &self.topics().await?).await;
        }
        Ok(Some(Record { payload: letter.contents.as_ref().and_then(|contents| contents.payload.clone()) }))
    }

    /// The record of a letter, from its own topic.
    async fn read_again(&self, letter: &Letter, topics: &Topics) -> Result<Option<Record>, Error> {
        if !topics.is_current(letter) {
            return Ok(None);
        }
        let Source { topic, partition, .. } = &*letter.source;
        let record = self.refetch.record(topic, *partition, letter.offset).await;
        record.map_err(|cause| ScanError::from_kafka(topic, cause).into())
    }

    /// What Kafka says today of the dead-letter topic and of every pipeline's.
    async fn topics(&self) -> Result<Topics, Error> {
        let names = self.settings.pipelines.keys().chain([&self.settings.dead_letter_topic]);
        let names = names.map(|topic| self.names.topic(topic)).collect();
        let mut kafka = self.kafka.clone();
        kafka.set("group.id", self.names.group(&self.settings.group));
        Ok(Topics::ask(kafka, names).await?)
    }

    fn scan(&self, since_ms: Option<i64>, keep: Detail, only: Option<LetterFilter>) -> Result<Scan, ScanError> {
        let (topic, assumed) = (self.topic(), self.assumed.clone());
        Scan::start(self.kafka.clone(), ScanOptions { topic, since_ms, keep, only, assumed })
    }

    /// The pipeline of a topic with its namespace, switched off or not.
    fn pipeline(&self, topic: &str) -> Option<(&str, &Pipeline)> {
        self.settings.pipeline_of(&self.names, topic)
    }

    /// Where the records of a source land.
    fn target(&self, source: &Source) -> Option<Target> {
        let (_, pipeline) = self.pipeline(&source.topic)?;
        Some(Target::new(&source.topic, source.topic_id?, &self.names, &pipeline.table))
    }

    async fn states(
        &self,
        letters: &[Letter],
        tolerate_outage: bool,
        summary: &mut ScanSummary,
    ) -> Result<Vec<State>, Error> {
        let mut states = vec![State::Unknown; letters.len()];
        let mut sources: BTreeMap<&Arc<Source>, Vec<usize>> = BTreeMap::new();
        for (index, letter) in letters.iter().enumerate() {
            sources.entry(&letter.source).or_default().push(index);
        }
        for (source, indices) in sources {
            let Some(target) = self.target(source) else { continue };
            let offsets: Vec<_> = indices.iter().map(|index| letters[*index].offset).collect();
            let present = match self.present(&target, source.partition, &offsets).await {
                Ok(present) => present,
                Err(Error::ClickHouse { failure, .. }) if tolerate_outage && failure.class == Class::Transient => {
                    summary.is_unavailable = true;
                    return Ok(states);
                }
                Err(error) => return Err(error),
            };
            for (index, offset) in indices.into_iter().zip(offsets) {
                let is_there = present.binary_search(&offset).is_ok();
                states[index] = if is_there { State::Landed } else { State::Waiting };
            }
        }
        Ok(states)
    }

    /// Which of `offsets` a table holds, in order. Tries a few times.
    async fn present(&self, target: &Target, partition: i32, offsets: &[i64]) -> Result<Vec<i64>, Error> {
        let mut present = Vec::new();
        for some in offsets.chunks(OFFSETS) {
            let ask = async || lookup::among(&self.clickhouse, target, partition, some).await;
            present.extend(self.patiently(&target.table, ask).await?);
        }
        present.sort_unstable();
        Ok(present)
    }

    /// Asks ClickHouse about a table, and again a few times while it does not answer.
    async fn patiently<T>(&self, table: &str, ask: impl AsyncFn() -> Result<T, Failure>) -> Result<T, Error> {
        let mut attempt = 0;
        loop {
            let failure = match ask().await {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            attempt += 1;
            match decide(&self.settings.retry, failure.class, attempt, u64::from(attempt)) {
                Decision::Again(wait) => tokio::time::sleep(wait).await,
                Decision::Probe(_) => {
                    let (table, url) = (table.to_owned(), self.stores.clickhouse.url.clone());
                    return Err(Error::ClickHouse { table, url, failure });
                }
            }
        }
    }
}
