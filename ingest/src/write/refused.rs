//! Rows that ClickHouse refuses, from the refusal of a part until what is left of it has landed.
//! A part goes in. Its refused rows are found all at once ([`judge`]), read again from Kafka, put before the partition's
//! breaker and acknowledged as dead letters; only then the others are sent. So whoever finds dead letters of some of the
//! rows knows that nothing of the part has landed without the rest of them.
//!
//! The range stays announced as it is: a part's token is made of the rows that are sent, so a part with fewer rows is
//! another part, and parts of other months are what they were.
//!
//! [`judge`]: crate::clickhouse::bisect

use std::borrow::{Borrow, Cow};
use std::sync::Arc;

use rdkafka::error::KafkaError;
use sluice_schemas::records::DeadLetter;
use tokio::sync::oneshot;
use tracing::warn;

use super::attempts::Attempts;
use super::destination::Destination;
use super::writer::{Job, Landed, Stop, Writer};
use crate::batch::Part;
use crate::clickhouse::bisect::{FaultSearch, FaultyRow, FaultyRows};
use crate::clickhouse::failures;
use crate::dead_letter::breaker::Poison;
use crate::dead_letter::producer;
use crate::dead_letter::refetch::RefetchRequest;
use crate::event::{Event, Refusal};
use crate::exactly_once::range::Range;
use crate::failure::{Class, Failure};
use crate::fault::{Failpoint, reached};

/// Refused rows on their way to the dead-letter topic.
struct Aside<'a> {
    job: &'a Job,
    /// Offsets of the rows that were sent together with them.
    offsets: Vec<i64>,
    /// The breaker has counted the rows up to this offset.
    counted: &'a mut i64,
}

