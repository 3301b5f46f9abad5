//! Makes batches durable, and sends the outcome of each as an [`Event`]. All partitions share one [`Writer`].

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sluice_schemas::records::DeadLetter;
use tokio::sync::{OwnedRwLockReadGuard, Semaphore, SemaphorePermit, mpsc};
use tracing::info;

use super::attempts::Attempts;
use super::destination::Destination;
use super::trust::{SeenAssignments, Trust};
use crate::batch::{Batch, Part};
use crate::clickhouse::client::ClickHouse;
use crate::clickhouse::demand::Demand;
use crate::clickhouse::failures;
use crate::clickhouse::rebuild::Rebuilds;
use crate::clickhouse::view_changes::{Changed, ViewGraphs};
use crate::clickhouse::{lookup, visibility};
use crate::clock;
use crate::config::Retry;
use crate::dead_letter::producer::DeadLetters;
use crate::dead_letter::refetch::Refetch;
use crate::dead_letter::sent::SentLetters;
use crate::event::{self, Assigned, Event};
use crate::exactly_once::intent::Doubt;
use crate::exactly_once::lease::Lease;
use crate::exactly_once::range::Range;
use crate::exactly_once::takeover::{Presence, Start};
use crate::exactly_once::token::{insert_name, token};
use crate::failure::{Class, Failure};
use crate::fault::{Failpoint, Fault, is_injected, reached};
use crate::observe::metrics::{Metrics, Stage};
use crate::target::Target;

/// Older than any token that ClickHouse remembers.
const UNKNOWN_AGE: Duration = Duration::from_secs(u32::MAX as u64);

/// Writes the batches of all partitions.
#[derive(Debug)]
pub struct Writer {
    /// The client of ClickHouse.
    pub clickhouse: ClickHouse,
    /// The producer of dead letters.
    pub dead_letters: DeadLetters,
    /// Finds dead letters of an earlier owner.
    pub sent_letters: SentLetters,
    /// Reads refused records again.
    pub refetch: Refetch,
    /// Rebuilds aggregate tables that may lack rows of their base table.
    pub rebuilds: Rebuilds,
    /// The retry policy.
    pub retry: Retry,
    /// How long the tables have to remember tokens.
    pub demand: Demand,
    /// One permit per INSERT that may be in flight.
    pub permits: Semaphore,
    /// Assignments whose acknowledged rows were visible.
    pub seen: SeenAssignments,
    /// The views that INSERTs reach.
    pub graphs: ViewGraphs,
    /// The channel to the consume loop.
    pub events: mpsc::Sender<Event>,
    /// Metrics of the worker.
    pub metrics: Arc<Metrics>,
}

/// A batch with its owner and its destination.
#[derive(Debug)]
pub struct Job {
    /// Assignment of the batch.
    pub owner: Assigned,
    /// Its destination.
    pub destination: Arc<Destination>,
    /// The lease on its partition.
    pub lease: Arc<Lease>,
    /// When it was announced, in seconds since 1970: none of its rows was sent before.
    pub announced_at: u64,
    /// The batch.
    pub batch: Batch,
}

/// Outcome of sending a part.
pub(super) enum Landed {
    /// Its rows are in the table.
    Whole,
    /// ClickHouse refuses some of its rows, and none of the rows that were sent is in the table.
    Refused {
        /// The refusal.
        failure: Failure,
        /// Offsets in the batch's range that were in the table before.
        present: Vec<i64>,
    },
}

/// Why a part has not landed.
pub(super) enum Obstacle {
    /// An attempt failed; it is retried.
    Failed(Failure),
    /// An operator has to decide; it is not retried.
    Stopped(String),
}

impl From<Failure> for Obstacle {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// Why a batch is stopped until an operator has decided.
pub(super) struct Stop(pub(super) String);

impl Writer {
    /// Makes the batch durable, for as long as it takes, and sends the outcome.
    pub async fn land(&self, job: Job) {
        let owner = job.owner;
        let event = self.try_land(&job).await.unwrap_or_else(|Stop(why)| Some(Event::Stopped { owner, why }));
        drop(job);
        if let Some(event) = event {
            self.send(event).await;
        }
    }

    /// Queries the table for a partition's highest offset, and the dead-letter topic for records of its announced ranges,
    /// until both respond.
    pub async fn open_partition(&self, owner: Assigned, target: &Target, start: &Start) {
        let mut attempts = self.attempts(owner, target, None);
        let highest = loop {
            match self.highest_offset(target, owner.partition, start.committed).await {
                Ok(highest) => break highest,
                Err(failure) => attempts.failed(failure).await,
            }
        };
        let letters = match &start.intent {
            Some(intent) if !is_injected(Fault::IgnoreSentLetters) => loop {
                match self.sent_letters.among(target.topic_id, owner.partition, intent).await {
                    Ok(letters) => break letters,
                    Err(failure) => attempts.failed(failure).await,
                }
            },
            _ => Vec::new(),
        };
        let continuation = start.continue_after(highest);
        self.send(Event::Opened { owner, continuation, letters }).await;
    }

