//! The offset audit: inserted + dead-lettered = consumed, for every partition, as reported by Kafka, the table and the
//! dead-letter topic. It only reads, and trusts no counter of a worker.
//!
//! Offsets below the group's are consumed: each of them must have exactly one row, or a dead letter. Rows are checked
//! by three figures computed in one pass over the projection `by_offset` (see [`crate::clickhouse::coverage::sums`]);
//! only if those are wrong does the audit search for the offsets at fault. Offsets that never had a record (aborted
//! transactions, compaction) look like losses there; reading those spans from Kafka distinguishes them.
//!
//! The audit goes back to the first row or dead letter. If dead letters have expired in their topic, a record without a
//! row may have had one; the audit then goes back only to the start of the log, since dead letters are kept longer than
//! records.
//!
//! # Layout
//! - [`crate::clickhouse::coverage`]: the figures of a table's rows
//! - [`scan`]: finds the offsets that have a record

pub mod scan;

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt, stream};
use rdkafka::ClientConfig;
use sluice_schemas::names::Names;
use sluice_schemas::stores::Stores;

use super::dlq::{self, Dlq, Filter, State};
use crate::clickhouse::client::{ClickHouse, ClientError};
use crate::clickhouse::coverage::sums::Sums;
use crate::clickhouse::coverage::{Coverage, Duplicates};
use crate::clickhouse::visibility;
use crate::config::Settings;
use crate::dead_letter::letter::{Letter, Source};
use crate::failure::Failure;
use crate::kafka::offsets;
use crate::kafka::offsets::PartitionOffsets;
use crate::kafka::offsets::TopicOffsets;
use crate::target::Target;

/// Timeout of one request to ClickHouse.
const TIMEOUT: Duration = Duration::from_hours(1);

/// Partitions audited concurrently, unless distinct offsets are counted, which takes memory.
const CONCURRENCY: usize = 4;

/// Why an audit fails.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The group's offsets cannot be read.
    #[error(transparent)]
    TopicOffsets(#[from] offsets::Error),
    /// The dead letters cannot be read.
    #[error(transparent)]
    Letters(#[from] dlq::Error),
    /// ClickHouse does not respond, or not as expected.
    #[error("read table {table}: {failure}; check that ClickHouse runs, and [stores.clickhouse]")]
    ClickHouse {
        /// The table.
        table: String,
        /// The failure.
        failure: Failure,
    },
    /// This user may not see all rows, so an audit would prove nothing.
    #[error("audit table {table}: {failure}")]
    HiddenRows {
        /// The table.
        table: String,
        /// The failure, which names what hides rows.
        failure: Failure,
    },
    /// No pipeline consumes the topic.
    #[error("find the pipeline of topic {0}: ingest.pipelines has none of that name")]
    NoPipeline(String),
    /// The client of ClickHouse cannot be created.
    #[error(transparent)]
    Client(#[from] ClientError),
}

/// How thorough an audit is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Options {
    /// Also count distinct offsets, which takes memory, so that no combination of errors can cancel out.
    pub exact: bool,
    /// Read from Kafka what appears to be missing.
    pub scan: bool,
}

/// The outcome of the records of one partition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Account {
    /// Topic with its namespace.
    pub topic: String,
    /// Partition of the topic.
    pub partition: i32,
    /// The group's committed offset.
    pub committed: Option<i64>,
    /// Start and end of the log.
    pub log: (i64, i64),
    /// The first audited offset.
    pub from: i64,
    /// Number of offsets from `from` up to the group's, except those known to have no record.
    pub consumed: u64,
    /// Number of consumed offsets with a row.
    pub inserted: u64,
    /// Number of consumed offsets with a dead letter and no row.
    pub dead_lettered: u64,
    /// Number of consumed offsets with a dead letter and a row: replayed.
    pub replayed: u64,
    /// Number of consumed offsets with neither.
    pub missing: u64,
    /// The first ranges of missing offsets.
    pub missing_at: Vec<Range<i64>>,
    /// Number of surplus rows.
    pub duplicates: u64,
    /// A sample of the offsets of surplus rows.
    pub duplicates_at: Vec<i64>,
    /// Number of offsets without a record, according to Kafka.
    pub empty: u64,
    /// Number of records that were deleted from the log before they were consumed.
    pub unread: u64,
    /// Number of rows below the first audited offset.
    pub older: u64,
    /// Number of rows at or above the group's offset: in flight, not yet committed.
    pub ahead: u64,
}

impl Account {
    /// Whether every record is accounted for exactly once.
    pub fn is_exact(&self) -> bool {
        let is_consumed = self.committed.is_some() || self.ahead == 0;
        is_consumed && self.missing == 0 && self.duplicates == 0 && self.unread == 0
    }
}

/// Dead letters of one partition, by offset, in order.
#[derive(Debug, Default)]
struct Letters {
    waiting: Vec<i64>,
    landed: Vec<i64>,
}

/// The audit of all pipelines.
#[derive(Debug)]
pub struct Audit {
    settings: Settings,
    stores: Stores,
    names: Names,
    clickhouse: ClickHouse,
    options: Options,
}

