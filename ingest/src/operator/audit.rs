//! The offset audit: inserted + dead-lettered = consumed, for every partition, as Kafka, the table and the dead-letter
//! topic say it. Settings go in, an [`Account`] of each partition comes out. It reads only, and believes no counter of a
//! worker.
//!
//! What is below the group's offset is consumed: each of those offsets has to have its row once, or its dead letter. Coverage
//! are counted by three figures in one pass over the projection `by_offset` (see [`crate::clickhouse::coverage::sums`]); only where those are not what
//! they should be is it looked which offsets are at fault. Offsets that never had a record (aborted transactions,
//! compaction) look like losses there, and reading those stretches from Kafka tells them apart.
//!
//! The audit goes back to the first row or dead letter. Where dead letters have expired in their topic, a record that lacks
//! its row may have had one; then it goes back to the start of the log, since dead letters are kept for longer than records.
//!
//! # Layout
//! - [`crate::clickhouse::coverage`]: what the rows of a table add up to
//! - [`scan`]: which offsets have a record

pub mod scan;

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt, stream};
use rdkafka::ClientConfig;
use sluice_schemas::names::Names;
use sluice_schemas::stores::Stores;

use super::dlq::{self, Dlq, Filter, State};
use crate::clickhouse::client::ClickHouse;
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

/// How long ClickHouse may take for one answer.
const PATIENCE: Duration = Duration::from_hours(1);

/// Partitions that are asked about at the same time, unless their distinct offsets are counted, which takes memory.
const AT_ONCE: usize = 4;

/// What an audit ends on instead of an account.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Kafka does not say where the group stands.
    #[error(transparent)]
    TopicOffsets(#[from] offsets::Error),
    /// The dead letters cannot be read.
    #[error(transparent)]
    Letters(#[from] dlq::Error),
    /// ClickHouse does not answer, or not as it should.
    #[error("ask table {table} what it holds: {failure}; check that ClickHouse runs, and [stores.clickhouse]")]
    ClickHouse {
        /// The table.
        table: String,
        /// What happened.
        failure: Failure,
    },
    /// Coverage may be there that this user does not see, so nothing can be said about any.
    #[error("audit table {table}: {failure}")]
    Blind {
        /// The table.
        table: String,
        /// What hides rows.
        failure: Failure,
    },
    /// No pipeline consumes the topic.
    #[error("find the pipeline of topic {0}: ingest.pipelines has none of that name")]
    NoPipeline(String),
    /// The HTTP client cannot be made.
    #[error("prepare the HTTP client: {0}")]
    Http(#[from] reqwest::Error),
}

/// How closely to look.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Options {
    /// Count the distinct offsets as well, which takes memory, so that nothing whatever can cancel out.
    pub exact: bool,
    /// Read from Kafka what seems to be missing.
    pub scan: bool,
}

/// What became of the records of one partition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Account {
    /// Topic with its namespace.
    pub topic: String,
    /// Its partition.
    pub partition: i32,
    /// The group's offset.
    pub committed: Option<i64>,
    /// The start and the end of the log.
    pub log: (i64, i64),
    /// The first offset that was looked at.
    pub from: i64,
    /// Offsets from there up to the group's, without those that have no record as far as that is known.
    pub consumed: u64,
    /// Of those, how many have a row.
    pub inserted: u64,
    /// Of those, how many have a dead letter and no row.
    pub dead_lettered: u64,
    /// Of those, how many have a dead letter and a row: replayed.
    pub replayed: u64,
    /// Of those, how many have neither.
    pub missing: u64,
    /// Where some of them are.
    pub missing_at: Vec<Range<i64>>,
    /// Coverage too many.
    pub doubled: u64,
    /// Offsets of some of them.
    pub doubled_at: Vec<i64>,
    /// Offsets that have no record, as Kafka says.
    pub empty: u64,
    /// Records that were deleted from the log before they were consumed.
    pub unread: u64,
    /// Coverage from before the first offset that was looked at.
    pub older: u64,
    /// Coverage at or above the group's offset: on their way, and not yet committed.
    pub ahead: u64,
}

impl Account {
    /// Whether every record has its place and no more than that.
    pub fn is_exact(&self) -> bool {
        let is_consumed = self.committed.is_some() || self.ahead == 0;
        is_consumed && self.missing == 0 && self.doubled == 0 && self.unread == 0
    }
}

/// Dead letters of one partition, by their offsets, in order.
#[derive(Debug, Default)]
struct Letters {
    waiting: Vec<i64>,
    landed: Vec<i64>,
}

/// Everything that is audited.
#[derive(Debug)]
pub struct Audit {
    settings: Settings,
    stores: Stores,
    names: Names,
    clickhouse: ClickHouse,
    options: Options,
}

impl Audit {
    /// Opens no connection yet.
    pub fn new(settings: Settings, stores: Stores, names: Names, options: Options) -> Result<Self, Error> {
        let clickhouse = ClickHouse::new(&stores.clickhouse, &names.database(), PATIENCE)?;
        Ok(Self { settings, stores, names, clickhouse, options })
    }

