//! The operator's view of the dead-letter topic: lists letters, and lands them once the cause is repaired.
//! It never writes to Kafka, and derives a letter's state only from its table.
//!
//! Whether a letter was replayed is not recorded separately: the table is queried for its topic, partition and offset.
//! So a killed replay cannot leave partly written progress, and a record that landed in another way (reset offsets, a
//! restored backup) is found as well.
//!
//! # Layout
//! - [`filter`] and [`stats`]: selects and counts letters
//! - [`state`]: whether a letter's record has landed
//! - [`topics`]: the current topics and offsets that letters refer to
//! - [`replay`]: decodes letters again and lands them in the groups that [`block`] forms, at the pace of `rate_limit`;
//!   [`tally`] counts them

pub mod block;
pub mod filter;
mod rate_limit;
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

use crate::clickhouse::client::{ClickHouse, ClientError};
use crate::clickhouse::demand::UnsuitableTable;
use crate::clickhouse::lookup;
use crate::config::{Pipeline, Settings};
use crate::dead_letter::letter::{Letter, Payload, Source};
use crate::dead_letter::refetch::{Record, RecordReader};
use crate::dead_letter::scan::{Detail, Item, LetterFilter, Scan, ScanError, ScanOptions};
use crate::decode::table::MappingError;
use crate::failure::{Class, Failure};
use crate::target::Target;
use crate::write::retry::{Decision, decide};
use topics::Topics;

pub use filter::{Filter, FilteredOut};
pub use state::State;
pub use stats::Stats;

/// Number of letters whose states are read together.
const STATE_BATCH: usize = 10_000;
/// Maximum number of offsets in one query to a table.
const OFFSETS_PER_QUERY: usize = 5_000;

/// What [`Dlq::each`] found in addition to the matching letters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ScanSummary {
    /// Number of letters whose identity had been read before.
    pub duplicates: u64,
    /// Number of records that no worker wrote.
    pub foreign: u64,
    /// Whether ClickHouse was unavailable for some states.
    pub is_unavailable: bool,
    /// Topics and reasons of letters that the filter excluded.
    pub filtered_out: FilteredOut,
}

/// Why an operation on dead letters fails.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The topic cannot be read.
    #[error(transparent)]
    Scan(#[from] ScanError),
    /// ClickHouse does not respond, or not as expected.
    #[error("read table {table} at {url}: {failure}; check that ClickHouse runs, and [stores.clickhouse]")]
    ClickHouse {
        /// The table.
        table: String,
        /// URL of ClickHouse.
        url: String,
        /// The failure.
        failure: Failure,
    },
    /// A pipeline does not fit its table.
    #[error(transparent)]
    Mapping(#[from] MappingError),
    /// A table that a replay reaches would count a repeated INSERT twice, or lose rows.
    #[error("replay into table {table}: {unsuitable}")]
    UnsuitableTable {
        /// The table.
        table: String,
        /// The unsuitable table, with the remedy.
        unsuitable: UnsuitableTable,
    },
    /// ClickHouse refuses a replay for a reason other than the record.
    #[error("replay into table {table}: {failure}; repair the cause and run it again")]
    Write {
        /// The table.
        table: String,
        /// The failure.
        failure: Failure,
    },
    /// The table has accepted rows that one of its views refuses.
    #[error(
        "replay into table {table}: {failure}; then rebuild its aggregates of month {month} with \
         `sluice ingest rebuild`, since the rows themselves have landed"
    )]
    View {
        /// The table.
        table: String,
        /// Month of the rows.
        month: u32,
        /// The failure.
        failure: Failure,
    },
    /// The client of ClickHouse cannot be created.
    #[error(transparent)]
    Client(#[from] ClientError),
}

/// The dead-letter topic with the tables of its letters.
#[derive(Debug)]
pub struct Dlq {
    settings: Settings,
    stores: Stores,
    names: Names,
    /// Settings of the Kafka clients.
    kafka: ClientConfig,
    clickhouse: ClickHouse,
    reader: RecordReader,
    /// Topic IDs assumed for letters that do not state one, by topic.
    assumed: HashMap<String, Uuid>,
}