impl Audit {
    /// Creates an audit without connecting.
    pub fn new(settings: Settings, stores: Stores, names: Names, options: Options) -> Result<Self, Error> {
        let clickhouse = ClickHouse::new(&stores.clickhouse, &names.database(), TIMEOUT)?;
        Ok(Self { settings, stores, names, clickhouse, options })
    }

    /// Returns the accounts of one topic (with its namespace), or of all enabled pipelines.
    pub async fn run(&self, topic: Option<&str>) -> Result<Vec<Account>, Error> {
        self.accounts(topic, None).await
    }

    async fn accounts(&self, topic: Option<&str>, only: Option<(i32, i64)>) -> Result<Vec<Account>, Error> {
        let topics = self.topics(topic)?;
        let names: Vec<_> = topics.iter().map(|(topic, _)| topic.clone()).collect();
        // Read the offsets first: everything below them is durable by then, however busy the workers are.
        let all_offsets = offsets::read(self.kafka(), names).await?;
        let errors = vec![self.names.topic(&self.settings.dead_letter_topic)];
        let errors = async { offsets::read(self.kafka(), errors).await.map_err(Error::from) };
        let (errors, letters) = tokio::try_join!(errors, self.letters(topic))?;
        let is_complete = errors.iter().all(TopicOffsets::is_complete);
        for (_, table) in &topics {
            let hidden = |failure| Error::HiddenRows { table: table.clone(), failure };
            visibility::check(&self.clickhouse, table).await.map_err(hidden)?;
        }
        let mut partitions = Vec::new();
        for ((topic, table), topic_offsets) in topics.iter().zip(&all_offsets) {
            let target = Target::new(topic, topic_offsets.id, &self.names, table);
            for (partition, partition_offsets) in &topic_offsets.partitions {
                let mut partition_offsets = partition_offsets.clone();
                match only {
                    Some((selected, _)) if selected != *partition => continue,
                    Some((_, until)) => partition_offsets.committed = Some(until),
                    None => {}
                }
                let key = Source { topic: topic.clone(), topic_id: Some(topic_offsets.id), partition: *partition };
                partitions.push((target.clone(), key, partition_offsets));
            }
        }
        let no_letters = Letters::default();
        let accounts = partitions.iter().map(|(target, key, partition_offsets)| {
            let letters = letters.get(key).unwrap_or(&no_letters);
            self.account(target, key.partition, partition_offsets, letters, is_complete)
        });
        let concurrency = if self.options.exact { 1 } else { CONCURRENCY };
        stream::iter(accounts).buffered(concurrency).try_collect().await
    }

    /// Returns the account of one partition as if the group's offset were `until`.
    pub async fn up_to(&self, topic: &str, partition: i32, until: i64) -> Result<Account, Error> {
        let accounts = self.accounts(Some(topic), Some((partition, until))).await?;
        accounts.into_iter().next().ok_or_else(|| offsets::Error::NoTopic(format!("{topic} {partition}")).into())
    }

    fn topics(&self, topic: Option<&str>) -> Result<Vec<(String, String)>, Error> {
        let tables = self.settings.tables(&self.names, topic);
        tables.ok_or_else(|| Error::NoPipeline(topic.unwrap_or_default().to_owned()))
    }

    fn kafka(&self) -> ClientConfig {
        offsets::client_config(&self.settings, &self.stores, &self.names)
    }

    async fn letters(&self, topic: Option<&str>) -> Result<BTreeMap<Source, Letters>, Error> {
        let dlq = Dlq::open(self.settings.clone(), self.stores.clone(), self.names.clone(), false).await?;
        let filter = Filter { topic: topic.map(str::to_owned), ..Filter::default() };
        let mut letters = BTreeMap::<Source, Letters>::new();
        let record = |letter: &Letter, state: State| {
            let source_letters = letters.entry(Source::clone(&letter.source)).or_default();
            match state {
                State::Landed => source_letters.landed.push(letter.offset),
                State::Waiting | State::Unknown => source_letters.waiting.push(letter.offset),
            }
        };
        dlq.each(&filter, false, record).await?;
        for source_letters in letters.values_mut() {
            source_letters.waiting.sort_unstable();
            source_letters.landed.sort_unstable();
        }
        Ok(letters)
    }