    /// Draws up the accounts of one topic (with its namespace), or of those of all pipelines that are not switched off.
    pub async fn run(&self, topic: Option<&str>) -> Result<Vec<Account>, Error> {
        self.accounts(topic, None).await
    }

    async fn accounts(&self, topic: Option<&str>, only: Option<(i32, i64)>) -> Result<Vec<Account>, Error> {
        let topics = self.topics(topic)?;
        let names: Vec<_> = topics.iter().map(|(topic, _)| topic.clone()).collect();
        // The offsets come first: what is below them is durable by then, however busy the workers are.
        let all_offsets = offsets::ask(self.kafka(), names).await?;
        let errors = vec![self.names.topic(&self.settings.dead_letter_topic)];
        let errors = async { offsets::ask(self.kafka(), errors).await.map_err(Error::from) };
        let (errors, letters) = tokio::try_join!(errors, self.letters(topic))?;
        let is_whole = errors.iter().all(TopicOffsets::is_whole);
        for (_, table) in &topics {
            let blind = |failure| Error::Blind { table: table.clone(), failure };
            visibility::check(&self.clickhouse, table).await.map_err(blind)?;
        }
        let mut jobs = Vec::new();
        for ((topic, table), topic_offsets) in topics.iter().zip(&all_offsets) {
            let target = Target::new(topic, topic_offsets.id, &self.names, table);
            for (partition, found) in &topic_offsets.partitions {
                let mut found = found.clone();
                match only {
                    Some((wanted, _)) if wanted != *partition => continue,
                    Some((_, until)) => found.committed = Some(until),
                    None => {}
                }
                let key = Source { topic: topic.clone(), topic_id: Some(topic_offsets.id), partition: *partition };
                jobs.push((target.clone(), key, found));
            }
        }
        let none = Letters::default();
        let accounts = jobs.iter().map(|(target, key, found)| {
            let letters = letters.get(key).unwrap_or(&none);
            self.account(target, key.partition, found, letters, is_whole)
        });
        let at_once = if self.options.exact { 1 } else { AT_ONCE };
        stream::iter(accounts).buffered(at_once).try_collect().await
    }

    /// The account of one partition as if the group's offset were `until`.
    pub async fn up_to(&self, topic: &str, partition: i32, until: i64) -> Result<Account, Error> {
        let accounts = self.accounts(Some(topic), Some((partition, until))).await?;
        accounts.into_iter().next().ok_or_else(|| offsets::Error::NoTopic(format!("{topic} {partition}")).into())
    }

    fn topics(&self, topic: Option<&str>) -> Result<Vec<(String, String)>, Error> {
        let found = self.settings.tables(&self.names, topic);
        found.ok_or_else(|| Error::NoPipeline(topic.unwrap_or_default().to_owned()))
    }

    fn kafka(&self) -> ClientConfig {
        offsets::client_config(&self.settings, &self.stores, &self.names)
    }

    async fn letters(&self, topic: Option<&str>) -> Result<BTreeMap<Source, Letters>, Error> {
        let dlq = Dlq::open(self.settings.clone(), self.stores.clone(), self.names.clone(), false).await?;
        let filter = Filter { topic: topic.map(str::to_owned), ..Filter::default() };
        let mut letters = BTreeMap::<Source, Letters>::new();
        let take = |letter: &Letter, state: State| {
            let own = letters.entry(Source::clone(&letter.source)).or_default();
            match state {
                State::Landed => own.landed.push(letter.offset),
                State::Waiting | State::Unknown => own.waiting.push(letter.offset),
            }
        };
        dlq.each(&filter, false, take).await?;
        for own in letters.values_mut() {
            own.waiting.sort_unstable();
            own.landed.sort_unstable();
        }
        Ok(letters)
    }

