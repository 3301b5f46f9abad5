//! Rows that ClickHouse refuses: turns them into dead letters, and lands the remaining rows of the part.
//! All refused rows of a part are found first ([`bisect`]), read again from Kafka, checked by the partition's breaker and
//! acknowledged as dead letters; only then are the other rows sent. So no row of a part ever lands before all its refused rows
//! are dead letters.
//!
//! The announced range does not change: a part's token depends on the rows that are sent, so a part with fewer rows has
//! another token, and parts of other months keep theirs.
//!
//! [`bisect`]: crate::clickhouse::bisect

use std::borrow::{Borrow, Cow};
use std::sync::Arc;

use rdkafka::error::KafkaError;
use sluice_schemas::records::DeadLetter;
use tokio::sync::oneshot;
use tracing::warn;

use super::attempts::Attempts;
use super::destination::Destination;
use super::job::Job;
use super::outcome::{PartOutcome, Stop};
use super::writer::Writer;
use crate::batch::Part;
use crate::clickhouse::bisect::{FaultSearch, FaultyRow, FaultyRows};
use crate::clickhouse::failures;
use crate::dead_letter::breaker::RejectedRecord;
use crate::dead_letter::producer;
use crate::dead_letter::refetch::RefetchRequest;
use crate::event::{Event, Refusal};
use crate::exactly_once::range::Range;
use crate::failure::{Class, Failure};
use crate::fault::{Failpoint, reached};

/// Refused rows that become dead letters.
struct RefusedRows<'a> {
    job: &'a Job,
    /// Offsets of all rows that were sent, refused ones included.
    offsets: Vec<i64>,
    /// Offset up to which the breaker has counted the rows.
    counted: &'a mut i64,
}

impl Writer {
    /// Sends a part until its rows are in the table, without those that ClickHouse refuses. Returns the part that landed, or
    /// `None` if the breaker has opened and the batch is dropped.
    pub(super) async fn land_without_refused<'a>(
        &self,
        job: &'a Job,
        part: &'a Part,
        sent: &mut Vec<i64>,
        attempts: &mut Attempts<'_>,
    ) -> Result<Option<Cow<'a, Part>>, Stop> {
        let (mut kept, mut counted, table) = (Cow::Borrowed(part), i64::MIN, &job.destination.target.table);
        while kept.count() > 0 {
            let (failure, present) = match self.land_part(job, &kept, attempts).await? {
                PartOutcome::Landed => break,
                PartOutcome::Refused { failure, present } => (failure, present),
            };
            let refused = job.batch.without(&kept, &present);
            let rows = match self.find_faulty_rows(job, &refused, &failure).await {
                Ok(FaultyRows::Rows(rows)) => rows,
                Ok(FaultyRows::Table) => {
                    attempts.back_off(failures::every_row_refused(failure, table)).await;
                    continue;
                }
                Ok(FaultyRows::NoRow) => {
                    attempts.back_off(failures::no_row_refused(failure, table)).await;
                    continue;
                }
                Err(failure) => {
                    attempts.back_off(failures::in_search(failure)).await;
                    continue;
                }
            };
            log_refused(job, &failure, rows.len());
            let refused_rows =
                RefusedRows { job, offsets: job.batch.offsets(&refused).collect(), counted: &mut counted };
            if !self.dead_letter_rows(refused_rows, &rows, sent, attempts).await? {
                return Ok(None);
            }
            let offsets: Vec<i64> = rows.iter().map(|row| row.offset).collect();
            kept = Cow::Owned(job.batch.without(&kept, &offsets));
            reached(Failpoint::AllRefused);
        }
        Ok(Some(kept))
    }

    /// Searches for the rows at fault; the search counts as one INSERT in flight.
    async fn find_faulty_rows(&self, job: &Job, part: &Part, failure: &Failure) -> Result<FaultyRows, Failure> {
        let _permit = self.permits.acquire().await.expect("the semaphore is never closed");
        self.metrics.count_retry(&job.destination.target.topic, Class::Row);
        let search = FaultSearch::new(&self.clickhouse, &job.destination.insert, &job.batch, part, failure).await?;
        let outcome = search.run().await;
        reached(Failpoint::Searched);
        outcome
    }

    /// Turns refused rows into dead letters. Returns `false` if the breaker has opened instead.
    async fn dead_letter_rows(
        &self,
        mut refused_rows: RefusedRows<'_>,
        mut rows: &[FaultyRow],
        sent: &mut Vec<i64>,
        attempts: &mut Attempts<'_>,
    ) -> Result<bool, Stop> {
        let job = refused_rows.job;
        while !rows.is_empty() {
            let records = rows.iter().map(|row| (row.offset, row.reason.clone())).collect();
            let Destination { target, tenant, .. } = &*job.destination;
            let (partition, tenant, attempts_made) = (job.assignment.partition, tenant.clone(), attempts.count + 1);
            let request = RefetchRequest {
                topic: Arc::clone(&target.topic),
                topic_id: target.topic_id,
                partition,
                tenant_path: tenant,
                records,
                attempts: attempts_made,
            };
            let mut chunks = self.refetch.dead_letters(request, &job.batch.permit);
            let mut is_complete = true;
            while let Some(chunk) = chunks.recv().await {
                let chunk = match chunk {
                    Ok(chunk) => chunk,
                    Err(cause) => {
                        attempts.back_off(refetch_failed(&cause)).await;
                        is_complete = false;
                        break;
                    }
                };
                let (read, unread) = rows.split_at(chunk.letters.len().min(rows.len()));
                ensure_in_topic(read, &chunk.letters)?;
                if !self.may_dead_letter(&mut refused_rows, &chunk.letters, sent).await {
                    return Ok(false);
                }
                self.send_letters(job, &chunk.letters, attempts).await;
                for letter in &chunk.letters {
                    self.metrics.count_dead_letter(&job.destination.target.topic, &letter.reason);
                    sent.push(letter.offset);
                }
                rows = unread;
                reached(Failpoint::Refused);
            }
            if is_complete && let Some(gone) = rows.first() {
                return Err(missing_record(gone));
            }
        }
        Ok(true)
    }

    /// Returns whether the partition's breaker lets these rows become dead letters.
    async fn may_dead_letter(&self, refused_rows: &mut RefusedRows<'_>, letters: &[DeadLetter], sent: &[i64]) -> bool {
        let (reply, response) = oneshot::channel();
        let rows = letters.iter().map(|letter| refused_rows.refusal(letter)).collect();
        let dead_lettered = sent.to_vec();
        self.send(Event::Refused { assignment: refused_rows.job.assignment, rows, dead_lettered, reply }).await;
        // The channel is closed without a reply if the assignment has ended.
        response.await.unwrap_or(false)
    }

    /// Sends dead letters until all are acknowledged.
    pub(super) async fn send_letters<L: Borrow<DeadLetter>>(
        &self,
        job: &Job,
        letters: &[L],
        attempts: &mut Attempts<'_>,
    ) {
        loop {
            job.lease.wait_until_held().await;
            reached(Failpoint::DeadLetter);
            match self.dead_letters.send(letters).await {
                Ok(()) => break,
                Err(failure) => attempts.back_off(failure).await,
            }
        }
        attempts.record_success();
    }
}