impl Writer {
    /// Sends a part until its rows are in the table, without those that ClickHouse refuses. Gives back what has landed;
    /// nothing where the breaker has opened and the batch is let go.
    pub(super) async fn land_without_refused<'a>(
        &self,
        job: &'a Job,
        part: &'a Part,
        sent: &mut Vec<i64>,
        attempts: &mut Attempts<'_>,
    ) -> Result<Option<Cow<'a, Part>>, Stop> {
        let (mut kept, mut counted, table) = (Cow::Borrowed(part), i64::MIN, &job.destination.target.table);
        while kept.count() > 0 {
            let (failure, there) = match self.land_part(job, &kept, attempts).await? {
                Landed::Whole => break,
                Landed::Refused { failure, there } => (failure, there),
            };
            let refused = job.batch.without(&kept, &there);
            let rows = match self.judge(job, &refused, &failure).await {
                Ok(FaultyRows::Rows(rows)) => rows,
                Ok(FaultyRows::Table) => {
                    attempts.failed(failures::every_row_refused(failure, table)).await;
                    continue;
                }
                Ok(FaultyRows::NoRow) => {
                    attempts.failed(failures::no_row_refused(failure, table)).await;
                    continue;
                }
                Err(failure) => {
                    attempts.failed(failures::in_search(failure)).await;
                    continue;
                }
            };
            tell(job, &failure, rows.len());
            let aside = Aside { job, offsets: job.batch.offsets(&refused).collect(), counted: &mut counted };
            if !self.set_aside(aside, &rows, sent, attempts).await? {
                return Ok(None);
            }
            let offsets: Vec<i64> = rows.iter().map(|row| row.offset).collect();
            kept = Cow::Owned(job.batch.without(&kept, &offsets));
            reached(Failpoint::SetAside);
        }
        Ok(Some(kept))
    }

    /// Finds the rows at fault; it counts as one INSERT on its way.
    async fn judge(&self, job: &Job, part: &Part, failure: &Failure) -> Result<FaultyRows, Failure> {
        let _permit = self.permits.acquire().await.expect("nobody closes this semaphore");
        self.metrics.retry(&job.destination.target.topic, Class::Row);
        let judge = FaultSearch::new(&self.clickhouse, &job.destination.insert, &job.batch, part, failure).await?;
        let judged = judge.judge().await;
        reached(Failpoint::Judged);
        judged
    }

    /// Makes dead letters of refused rows. Says whether it did: the breaker may have opened instead.
    async fn set_aside(
        &self,
        mut aside: Aside<'_>,
        mut rows: &[FaultyRow],
        sent: &mut Vec<i64>,
        attempts: &mut Attempts<'_>,
    ) -> Result<bool, Stop> {
        let job = aside.job;
        while !rows.is_empty() {
            let records = rows.iter().map(|row| (row.offset, row.reason.clone())).collect();
            let Destination { target, tenant, .. } = &*job.destination;
            let (partition, tenant, attempts_made) = (job.owner.partition, tenant.clone(), attempts.count + 1);
            let wanted = RefetchRequest {
                topic: Arc::clone(&target.topic),
                topic_id: target.topic_id,
                partition,
                tenant,
                records,
                attempts: attempts_made,
            };
            let mut chunks = self.refetch.dead_letters(wanted, &job.batch.permit);
            let mut is_all = true;
            while let Some(chunk) = chunks.recv().await {
                let chunk = match chunk {
                    Ok(chunk) => chunk,
                    Err(cause) => {
                        attempts.failed(unread(&cause)).await;
                        is_all = false;
                        break;
                    }
                };
                let (own, rest) = rows.split_at(chunk.letters.len().min(rows.len()));
                is_there(own, &chunk.letters)?;
                if !self.may_dead_letter(&mut aside, &chunk.letters, sent).await {
                    return Ok(false);
                }
                self.send_letters(job, &chunk.letters, attempts).await;
                for letter in &chunk.letters {
                    self.metrics.dead_letter(&job.destination.target.topic, &letter.reason);
                    sent.push(letter.offset);
                }
                rows = rest;
                reached(Failpoint::Refused);
            }
            if is_all && let Some(gone) = rows.first() {
                return Err(of_gone(gone));
            }
        }
        Ok(true)
    }

    /// Asks the partition's breaker whether these may become dead letters.
    async fn may_dead_letter(&self, aside: &mut Aside<'_>, letters: &[DeadLetter], sent: &[i64]) -> bool {
        let (answer, answered) = oneshot::channel();
        let rows = letters.iter().map(|letter| aside.refusal(letter)).collect();
        let sent = sent.to_vec();
        self.send(Event::Refused { owner: aside.job.owner, rows, sent, answer }).await;
        // Without an answer the assignment has ended.
        answered.await.unwrap_or(false)
    }

    /// Sends dead letters until all are acknowledged.
    pub(super) async fn send_letters<L: Borrow<DeadLetter>>(
        &self,
        job: &Job,
        letters: &[L],
        attempts: &mut Attempts<'_>,
    ) {
        loop {
            job.lease.held().await;
            reached(Failpoint::DeadLetter);
            match self.dead_letters.send(letters).await {
                Ok(()) => break,
                Err(failure) => attempts.failed(failure).await,
            }
        }
        attempts.succeeded();
    }
}

impl Aside<'_> {
    /// What the breaker has to know of a refused row.
    fn refusal(&mut self, letter: &DeadLetter) -> Refusal {
        let below = |offset: i64| self.offsets.partition_point(|one| *one < offset);
        let fine = below(letter.offset).saturating_sub(below(self.counted.saturating_add(1))) as u64;
        *self.counted = letter.offset.max(*self.counted);
        let poison = Poison { tenant: letter.tenant_id, reason: letter.reason.clone() };
        Refusal { fine, offset: letter.offset, poison }
    }
}

/// Fails unless the letters are those of these rows: a record may be gone from its topic.
fn is_there(rows: &[FaultyRow], letters: &[DeadLetter]) -> Result<(), Stop> {
    let gone = rows.iter().zip(letters).find(|(row, letter)| row.offset != letter.offset);
    gone.map_or(Ok(()), |(row, _)| Err(of_gone(row)))
}

fn of_gone(row: &FaultyRow) -> Stop {
    let FaultyRow { offset, reason } = row;
    Stop(format!("ClickHouse refuses the row of offset {offset} ({reason}), and its record is no longer in its topic"))
}

fn tell(job: &Job, failure: &Failure, rows: usize) {
    let (topic, partition, Range { first, last }) =
        (&*job.destination.target.topic, job.owner.partition, job.batch.range);
    warn!(topic, partition, first, last, rows, %failure, "rows are refused; they become dead letters and the others land");
}

/// Kafka does not return a record that has to become a dead letter.
fn unread(cause: &KafkaError) -> Failure {
    Failure::new(producer::class(cause), format!("a record that is refused cannot be read again: {cause}"))
}
