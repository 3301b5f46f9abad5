//! Decodes dead letters again and lands those that can now land, under the original identity of their records.
//! It writes only to ClickHouse, and never to a table without a lookup first.
//!
//! A record lands exactly once, however often replays run, concurrently or not, and wherever they are killed:
//! - rows that are already in the table are not sent;
//! - the token of an INSERT consists of the block and its *state*: which of its letters the table holds. Two replays that see
//!   the same state send the same token, and ClickHouse accepts one of the two INSERTs; the other replay then looks up the
//!   rows again. So an INSERT that a killed replay left running can only land rows in the state it was sent for;
//! - a letter whose record is not below the workers' committed offset is left to the workers.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::warn;
use uuid::Uuid;

use super::block::{Block, Entry, Group, pieces};
use super::rate_limit::RateLimit;
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

/// How long an INSERT in flight may take after a stop.
const GRACE: Duration = Duration::from_secs(5);

/// What to replay, and how.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The letters to replay.
    pub filter: Filter,
    /// Maximum number of records to land.
    pub limit: Option<u64>,
    /// Whether to insert nothing.
    pub dry_run: bool,
}

/// Replays the letters that `options` selects, until `stop` is canceled. `done` contains the progress, even after an
/// error.
pub async fn replay(dlq: &Dlq, options: &Options, stop: &CancellationToken, done: &mut Replayed) -> Result<(), Error> {
    let topics = dlq.topics().await?;
    let dead_letter_topic_id = topics.id(&dlq.topic()).ok_or_else(|| ScanError::NoTopic(dlq.topic()))?;
    let rate_limit = RateLimit::new(dlq.settings.peak_inserts_per_second);
    let replay =
        Replay { dlq, options, stop, done, topics, dead_letter_topic_id, prepared_topics: HashMap::new(), rate_limit };
    // Abandoning a replay loses nothing at any point, so it need not wait longer for a store that does not respond.
    let grace_period = async {
        stop.cancelled().await;
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        outcome = replay.run() => return outcome,
        () = grace_period => {}
    }
    done.is_interrupted = true;
    Ok(())
}

/// Decoder and INSERT for the letters of one topic.
struct TopicReplay {
    decoder: Decoder,
    insert: Insert,
}

struct Replay<'a> {
    dlq: &'a Dlq,
    options: &'a Options,
    stop: &'a CancellationToken,
    done: &'a mut Replayed,
    topics: Topics,
    /// ID of the dead-letter topic. It is part of each token, so that the blocks of a recreated topic have other tokens.
    dead_letter_topic_id: Uuid,
    /// Decoder and INSERT by topic; `None` for a topic that no pipeline of the configuration reads.
    prepared_topics: HashMap<String, Option<TopicReplay>>,
    rate_limit: RateLimit,
}

/// The outcome of an INSERT.
enum InsertOutcome {
    /// ClickHouse has acknowledged the INSERT.
    Acknowledged,
    /// ClickHouse refused the INSERT, and a row may be at fault.
    Refused(Failure),
}