    async fn account(
        &self,
        target: &Target,
        partition: i32,
        found: &PartitionOffsets,
        letters: &Letters,
        is_whole: bool,
    ) -> Result<Account, Error> {
        let failed = |failure| Error::ClickHouse { table: target.table.clone(), failure };
        let rows = Coverage { clickhouse: &self.clickhouse, target, partition };
        let until = found.committed.unwrap_or(found.ends.low);
        let low = found.ends.low.min(until);
        let before = rows.sums(&(0..low), false).await.map_err(failed)?;
        let first_letter = letters.waiting.iter().chain(&letters.landed).min();
        let earliest = before.0.into_iter().chain(first_letter.copied()).fold(low, i64::min);
        let range = if is_whole { earliest..until } else { low..until };
        let (_, sums, distinct) = rows.sums(&range, self.options.exact).await.map_err(failed)?;
        let ahead = rows.sums(&(until..i64::MAX), false).await.map_err(failed)?.1.count;
        let within = |offsets: &[i64]| offsets.iter().copied().filter(|at| range.contains(at)).collect::<Vec<_>>();
        let (waiting, landed) = (within(&letters.waiting), within(&letters.landed));
        let mut account = Account {
            topic: target.topic.to_string(),
            partition,
            committed: found.committed,
            log: (found.ends.low, found.ends.high),
            from: range.start,
            dead_lettered: waiting.len() as u64,
            replayed: landed.len() as u64,
            unread: found.committed.map_or(0, |committed| (found.ends.low - committed).max(0).cast_unsigned()),
            older: if range.start < low { 0 } else { before.1.count },
            ahead,
            ..Account::default()
        };
        let should = waiting.iter().fold(Sums::of_range(&range), |sums, at| sums.minus(Sums::default().with(*at)));
        if sums == should && distinct.is_none_or(|distinct| distinct == sums.count) {
            account.inserted = sums.count;
            account.consumed = sums.count + account.dead_lettered;
        } else {
            self.find_fault(&mut account, rows, &range, sums, &waiting).await?;
        }
        Ok(account)
    }

    /// Looks which offsets are at fault.
    async fn find_fault(
        &self,
        account: &mut Account,
        rows: Coverage<'_>,
        range: &Range<i64>,
        sums: Sums,
        waiting: &[i64],
    ) -> Result<(), Error> {
        let failed = |failure| Error::ClickHouse { table: rows.target.table.clone(), failure };
        let Duplicates { count, some } = rows.duplicates(range).await.map_err(failed)?;
        let mut missing = without(rows.gaps(range).await.map_err(failed)?, waiting);
        let length =
            |stretches: &[Range<i64>]| -> u64 { stretches.iter().map(|s| (s.end - s.start).cast_unsigned()).sum() };
        if self.options.scan {
            let before = length(&missing);
            missing = self.with_a_record(&account.topic, account.partition, account.log.0, missing).await?;
            account.empty = before - length(&missing);
        }
        account.doubled = count;
        account.doubled_at = some;
        account.inserted = sums.count - count;
        account.missing = length(&missing);
        account.consumed = account.inserted + account.dead_lettered + account.missing;
        account.missing_at = missing.into_iter().take(5).collect();
        Ok(())
    }

    /// What of these stretches has a record; of what is below the log nobody can tell any more, so it stays.
    async fn with_a_record(
        &self,
        topic: &str,
        partition: i32,
        low: i64,
        stretches: Vec<Range<i64>>,
    ) -> Result<Vec<Range<i64>>, Error> {
        let clip = |from: i64, to: i64| {
            let clipped = stretches.iter().map(move |s| s.start.max(from)..s.end.min(to));
            clipped.filter(|stretch| !stretch.is_empty())
        };
        let (mut left, readable) = (clip(0, low).collect::<Vec<_>>(), clip(low, i64::MAX).collect::<Vec<_>>());
        for offset in scan::records(self.kafka(), topic, partition, readable).await? {
            match left.last_mut().filter(|stretch| stretch.end == offset) {
                Some(stretch) => stretch.end += 1,
                None => left.push(offset..offset + 1),
            }
        }
        Ok(left)
    }
}

impl TopicOffsets {
    /// Whether nothing of the topic has been deleted yet.
    fn is_whole(&self) -> bool {
        self.partitions.values().all(|found| found.ends.low == 0)
    }
}

/// Stretches (in order) without some offsets (in order).
fn without(stretches: Vec<Range<i64>>, offsets: &[i64]) -> Vec<Range<i64>> {
    let mut left = Vec::new();
    for stretch in stretches {
        let mut start = stretch.start;
        let first = offsets.partition_point(|offset| *offset < stretch.start);
        for offset in offsets[first..].iter().take_while(|offset| **offset < stretch.end) {
            left.push(start..*offset);
            start = offset + 1;
        }
        left.push(start..stretch.end);
    }
    left.retain(|stretch| !stretch.is_empty());
    left
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dead_letters_are_taken_out_of_the_gaps() {
        assert_eq!(without(vec![3..6, 9..10, 12..20], &[1, 4, 9, 12, 13, 19, 40]), [3..4, 5..6, 14..19]);
        assert_eq!(without(vec![0..2, 5..6], &[]), [0..2, 5..6]);
    }

    #[test]
    fn an_account_is_exact_only_if_nothing_is_wrong_at_all() {
        let exact = Account { committed: Some(5), consumed: 5, inserted: 5, ..Account::default() };
        assert!(exact.is_exact());
        assert!(Account::default().is_exact(), "nothing consumed, nothing there");
        assert!(!Account { missing: 1, ..exact.clone() }.is_exact());
        assert!(!Account { doubled: 1, ..exact.clone() }.is_exact());
        assert!(!Account { unread: 1, ..exact }.is_exact());
        assert!(!Account { ahead: 1, ..Account::default() }.is_exact(), "rows of a group that has no offset");
    }
}