    /// The highest offset in the table. If there is no committed offset, it alone decides where to begin, so running INSERTs and
    /// hidden rows are ruled out first.
    async fn highest_offset(
        &self,
        target: &Target,
        partition: i32,
        committed: Option<i64>,
    ) -> Result<Option<i64>, Failure> {
        if committed.is_none() {
            lookup::check_no_running_insert(&self.clickhouse, target, partition).await?;
            visibility::check(&self.clickhouse, &target.table).await?;
        }
        lookup::highest(&self.clickhouse, target, partition).await
    }

    /// Writes the batch; returns no event if the breaker has opened and the batch is dropped.
    async fn try_land(&self, job: &Job) -> Result<Option<Event>, Stop> {
        let mut attempts = self.attempts(job.owner, &job.destination.target, Some(job.batch.range.first));
        let mut sent_letters = self.land_dead_letters(job, &mut attempts).await;
        for part in &job.batch.parts {
            let started = Instant::now();
            let Some(landed) = self.land_without_refused(job, part, &mut sent_letters, &mut attempts).await? else {
                return Ok(None);
            };
            self.metrics.stage(Stage::Write, started.elapsed());
            self.metrics.landed(&job.destination.target.topic, landed.count(), landed.rows.bytes());
            reached(Failpoint::Landed);
        }
        let dead_lettered = sent_letters.len() + job.batch.dead_lettered_before();
        Ok(Some(written(job, job.batch.records() - dead_lettered, dead_lettered)))
    }

    /// Sends the dead letters of a batch; returns their offsets.
    async fn land_dead_letters(&self, job: &Job, attempts: &mut Attempts<'_>) -> Vec<i64> {
        let letters = self.letters(job, attempts).await;
        if letters.is_empty() {
            return Vec::new();
        }
        let started = Instant::now();
        self.send_letters(job, &letters, attempts).await;
        self.metrics.stage(Stage::DeadLetter, started.elapsed());
        reached(Failpoint::DeadLettered);
        letters.iter().map(|letter| letter.offset).collect()
    }

    /// The dead letters of a batch. If it is in doubt, another decoder may have accepted a record that this one rejects; a record
    /// that has landed is no dead letter.
    async fn letters<'a>(&self, job: &'a Job, attempts: &mut Attempts<'_>) -> Vec<&'a DeadLetter> {
        let letters = &job.batch.dead_letters;
        if letters.is_empty() || doubt(job) == Doubt::No {
            return letters.iter().collect();
        }
        self.metrics.looked_up(&job.destination.target.topic);
        let landed = loop {
            match self.offsets_in_table(job, letters).await {
                Ok(landed) => break landed,
                Err(failure) => attempts.failed(failure).await,
            }
        };
        letters.iter().filter(|letter| landed.binary_search(&letter.offset).is_err()).collect()
    }

    /// The offsets of a batch that are in the table. If a letter's record is missing, hidden rows are ruled out.
    async fn offsets_in_table(&self, job: &Job, letters: &[DeadLetter]) -> Result<Vec<i64>, Failure> {
        let landed =
            lookup::offsets(&self.clickhouse, &job.destination.target, job.owner.partition, job.batch.range).await?;
        if letters.iter().any(|letter| landed.binary_search(&letter.offset).is_err()) {
            visibility::check(&self.clickhouse, &job.destination.target.table).await?;
        }
        Ok(landed)
    }

    /// Sends a part until its rows are in the table; looks them up first if its token is not sufficient.
    pub(super) async fn land_part(&self, job: &Job, part: &Part, attempts: &mut Attempts<'_>) -> Result<Landed, Stop> {
        let mut is_acknowledged = false;
        loop {
            job.lease.wait_until_held().await;
            match self.try_part(job, part, attempts.count, &mut is_acknowledged).await {
                Ok(landed) => {
                    if matches!(landed, Landed::Whole) {
                        attempts.succeeded();
                    }
                    return Ok(landed);
                }
                Err(Obstacle::Failed(failure)) => attempts.failed(failure).await,
                Err(Obstacle::Stopped(why)) => return Err(Stop(why)),
            }
        }
    }