/// Where the rows of one month of a group are sent, and under which identity.
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
        // A scan always starts at the start of the topic: blocks must be the same for every replay.
        let (mut scan, mut current) = (self.dlq.scan(None, Detail::Payload, None)?, None::<Block>);
        loop {
            let Some(item) = self.stop.run_until_cancelled(scan.next()).await else {
                self.done.is_interrupted = true;
                return Ok(());
            };
            let letter = match item? {
                Item::Letter(letter) => letter,
                Item::Duplicate | Item::Foreign => continue,
                Item::End => break,
            };
            if let Some(next) = current.as_ref().and_then(|block| block.next(letter.position)) {
                if let Some(full) = current.replace(next) {
                    self.land(full).await?;
                }
                if self.is_finished() {
                    return Ok(());
                }
            }
            let block = current.get_or_insert_with(|| Block::starting_at(letter.position));
            self.add(block, letter).await?;
        }
        match current {
            Some(block) => self.land(block).await,
            None => Ok(()),
        }
    }

    /// Number of records that may still land.
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
            self.done.filtered_out.add(&letter);
        }
        block.count(&letter);
        if self.options.filter.topic.as_ref().is_some_and(|topic| *topic != letter.source.topic) {
            return Ok(());
        }
        self.prepare(&letter.source.topic).await?;
        if let Some(reason) = self.reason_not_replayable(&letter) {
            if is_selected {
                self.done.record_remaining(&letter.reason, reason);
            }
        } else if let Payload::Omitted(_) = letter.payload {
            block.without_payload.extend(is_selected.then_some(letter));
        } else if let Some(Some(replay)) = self.prepared_topics.get_mut(&letter.source.topic) {
            let payload = letter.contents.take().and_then(|contents| contents.payload);
            block.group(&letter.source).push(&mut replay.decoder, &letter, payload.as_deref(), is_selected);
        }
        Ok(())
    }

    fn reason_not_replayable(&self, letter: &Letter) -> Option<&'static str> {
        if self.dlq.pipeline(&letter.source.topic).is_none() {
            Some(remaining_reason::NO_PIPELINE)
        } else if letter.source.topic_id.is_none() {
            Some(remaining_reason::NO_TOPIC_ID)
        } else if !self.topics.is_committed(letter) {
            Some(remaining_reason::NOT_PASSED)
        } else {
            None
        }
    }

    /// Prepares decoder and INSERT for a topic, once.
    async fn prepare(&mut self, topic: &str) -> Result<(), Error> {
        if self.prepared_topics.contains_key(topic) {
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
                Some(TopicReplay { decoder: plan.decoder, insert: plan.insert })
            }
        };
        self.prepared_topics.insert(topic.to_owned(), prepared);
        Ok(())
    }

    /// Fails if a table that an INSERT reaches would not recognize a repeated INSERT.
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
        for letter in block.without_payload {
            if !self.is_finished() {
                self.land_without_payload(letter).await?;
            }
        }
        Ok(())
    }

    /// Lands a letter that omits the payload, alone: the record is read again from its own topic.
    async fn land_without_payload(&mut self, letter: Letter) -> Result<(), Error> {
        let Some(target) = self.dlq.target(&letter.source) else { return Ok(()) };
        if !self.dlq.landed_offsets(&target, letter.source.partition, &[letter.offset]).await?.is_empty() {
            self.done.landed_before += 1;
            return Ok(());
        }
        let Some(record) = self.dlq.refetch_record(&letter, &self.topics).await? else {
            self.done.record_remaining(&letter.reason, remaining_reason::PAYLOAD_GONE);
            return Ok(());
        };
        let Some(Some(replay)) = self.prepared_topics.get_mut(&letter.source.topic) else { return Ok(()) };
        let mut group = Group::default();
        group.push(&mut replay.decoder, &letter, record.payload.as_deref(), true);
        self.land_group(&letter.source, &group, &format!("alone-{}", letter.offset)).await
    }

    async fn land_group(&mut self, source: &Arc<Source>, group: &Group, label: &str) -> Result<(), Error> {
        let Some(target) = self.dlq.target(source) else { return Ok(()) };
        let offsets = group.offsets();
        let landed = self.dlq.landed_offsets(&target, source.partition, &offsets).await?;
        let has_landed = |entry: &Entry| landed.binary_search(&entry.offset).is_ok();
        for entry in group.entries.iter().filter(|entry| entry.is_selected) {
            if has_landed(entry) {
                self.done.landed_before += 1;
            } else if let Err(reason) = entry.row {
                self.done.record_remaining(&entry.reason, reason);
            }
        }
        let Some(Some(replay)) = self.prepared_topics.get(&source.topic) else { return Ok(()) };
        let insert = replay.insert.clone();
        for month in group.months() {
            let rows = group.of_month(month).filter(|entry| entry.is_selected && !has_landed(entry));
            let rows: Vec<_> = rows.take(usize::try_from(self.remaining()).unwrap_or(usize::MAX)).collect();
            if self.options.dry_run {
                self.done.record_landed(&rows);
            } else if !self.is_finished() {
                let (target, insert, offsets) = (&target, &insert, offsets.as_slice());
                let part = Part { source, target, insert, group, offsets, label, month };
                self.land_month(&part, rows, landed.clone()).await?;
            }
        }
        Ok(())
    }

    /// Lands rows of one month, none of whose offsets is among `landed`.
    async fn land_month(&mut self, part: &Part<'_>, rows: Vec<&Entry>, mut landed: Vec<i64>) -> Result<(), Error> {
        let mut pending = vec![rows];
        while let Some(rows) = pending.pop() {
            let (landed_before, rows) = split_landed(rows, &landed);
            self.done.landed_before += landed_before.len() as u64;
            if rows.is_empty() {
                continue;
            }
            let Some(outcome) = self.send(part, &rows, &landed).await? else {
                self.done.is_interrupted = true;
                return Ok(());
            };
            let before = part.group.state(part.month, &landed);
            landed = self.dlq.landed_offsets(part.target, part.source.partition, part.offsets).await?;
            let is_unchanged = part.group.state(part.month, &landed) == before;
            let (present, absent) = split_landed(rows, &landed);
            match outcome {
                InsertOutcome::Acknowledged if is_unchanged => {
                    for row in absent {
                        self.done.record_remaining(&row.reason, remaining_reason::NOT_IN_TABLE);
                    }
                }
                InsertOutcome::Acknowledged => {
                    self.done.record_landed(&present);
                    // If any rows are absent, another replay has landed other letters of the block in the meantime.
                    pending.push(absent);
                }
                InsertOutcome::Refused(failure) if !present.is_empty() => {
                    let (table, month) = (part.target.table.clone(), part.month);
                    return Err(Error::View { table, month, failure: failures::refused_by_a_view(failure) });
                }
                InsertOutcome::Refused(failure) => match absent.as_slice() {
                    [row] => self.done.record_remaining(&row.reason, &failure.code),
                    rows => pending.extend(pieces(rows, failure.row).into_iter().rev()),
                },
            }
        }
        Ok(())
    }

    /// Sends rows as one INSERT and repeats it until its outcome is known; only then are its views complete. `None` if
    /// the replay was stopped: the rows may or may not have landed.
    async fn send(&mut self, part: &Part<'_>, rows: &[&Entry], landed: &[i64]) -> Result<Option<InsertOutcome>, Error> {
        let (token, rows) = (self.token(part, landed), Group::rows(rows));
        let name = format!("{}replay:{}", insert_prefix(part.target, part.source.partition), part.month);
        let mut attempt = 0;
        loop {
            if self.stop.run_until_cancelled(self.rate_limit.wait()).await.is_none() || self.stop.is_cancelled() {
                return Ok(None);
            }
            if attempt > 0 {
                self.check_windows(&part.target.table).await?;
            }
            reached(Failpoint::ReplayInsert);
            let failure = match self.dlq.clickhouse.insert(part.insert, &name, &token, &rows).await {
                Ok(()) => {
                    reached(Failpoint::ReplayInserted);
                    self.rate_limit.record_insert();
                    return Ok(Some(InsertOutcome::Acknowledged));
                }
                Err(failure) => failure,
            };
            let is_final = failure.class == Class::Operator || attempt >= self.dlq.settings.retry.quick_retries;
            match failure.class {
                Class::Row => return Ok(Some(InsertOutcome::Refused(failure))),
                // A row may be at fault: rows that fail alone remain, and the others land.
                _ if failure.is_unclear && is_final => return Ok(Some(InsertOutcome::Refused(failure))),
                Class::Operator => return Err(Error::Write { table: part.target.table.clone(), failure }),
                Class::Transient => attempt += 1,
            }
            let (table, retry) = (&part.target.table, &self.dlq.settings.retry);
            warn!(table, attempt, %failure, "an INSERT of a replay failed; retrying");
            let (Decision::Again(wait) | Decision::Probe(wait)) =
                decide(retry, failure.class, attempt, u64::from(attempt));
            if self.stop.run_until_cancelled(tokio::time::sleep(wait)).await.is_none() {
                return Ok(None);
            }
        }
    }

    fn token(&self, part: &Part<'_>, landed: &[i64]) -> String {
        let state = part.group.state(part.month, landed);
        replay_token(part.target, part.source.partition, (self.dead_letter_topic_id, part.label), part.month, state)
    }
}

/// Splits entries into those whose offsets are among `landed` (in order) and the others.
fn split_landed<'a>(rows: Vec<&'a Entry>, landed: &[i64]) -> (Vec<&'a Entry>, Vec<&'a Entry>) {
    rows.into_iter().partition(|row| landed.binary_search(&row.offset).is_ok())
}
