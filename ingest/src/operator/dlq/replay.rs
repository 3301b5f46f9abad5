//! Decodes dead letters again and lands those that now can, under the original identity of their records.
//! A filter goes in; rows in tables and a count of each outcome come out. It writes only to ClickHouse, and never to a
//! table without a lookup first.
//!
//! A record lands exactly once, however often replays run, concurrently or not, and wherever they are killed:
//! - rows that are already in the table are not sent;
//! - rows are sent with a token made from their block and from which of its letters the table holds (its *state*). Two
//!   replays that see the same state send the same token, and ClickHouse accepts one of them; the other one then looks
//!   again. So an INSERT that a killed replay left running can only land rows in the state it was sent for;
//! - a letter whose record the workers have not committed past is left to them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::warn;
use uuid::Uuid;

use super::block::{Block, Entry, Group, pieces};
use super::tally::{Replayed, remaining_reason};
use super::topics::Topics;
use super::{Dlq, Error, Filter};
use crate::clickhouse::demand::Demand;
use crate::clickhouse::failures;
use crate::clickhouse::insert::Insert;
use crate::clickhouse::view_graph::ViewGraph;
use crate::clickhouse::visibility;
use crate::dead_letter::letter::{Letter, Payload, Source};
use crate::dead_letter::scan::{Detail, Item, ScanError};
use crate::decode::{Decoder, table};
use crate::exactly_once::token::{insert_prefix, replay_token};
use crate::failure::{Class, Failure};
use crate::fault::{Failpoint, reached};
use crate::target::Target;
use crate::write::retry::{Decision, decide};

/// Fraction (1/4) of `peak_inserts_per_second` that a replay uses: every INSERT shortens the time for which the
/// workers' tokens are remembered.
const RATE_DIVISOR: u32 = 4;

/// How long an INSERT in flight may take after a stop.
const GRACE: Duration = Duration::from_secs(5);

/// What to replay, and how.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Which letters.
    pub filter: Filter,
    /// Maximum number of records to land.
    pub limit: Option<u64>,
    /// Insert nothing.
    pub is_dry: bool,
}

/// Replays the letters selected by `options` until `stop`; `done` contains the progress, even after an error.
pub async fn replay(dlq: &Dlq, options: &Options, stop: &CancellationToken, done: &mut Replayed) -> Result<(), Error> {
    let topics = dlq.topics().await?;
    let dead_letters = topics.id(&dlq.topic()).ok_or_else(|| ScanError::NoTopic(dlq.topic()))?;
    let pace = Pace::new(dlq.settings.peak_inserts_per_second);
    let replay = Replay { dlq, options, stop, done, topics, dead_letters, tables: HashMap::new(), pace };
    // Abandoning it loses nothing at any point, so it does not wait longer for a store that does not respond.
    let grace_over = async {
        stop.cancelled().await;
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        ended = replay.run() => return ended,
        () = grace_over => {}
    }
    done.is_interrupted = true;
    Ok(())
}

/// How to land the letters of one topic.
struct Table {
    decoder: Decoder,
    insert: Insert,
}

struct Replay<'a> {
    dlq: &'a Dlq,
    options: &'a Options,
    stop: &'a CancellationToken,
    done: &'a mut Replayed,
    topics: Topics,
    /// ID of the dead-letter topic: another topic has other blocks.
    dead_letters: Uuid,
    tables: HashMap<String, Option<Table>>,
    pace: Pace,
}

/// The outcome of an INSERT.
enum Sent {
    /// ClickHouse has acknowledged it.
    Acknowledged,
    /// It was refused, and a row may be at fault.
    Refused(Failure),
    /// The replay was stopped; the rows may or may not have landed.
    Interrupted,
}

/// Rows of one month of a group, to be sent to one table.
struct Part<'a> {
    source: &'a Source,
    target: &'a Target,
    insert: &'a Insert,
    group: &'a Group,
    /// Offsets of the group's letters.
    offsets: &'a [i64],
    label: &'a str,
    month: u32,
}