    /// Returns which views have changed since this worker or an earlier owner may have sent the part. Fails if the part must
    /// not be sent again.
    async fn check_views(&self, job: &Job, failed: u32) -> Result<Changed, Failure> {
        let is_first = failed == 0 && !job.batch.may_be_incomplete && doubt(job) == Doubt::No;
        if is_first { Ok(Changed::Nothing) } else { self.view_changes(job).await }
    }

    pub(super) async fn view_changes(&self, job: &Job) -> Result<Changed, Failure> {
        let announcement_age = || announcement_age(job).unwrap_or(UNKNOWN_AGE);
        self.graphs.changed_since(&self.clickhouse, &job.destination.target.table, &self.demand, announcement_age).await
    }

    /// Sends a part once, after `failed` failed attempts. If `is_acknowledged`, it only looks the rows up: a new part is not
    /// sent again once it is acknowledged, nor is one whose rows are in the table more than once.
    async fn try_part(
        &self,
        job: &Job,
        part: &Part,
        failed: u32,
        is_acknowledged: &mut bool,
    ) -> Result<Landed, Obstacle> {
        let changed = self.check_views(job, failed).await?;
        if *is_acknowledged {
            self.ensure_visible(job, part).await?;
            return Ok(Landed::Whole);
        }
        if doubt(job) == Doubt::No && changed == Changed::Nothing {
            let sent = self.insert_trusted(job, part, failed, is_acknowledged).await;
            return self.classify_refusal(job, part, sent, failed).await;
        }
        self.metrics.looked_up(&job.destination.target.topic);
        let (presence, offsets) = self.look_up(job, part).await?;
        if presence == Presence::All {
            self.complete_found(job, part, changed).await?;
            return Ok(Landed::Whole);
        }
        visibility::check(&self.clickhouse, &job.destination.target.table).await?;
        let missing = match presence {
            Presence::Nothing => Cow::Borrowed(part),
            Presence::Some if doubt(job) == Doubt::SendMissing => Cow::Owned(job.batch.without(part, &offsets)),
            _ => return Err(stopped(job, part, &offsets)),
        };
        let sent = self.insert_missing(job, &missing, is_acknowledged).await;
        self.classify_refusal(job, part, sent, failed).await
    }

    /// Sends a part whose token ClickHouse recognises if it has landed, and looks up its rows unless the acknowledgement is
    /// sufficient.
    async fn insert_trusted(
        &self,
        job: &Job,
        part: &Part,
        failed: u32,
        is_acknowledged: &mut bool,
    ) -> Result<(), Failure> {
        let trust = self.trust(job, failed > 0);
        self.insert(job, part, 0).await?;
        match trust {
            Trust::Full => Ok(()),
            Trust::First => {
                *is_acknowledged = true;
                self.ensure_visible(job, part).await
            }
            Trust::Repeated => self.ensure_landed(job, part, is_acknowledged).await,
        }
    }

    /// Classifies a refusal: if all rows are in the table, only a view refuses them.
    async fn classify_refusal(
        &self,
        job: &Job,
        part: &Part,
        sent: Result<(), Failure>,
        failed: u32,
    ) -> Result<Landed, Obstacle> {
        let failure = match sent {
            Ok(()) => return Ok(Landed::Whole),
            Err(failure) if self.is_final(&failure, failed) => failure,
            Err(failure) => return Err(failure.into()),
        };
        self.metrics.looked_up(&job.destination.target.topic);
        match self.look_up(job, part).await? {
            (Presence::All, _) => Err(failures::refused_by_a_view(failure).into()),
            (Presence::Nothing, present) => Ok(Landed::Refused { failure, present }),
            (Presence::Some, present) if doubt(job) == Doubt::SendMissing => Ok(Landed::Refused { failure, present }),
            (Presence::Some | Presence::Duplicated, offsets) => Err(stopped(job, part, &offsets)),
        }
    }

    /// Whether to search for the refused rows now. An unclear failure with HTTP 5xx may be temporary, so it is retried first.
    fn is_final(&self, failure: &Failure, failed: u32) -> bool {
        let is_unclear = failure.is_unclear && !is_injected(Fault::NeverJudgeUnclear);
        failure.class == Class::Row || is_unclear && (failure.class == Class::Operator || failed >= self.retry.quick)
    }

    /// Sends an INSERT. Each `resend` of the same rows, counted from 1, has its own token; 0 is the usual one.
    pub(super) async fn insert(&self, job: &Job, part: &Part, resend: u32) -> Result<(), Failure> {
        let _permits = self.insert_permit(job).await;
        reached(Failpoint::Insert);
        let mut token =
            token(&job.destination.target, job.owner.partition, job.batch.range, part.month, job.batch.digest_of(part));
        if resend > 0 {
            token = format!("{token}:{resend}");
        }
        let name = insert_name(&job.destination.target, job.owner.partition, job.batch.range, part.month);
        self.clickhouse.insert(&job.destination.insert, &name, &token, &part.rows).await
    }