impl Dlq {
    /// Connects only if `assume_current_topic` is set: a letter without a topic ID then counts as a letter of the
    /// current topic of that name.
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
        let reader = RecordReader::new(kafka.clone(), &group);
        let mut dlq = Self { settings, stores, names, kafka, clickhouse, reader, assumed: HashMap::new() };
        if assume_current_topic {
            dlq.assumed = dlq.topics().await?.ids();
        }
        Ok(dlq)
    }

    /// Name of the dead-letter topic, with its namespace.
    pub fn topic(&self) -> String {
        self.names.topic(&self.settings.dead_letter_topic)
    }

    /// Passes every letter that matches the filter to `take`, with its state, in the order of the topic. With
    /// `tolerate_outage`, an unavailable ClickHouse leaves states unknown.
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
                    if filter.matches(&letter) {
                        letters.push(letter);
                    } else {
                        summary.filtered_out.add(&letter);
                    }
                    false
                }
                Item::Duplicate => {
                    summary.duplicates += 1;
                    false
                }
                Item::Foreign => {
                    summary.foreign += 1;
                    false
                }
                Item::End => true,
            };
            if letters.len() < STATE_BATCH && !is_end {
                continue;
            }
            let states = self.states(&letters, tolerate_outage, &mut summary).await?;
            letters.drain(..).zip(states).for_each(|(letter, state)| take(&letter, state));
            if is_end {
                return Ok(summary);
            }
        }
    }

    /// Returns the letter of a record with its contents. If the topic was recreated, there may be several letters of
    /// the same offset: the newest one counts.
    pub async fn find(&self, topic: &str, partition: i32, offset: i64) -> Result<Option<(Letter, State)>, Error> {
        let name = topic.to_owned();
        let only: LetterFilter =
            Box::new(move |source, at| (source.topic.as_str(), source.partition, at) == (&*name, partition, offset));
        let (mut scan, mut newest) = (self.scan(None, Detail::All, Some(only))?, None::<Letter>);
        loop {
            match scan.next().await? {
                Item::Letter(letter) => {
                    if newest.as_ref().is_none_or(|newest| newest.at_ms <= letter.at_ms) {
                        newest = Some(letter);
                    }
                }
                Item::Duplicate | Item::Foreign => {}
                Item::End => break,
            }
        }
        let Some(letter) = newest else { return Ok(None) };
        let states = self.states(std::slice::from_ref(&letter), true, &mut ScanSummary::default()).await?;
        Ok(Some((letter, states[0])))
    }

    /// Returns the record of a letter that came from [`Dlq::find`]. Reads it from its own topic if the letter omits the
    /// payload; `None` if it is no longer there.
    pub async fn record(&self, letter: &Letter) -> Result<Option<Record>, Error> {
        if let Payload::Omitted(_) = letter.payload {
            return self.refetch_record(letter, &self.topics().await?).await;
        }
        Ok(Some(Record { payload: letter.contents.as_ref().and_then(|contents| contents.payload.clone()) }))
    }

    /// Reads the record of a letter from its own topic.
    async fn refetch_record(&self, letter: &Letter, topics: &Topics) -> Result<Option<Record>, Error> {
        if !topics.is_current(letter) {
            return Ok(None);
        }
        let Source { topic, partition, .. } = &*letter.source;
        let record = self.reader.record(topic, *partition, letter.offset).await;
        record.map_err(|cause| ScanError::from_kafka(topic, cause).into())
    }

    /// The current state in Kafka of the dead-letter topic and of every pipeline's topic.
    async fn topics(&self) -> Result<Topics, Error> {
        let names = self.settings.pipelines.keys().chain([&self.settings.dead_letter_topic]);
        let names = names.map(|topic| self.names.topic(topic)).collect();
        let mut kafka = self.kafka.clone();
        kafka.set("group.id", self.names.group(&self.settings.group));
        Ok(Topics::read(kafka, names).await?)
    }

    fn scan(&self, since_ms: Option<i64>, keep: Detail, only: Option<LetterFilter>) -> Result<Scan, ScanError> {
        let (topic, assumed) = (self.topic(), self.assumed.clone());
        Scan::start(self.kafka.clone(), ScanOptions { topic, since_ms, keep, only, assumed })
    }

    /// The pipeline of a topic with its namespace, enabled or not.
    fn pipeline(&self, topic: &str) -> Option<(&str, &Pipeline)> {
        self.settings.pipeline_of(&self.names, topic)
    }

    /// The table and identity of the records of a source.
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
            let landed = match self.landed_offsets(&target, source.partition, &offsets).await {
                Ok(landed) => landed,
                Err(Error::ClickHouse { failure, .. }) if tolerate_outage && failure.class == Class::Transient => {
                    summary.is_unavailable = true;
                    return Ok(states);
                }
                Err(error) => return Err(error),
            };
            for (index, offset) in indices.into_iter().zip(offsets) {
                let has_landed = landed.binary_search(&offset).is_ok();
                states[index] = if has_landed { State::Landed } else { State::Waiting };
            }
        }
        Ok(states)
    }

    /// Returns those of `offsets` that a table holds, in order. Retries a few times.
    async fn landed_offsets(&self, target: &Target, partition: i32, offsets: &[i64]) -> Result<Vec<i64>, Error> {
        let mut landed = Vec::new();
        for chunk in offsets.chunks(OFFSETS_PER_QUERY) {
            let query = async || lookup::among(&self.clickhouse, target, partition, chunk).await;
            landed.extend(self.with_retries(&target.table, query).await?);
        }
        landed.sort_unstable();
        Ok(landed)
    }

    /// Runs a query about a table, with a few retries while ClickHouse does not respond.
    async fn with_retries<T>(&self, table: &str, query: impl AsyncFn() -> Result<T, Failure>) -> Result<T, Error> {
        let mut attempt = 0;
        loop {
            let failure = match query().await {
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