    async fn account(
        &self,
        target: &Target,
        partition: i32,
        partition_offsets: &PartitionOffsets,
        letters: &Letters,
        is_complete: bool,
    ) -> Result<Account, Error> {
        let failed = |failure| Error::ClickHouse { table: target.table.clone(), failure };
        let rows = Coverage { clickhouse: &self.clickhouse, target, partition };
        let until = partition_offsets.committed.unwrap_or(partition_offsets.bounds.low);
        let low = partition_offsets.bounds.low.min(until);
        let before = rows.sums(&(0..low), false).await.map_err(failed)?;
        let first_letter = letters.waiting.iter().chain(&letters.landed).min();
        let earliest = before.0.into_iter().chain(first_letter.copied()).fold(low, i64::min);
        let range = if is_complete { earliest..until } else { low..until };
        let (_, sums, distinct) = rows.sums(&range, self.options.exact).await.map_err(failed)?;
        let ahead = rows.sums(&(until..i64::MAX), false).await.map_err(failed)?.1.count;
        let within = |offsets: &[i64]| offsets.iter().copied().filter(|at| range.contains(at)).collect::<Vec<_>>();
        let (waiting, landed) = (within(&letters.waiting), within(&letters.landed));
        let mut account = Account {
            topic: target.topic.to_string(),
            partition,
            committed: partition_offsets.committed,
            log: (partition_offsets.bounds.low, partition_offsets.bounds.high),
            from: range.start,
            dead_lettered: waiting.len() as u64,
            replayed: landed.len() as u64,
            unread: partition_offsets
                .committed
                .map_or(0, |committed| (partition_offsets.bounds.low - committed).max(0).cast_unsigned()),
            older: if range.start < low { 0 } else { before.1.count },
            ahead,
            ..Account::default()
        };
        let expected = waiting.iter().fold(Sums::of_range(&range), |sums, at| sums.minus(Sums::default().with(*at)));
        if sums == expected && distinct.is_none_or(|distinct| distinct == sums.count) {
            account.inserted = sums.count;
            account.consumed = sums.count + account.dead_lettered;
        } else {
            self.find_faulty_offsets(&mut account, rows, &range, sums, &waiting).await?;
        }
        Ok(account)
    }

    /// Finds the missing offsets and the surplus rows.
    async fn find_faulty_offsets(
        &self,
        account: &mut Account,
        rows: Coverage<'_>,
        range: &Range<i64>,
        sums: Sums,
        waiting: &[i64],
    ) -> Result<(), Error> {
        let failed = |failure| Error::ClickHouse { table: rows.target.table.clone(), failure };
        let Duplicates { count, sample } = rows.duplicates(range).await.map_err(failed)?;
        let mut missing = subtract(rows.gaps(range).await.map_err(failed)?, waiting);
        let length = |spans: &[Range<i64>]| -> u64 { spans.iter().map(|s| (s.end - s.start).cast_unsigned()).sum() };
        if self.options.scan {
            let before = length(&missing);
            missing = self.with_records(&account.topic, account.partition, account.log.0, missing).await?;
            account.empty = before - length(&missing);
        }
        account.duplicates = count;
        account.duplicates_at = sample;
        account.inserted = sums.count - count;
        account.missing = length(&missing);
        account.consumed = account.inserted + account.dead_lettered + account.missing;
        account.missing_at = missing.into_iter().take(5).collect();
        Ok(())
    }

    /// The parts of these spans that have a record; spans below the log can no longer be checked and are kept.
    async fn with_records(
        &self,
        topic: &str,
        partition: i32,
        low: i64,
        spans: Vec<Range<i64>>,
    ) -> Result<Vec<Range<i64>>, Error> {
        let clip = |from: i64, to: i64| {
            let clipped = spans.iter().map(move |s| s.start.max(from)..s.end.min(to));
            clipped.filter(|span| !span.is_empty())
        };
        let (mut remaining, readable) = (clip(0, low).collect::<Vec<_>>(), clip(low, i64::MAX).collect::<Vec<_>>());
        for offset in scan::records(self.kafka(), topic, partition, readable).await? {
            match remaining.last_mut().filter(|span| span.end == offset) {
                Some(span) => span.end += 1,
                None => remaining.push(offset..offset + 1),
            }
        }
        Ok(remaining)
    }
}

impl TopicOffsets {
    /// Whether no record of the topic has been deleted.
    fn is_complete(&self) -> bool {
        self.partitions.values().all(|partition_offsets| partition_offsets.bounds.low == 0)
    }
}

/// Removes `offsets` from `spans`, both in order.
fn subtract(spans: Vec<Range<i64>>, offsets: &[i64]) -> Vec<Range<i64>> {
    let mut remaining = Vec::new();
    for span in spans {
        let mut start = span.start;
        let first = offsets.partition_point(|offset| *offset < span.start);
        for offset in offsets[first..].iter().take_while(|offset| **offset < span.end) {
            remaining.push(start..*offset);
            start = offset + 1;
        }
        remaining.push(start..span.end);
    }
    remaining.retain(|span| !span.is_empty());
    remaining
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dead_letters_are_subtracted_from_the_gaps() {
        assert_eq!(subtract(vec![3..6, 9..10, 12..20], &[1, 4, 9, 12, 13, 19, 40]), [3..4, 5..6, 14..19]);
        assert_eq!(subtract(vec![0..2, 5..6], &[]), [0..2, 5..6]);
    }

    #[test]
    fn an_account_is_exact_only_if_nothing_is_wrong() {
        let exact = Account { committed: Some(5), consumed: 5, inserted: 5, ..Account::default() };
        assert!(exact.is_exact());
        assert!(Account::default().is_exact(), "nothing consumed, no rows");
        assert!(!Account { missing: 1, ..exact.clone() }.is_exact());
        assert!(!Account { duplicates: 1, ..exact.clone() }.is_exact());
        assert!(!Account { unread: 1, ..exact }.is_exact());
        assert!(!Account { ahead: 1, ..Account::default() }.is_exact(), "rows of a group without an offset");
    }
}