    /// Waits for a permit to send while the lease is held: the wait itself may outlast the lease. It holds no permit while it
    /// waits for a rebuild, so that INSERTs into other tables continue.
    async fn insert_permit(&self, job: &Job) -> (OwnedRwLockReadGuard<()>, SemaphorePermit<'_>) {
        loop {
            let no_rebuild = self.rebuilds.block_rebuilds(&job.destination.target.table).await;
            let permit = self.permits.acquire().await.expect("the semaphore is never closed");
            if job.lease.is_held() {
                return (no_rebuild, permit);
            }
            drop((no_rebuild, permit));
            job.lease.wait_until_held().await;
        }
    }

    /// Completes a part that was already in its table: if its views may lack it, they are completed before anything is
    /// committed.
    async fn complete_found(&self, job: &Job, part: &Part, changed: Changed) -> Result<(), Failure> {
        let Range { first, last } = job.batch.range;
        info!(
            topic = &*job.destination.target.topic,
            partition = job.owner.partition,
            first,
            last,
            month = part.month,
            "already landed"
        );
        let may_lack = changed != Changed::Nothing || job.batch.may_be_incomplete || may_be_forgotten(job);
        if may_lack && !is_injected(Fault::SkipRebuild) {
            self.complete_views(job, part, changed).await?;
        }
        self.metrics.found(&job.destination.target.topic, part.count());
        Ok(())
    }

    /// Rebuilds the aggregates that may lack a part. If they cannot be rebuilt, and only definitions of views have changed, the
    /// same INSERT is repeated and completes them: a view may have been changed since it refused the part.
    async fn complete_views(&self, job: &Job, part: &Part, changed: Changed) -> Result<(), Failure> {
        match self.rebuild(job, part).await {
            Err(failure)
                if failure.class == Class::Operator && changed == Changed::Definitions && doubt(job) == Doubt::No =>
            {
                info!(%failure, "aggregates cannot be rebuilt; repeating the INSERT instead");
                let sent = self.insert(job, part, 0).await;
                sent.map_err(
                    |failure| if failure.class == Class::Row { failures::refused_by_a_view(failure) } else { failure },
                )
            }
            rebuilt => rebuilt,
        }
    }

    /// Rebuilds the aggregates of a part's month.
    pub(super) async fn rebuild(&self, job: &Job, part: &Part) -> Result<(), Failure> {
        let rebuilt = self.rebuilds.rebuild(&self.clickhouse, &job.destination.target.table, part.month).await;
        self.metrics.rebuilt(rebuilt.is_ok());
        rebuilt
    }

    fn attempts<'a>(&'a self, owner: Assigned, target: &'a Target, first: Option<i64>) -> Attempts<'a> {
        Attempts::new(&self.retry, &self.metrics, &self.events, owner, target, first)
    }

    pub(super) async fn send(&self, event: Event) {
        event::send(&self.events, event).await;
    }
}

/// Whether a batch has to be looked up: it is marked so, or it may have been sent so long ago that ClickHouse has forgotten its
/// token.
fn doubt(job: &Job) -> Doubt {
    if is_injected(Fault::SkipLookup) {
        return Doubt::No;
    }
    if job.batch.doubt == Doubt::No && may_be_forgotten(job) { Doubt::AllOrNothing } else { job.batch.doubt }
}

fn may_be_forgotten(job: &Job) -> bool {
    announcement_age(job).is_none_or(|age| age >= job.destination.token_retention)
}

/// Time since a batch was announced; `None` if the announcement is dated in the future, so that its age is unknown.
fn announcement_age(job: &Job) -> Option<Duration> {
    let age = clock::age(job.announced_at, clock::unix_now());
    if is_injected(Fault::TrustFutureAnnouncements) { Some(age.unwrap_or_default()) } else { age }
}

fn written(job: &Job, landed: usize, dead_lettered: usize) -> Event {
    let (owner, range) = (job.owner, job.batch.range);
    Event::Written { owner, range, landed: landed as u64, dead_lettered: dead_lettered as u64 }
}

fn stopped(job: &Job, part: &Part, found: &[i64]) -> Obstacle {
    let Range { first, last } = job.batch.range;
    Obstacle::Stopped(format!(
        "of the {} rows of offsets {first} to {last} in month {}, the table holds only some or holds one twice ({} rows in \
         that range); compare, correct the table or decide with `sluice ingest offsets accept`, then restart",
        part.count(),
        part.month,
        found.len()
    ))
}