impl Replay<'_> {
    async fn run(mut self) -> Result<(), Error> {
        // Always from the start of the topic: blocks must be the same for every replay.
        let (mut scan, mut current) = (self.dlq.scan(None, Detail::Payload, None)?, None::<Block>);
        loop {
            let Some(item) = self.stop.run_until_cancelled(scan.next()).await else {
                self.done.is_interrupted = true;
                return Ok(());
            };
            let letter = match item? {
                Item::Letter(letter) => letter,
                Item::Again | Item::Foreign => continue,
                Item::End => break,
            };
            if let Some(next) = current.as_ref().and_then(|block| block.next(letter.place)) {
                if let Some(full) = current.replace(next) {
                    self.land(full).await?;
                }
                if self.is_finished() {
                    return Ok(());
                }
            }
            let block = current.get_or_insert_with(|| Block::at(letter.place));
            self.add(block, letter).await?;
        }
        match current {
            Some(block) => self.land(block).await,
            None => Ok(()),
        }
    }

    /// How many may still land.
    fn remaining(&self) -> u64 {
        self.options.limit.map_or(u64::MAX, |limit| limit.saturating_sub(self.done.landed()))
    }

    fn is_finished(&self) -> bool {
        self.done.is_interrupted || self.remaining() == 0
    }

    /// Decodes a letter and adds it to its block, unless it cannot be replayed.
    async fn add(&mut self, block: &mut Block, mut letter: Letter) -> Result<(), Error> {
        let is_selected = self.options.filter.matches(&letter);
        if !is_selected {
            self.done.filtered_out.note(&letter);
        }
        block.pass(&letter);
        if self.options.filter.topic.as_ref().is_some_and(|topic| *topic != letter.source.topic) {
            return Ok(());
        }
        self.prepare(&letter.source.topic).await?;
        if let Some(why) = self.blocker(&letter) {
            if is_selected {
                self.done.keep(&letter.reason, why);
            }
        } else if let Payload::LeftOut(_) = letter.payload {
            block.left_out.extend(is_selected.then_some(letter));
        } else if let Some(Some(table)) = self.tables.get_mut(&letter.source.topic) {
            let payload = letter.contents.take().and_then(|contents| contents.payload);
            block.group(&letter.source).push(&mut table.decoder, &letter, payload.as_deref(), is_selected);
        }
        Ok(())
    }

    fn blocker(&self, letter: &Letter) -> Option<&'static str> {
        if self.dlq.pipeline(&letter.source.topic).is_none() {
            Some(remaining_reason::NO_PIPELINE)
        } else if letter.source.topic_id.is_none() {
            Some(remaining_reason::NO_TOPIC_ID)
        } else if !self.topics.is_passed(letter) {
            Some(remaining_reason::NOT_PASSED)
        } else {
            None
        }
    }

    /// Fits the pipeline of a topic to its table, once.
    async fn prepare(&mut self, topic: &str) -> Result<(), Error> {
        if self.tables.contains_key(topic) {
            return Ok(());
        }
        let prepared = match self.dlq.pipeline(topic) {
            None => None,
            Some((name, pipeline)) => {
                let (clickhouse, table) = (&self.dlq.clickhouse, &pipeline.table);
                let shape = self.dlq.with_retries(table, async || clickhouse.shape(table).await).await?;
                let plan = table::plan(name, pipeline, &shape)?;
                // Landed rows are looked up, so no row may be hidden.
                self.dlq.with_retries(table, async || visibility::check(clickhouse, table).await).await?;
                self.check_windows(table).await?;
                Some(Table { decoder: plan.decoder, insert: plan.insert })
            }
        };
        self.tables.insert(topic.to_owned(), prepared);
        Ok(())
    }

    /// Fails if a table that an INSERT reaches would not recognize it when repeated.
    async fn check_windows(&self, table: &str) -> Result<(), Error> {
        let clickhouse = &self.dlq.clickhouse;
        let graph = self.dlq.with_retries(table, async || ViewGraph::read(clickhouse, table).await).await?;
        graph
            .token_retention(&Demand::minimal())
            .map(drop)
            .map_err(|unsuitable| Error::UnsuitableTable { table: table.to_owned(), unsuitable })
    }

    async fn land(&mut self, block: Block) -> Result<(), Error> {
        let label = block.label();
        for (source, group) in &block.groups {
            if !self.is_finished() {
                self.land_group(source, group, &label).await?;
            }
        }
        for letter in block.left_out {
            if !self.is_finished() {
                self.land_left_out(letter).await?;
            }
        }
        Ok(())
    }

    /// Lands a letter without its payload by itself: the record is read again from its own topic.
    async fn land_left_out(&mut self, letter: Letter) -> Result<(), Error> {
        let Some(target) = self.dlq.target(&letter.source) else { return Ok(()) };
        if !self.dlq.present(&target, letter.source.partition, &[letter.offset]).await?.is_empty() {
            self.done.already += 1;
            return Ok(());
        }
        let Some(record) = self.dlq.refetch_record(&letter, &self.topics).await? else {
            self.done.keep(&letter.reason, remaining_reason::PAYLOAD_GONE);
            return Ok(());
        };
        let Some(Some(table)) = self.tables.get_mut(&letter.source.topic) else { return Ok(()) };
        let mut group = Group::default();
        group.push(&mut table.decoder, &letter, record.payload.as_deref(), true);
        self.land_group(&letter.source, &group, &format!("alone-{}", letter.offset)).await
    }

    async fn land_group(&mut self, source: &Arc<Source>, group: &Group, label: &str) -> Result<(), Error> {
        let Some(target) = self.dlq.target(source) else { return Ok(()) };
        let offsets = group.offsets();
        let present = self.dlq.present(&target, source.partition, &offsets).await?;
        let is_present = |entry: &Entry| present.binary_search(&entry.offset).is_ok();
        for entry in group.entries.iter().filter(|entry| entry.is_selected) {
            if is_present(entry) {
                self.done.already += 1;
            } else if let Err(why) = entry.row {
                self.done.keep(&entry.reason, why);
            }
        }
        let Some(Some(table)) = self.tables.get(&source.topic) else { return Ok(()) };
        let insert = table.insert.clone();
        for month in group.months() {
            let rows = group.of_month(month).filter(|entry| entry.is_selected && !is_present(entry));
            let rows: Vec<_> = rows.take(usize::try_from(self.remaining()).unwrap_or(usize::MAX)).collect();
            if self.options.is_dry {
                self.done.land(&rows);
            } else if !self.is_finished() {
                let (target, insert, offsets) = (&target, &insert, offsets.as_slice());
                let part = Part { source, target, insert, group, offsets, label, month };
                self.land_month(&part, rows, present.clone()).await?;
            }
        }
        Ok(())
    }

    /// Lands rows of one month, none of which is among those `present`.
    async fn land_month(&mut self, part: &Part<'_>, rows: Vec<&Entry>, mut present: Vec<i64>) -> Result<(), Error> {
        let mut waiting = vec![rows];
        while let Some(rows) = waiting.pop() {
            let (already, rows) = split_present(rows, &present);
            self.done.already += already.len() as u64;
            if rows.is_empty() {
                continue;
            }
            let sent = self.send(part, &rows, &present).await?;
            if matches!(sent, Sent::Interrupted) {
                self.done.is_interrupted = true;
                return Ok(());
            }
            let before = part.group.state(part.month, &present);
            present = self.dlq.present(part.target, part.source.partition, part.offsets).await?;
            let is_as_before = part.group.state(part.month, &present) == before;
            let (landed, absent) = split_present(rows, &present);
            match sent {
                Sent::Interrupted => {}
                Sent::Acknowledged if is_as_before => {
                    for row in absent {
                        self.done.keep(&row.reason, remaining_reason::NOT_IN_TABLE);
                    }
                }
                Sent::Acknowledged => {
                    self.done.land(&landed);
                    // If any remain, another replay has landed other letters of the block in between.
                    waiting.push(absent);
                }
                Sent::Refused(failure) if !landed.is_empty() => {
                    let (table, month) = (part.target.table.clone(), part.month);
                    return Err(Error::View { table, month, failure: failures::refused_by_a_view(failure) });
                }
                Sent::Refused(failure) => match absent.as_slice() {
                    [row] => self.done.keep(&row.reason, &failure.code),
                    rows => waiting.extend(pieces(rows, failure.row).into_iter().rev()),
                },
            }
        }
        Ok(())
    }

    /// Sends rows as one INSERT, and repeats it while its outcome is unknown: only then are its views complete.
    async fn send(&mut self, part: &Part<'_>, rows: &[&Entry], present: &[i64]) -> Result<Sent, Error> {
        let (token, rows) = (self.token(part, present), Group::rows(rows));
        let name = format!("{}replay:{}", insert_prefix(part.target, part.source.partition), part.month);
        let mut attempt = 0;
        loop {
            if self.stop.run_until_cancelled(self.pace.wait()).await.is_none() || self.stop.is_cancelled() {
                return Ok(Sent::Interrupted);
            }
            if attempt > 0 {
                self.check_windows(&part.target.table).await?;
            }
            reached(Failpoint::ReplayInsert);
            let failure = match self.dlq.clickhouse.insert(part.insert, &name, &token, &rows).await {
                Ok(()) => {
                    reached(Failpoint::ReplayInserted);
                    self.pace.spend();
                    return Ok(Sent::Acknowledged);
                }
                Err(failure) => failure,
            };
            let is_final = failure.class == Class::Operator || attempt >= self.dlq.settings.retry.quick;
            match failure.class {
                Class::Row => return Ok(Sent::Refused(failure)),
                // It may be a row's fault: rows that fail alone stay, and the others land.
                _ if failure.is_unclear && is_final => return Ok(Sent::Refused(failure)),
                Class::Operator => return Err(Error::Write { table: part.target.table.clone(), failure }),
                Class::Transient => attempt += 1,
            }
            let (table, retry) = (&part.target.table, &self.dlq.settings.retry);
            warn!(table, attempt, %failure, "ClickHouse does not accept a replay; retrying");
            let (Decision::Again(wait) | Decision::Probe(wait)) =
                decide(retry, failure.class, attempt, u64::from(attempt));
            if self.stop.run_until_cancelled(tokio::time::sleep(wait)).await.is_none() {
                return Ok(Sent::Interrupted);
            }
        }
    }

    fn token(&self, part: &Part<'_>, present: &[i64]) -> String {
        let state = part.group.state(part.month, present);
        replay_token(part.target, part.source.partition, (self.dead_letters, part.label), part.month, state)
    }
}

/// The entries whose offsets are among `present` (in order), and the others.
fn split_present<'a>(rows: Vec<&'a Entry>, present: &[i64]) -> (Vec<&'a Entry>, Vec<&'a Entry>) {
    rows.into_iter().partition(|row| present.binary_search(&row.offset).is_ok())
}

/// Limits the rate of a replay's INSERTs.
struct Pace {
    every: Duration,
    next: Instant,
}

impl Pace {
    fn new(peak_inserts_per_second: u32) -> Self {
        let every = Duration::from_secs(u64::from(RATE_DIVISOR)) / peak_inserts_per_second.max(1);
        Self { every, next: Instant::now() }
    }

    async fn wait(&self) {
        tokio::time::sleep_until(self.next).await;
    }

    fn spend(&mut self) {
        self.next = Instant::now() + self.every;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inserts_stay_below_their_rate() {
        let mut pace = Pace::new(40);
        assert_eq!(pace.every, Duration::from_millis(100));
        let before = pace.next;
        pace.spend();
        assert!(pace.next >= before + pace.every);
    }
}