impl RefusedRows<'_> {
    /// Returns the refusal of a row, as the breaker counts it.
    fn refusal(&mut self, letter: &DeadLetter) -> Refusal {
        let below = |offset: i64| self.offsets.partition_point(|sent| *sent < offset);
        let accepted_before = below(letter.offset).saturating_sub(below(self.counted.saturating_add(1))) as u64;
        *self.counted = letter.offset.max(*self.counted);
        let rejected = RejectedRecord { tenant: letter.tenant_id, reason: letter.reason.clone() };
        Refusal { accepted_before, offset: letter.offset, rejected }
    }
}

/// Fails unless each row has a letter: a record may no longer be in its topic.
fn ensure_in_topic(rows: &[FaultyRow], letters: &[DeadLetter]) -> Result<(), Stop> {
    let gone = rows.iter().zip(letters).find(|(row, letter)| row.offset != letter.offset);
    gone.map_or(Ok(()), |(row, _)| Err(missing_record(row)))
}

fn missing_record(row: &FaultyRow) -> Stop {
    let FaultyRow { offset, reason } = row;
    Stop(format!("ClickHouse refuses the row at offset {offset} ({reason}), and its record is no longer in its topic"))
}

fn log_refused(job: &Job, failure: &Failure, rows: usize) {
    let (topic, partition, Range { first, last }) =
        (&*job.destination.target.topic, job.assignment.partition, job.batch.range);
    warn!(topic, partition, first, last, rows, %failure, "rows are refused; dead-lettering them and landing the others");
}

/// The failure to read a refused record again.
fn refetch_failed(cause: &KafkaError) -> Failure {
    Failure::new(producer::class(cause), format!("a refused record cannot be read again from its topic: {cause}"))
}
