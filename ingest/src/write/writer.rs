//! Makes batches durable; one [`Writer`] is shared by all partitions. A batch goes in, and an [`Event`] says what became of it.

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

/// Older than anything that is remembered.
const LONG_AGO: Duration = Duration::from_secs(u32::MAX as u64);

/// Writes batches; shared by all partitions.
#[derive(Debug)]
pub struct Writer {
    /// ClickHouse.
    pub clickhouse: ClickHouse,
    /// The dead-letter topic.
    pub dead_letters: DeadLetters,
    /// Finds dead letters of an earlier owner.
    pub sent_letters: SentLetters,
    /// Reads refused records again.
    pub refetch: Refetch,
    /// Aggregate tables that may lack rows of their base.
    pub rebuilds: Rebuilds,
    /// When to try again.
    pub retry: Retry,
    /// How well the tables have to remember tokens.
    pub demand: Demand,
    /// One permit per INSERT that may run at the same time.
    pub permits: Semaphore,
    /// Which assignments have seen rows of theirs.
    pub seen: SeenAssignments,
    /// What INSERTs reach.
    pub graphs: ViewGraphs,
    /// Where events go.
    pub events: mpsc::Sender<Event>,
    /// What is measured.
    pub metrics: Arc<Metrics>,
}

/// A batch with its owner and where it goes.
#[derive(Debug)]
pub struct Job {
    /// Whose batch.
    pub owner: Assigned,
    /// Where it goes.
    pub destination: Arc<Destination>,
    /// Whether the partition is still ours.
    pub lease: Arc<Lease>,
    /// When Kafka was told of it, seconds since 1970: nothing of it was sent before.
    pub announced_at: u64,
    /// The batch.
    pub batch: Batch,
}

/// What became of a part that was not stopped by a failure.
pub(super) enum Landed {
    /// Its rows are in the table.
    Whole,
    /// ClickHouse refuses some of them, and none of those that were sent is there.
    Refused {
        /// What it said.
        failure: Failure,
        /// Offsets in the batch's range that were there before.
        there: Vec<i64>,
    },
}

/// Why a part has not landed.
pub(super) enum Obstacle {
    /// An attempt failed; another one follows.
    Failed(Failure),
    /// An operator has to decide; nobody tries any further.
    Stopped(String),
}

impl From<Failure> for Obstacle {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// Why a batch is given up until an operator has decided.
pub(super) struct Stop(pub(super) String);

impl Writer {
    /// Makes the batch durable, however long that takes, and says what became of it.
    pub async fn land(&self, job: Job) {
        let owner = job.owner;
        let event = self.try_land(&job).await.unwrap_or_else(|Stop(why)| Some(Event::Stopped { owner, why }));
        drop(job);
        if let Some(event) = event {
            self.send(event).await;
        }
    }

    /// Asks the table how far it is with a partition, and the dead-letter topic what it holds of its announced ranges, until
    /// they answer.
    pub async fn open_partition(&self, owner: Assigned, target: &Target, start: &Start) {
        let mut attempts = self.attempts(owner, target, None);
        let highest = loop {
            match self.highest(target, owner.partition, start.committed).await {
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

    /// The highest offset in the table. Where there is none beside it, it decides alone where to begin.
    async fn highest(&self, target: &Target, partition: i32, committed: Option<i64>) -> Result<Option<i64>, Failure> {
        if committed.is_none() {
            lookup::nothing_runs(&self.clickhouse, target, partition).await?;
            visibility::check(&self.clickhouse, &target.table).await?;
        }
        lookup::highest(&self.clickhouse, target, partition).await
    }

    /// Nothing is told of a batch that is let go.
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

    /// Sends the dead letters that a batch came with; returns their offsets.
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

    /// The dead letters of a batch. Where it is in doubt, another decoder may have taken a record that this one rejects: if
    /// it has landed, it is no dead letter.
    async fn letters<'a>(&self, job: &'a Job, attempts: &mut Attempts<'_>) -> Vec<&'a DeadLetter> {
        let letters = &job.batch.dead_letters;
        if letters.is_empty() || doubt(job) == Doubt::No {
            return letters.iter().collect();
        }
        self.metrics.looked_up(&job.destination.target.topic);
        let there = loop {
            match self.found_of(job, letters).await {
                Ok(there) => break there,
                Err(failure) => attempts.failed(failure).await,
            }
        };
        letters.iter().filter(|letter| there.binary_search(&letter.offset).is_err()).collect()
    }

    /// The offsets of a batch that are in the table. A letter's record that is not found must not only be hidden.
    async fn found_of(&self, job: &Job, letters: &[DeadLetter]) -> Result<Vec<i64>, Failure> {
        let there =
            lookup::offsets(&self.clickhouse, &job.destination.target, job.owner.partition, job.batch.range).await?;
        if letters.iter().any(|letter| there.binary_search(&letter.offset).is_err()) {
            visibility::check(&self.clickhouse, &job.destination.target.table).await?;
        }
        Ok(there)
    }

    /// Sends a part until its rows are in the table, asking the table first where its token may not tell.
    pub(super) async fn land_part(&self, job: &Job, part: &Part, attempts: &mut Attempts<'_>) -> Result<Landed, Stop> {
        let mut is_acknowledged = false;
        loop {
            job.lease.held().await;
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

    /// What was changed behind the table since a part may have been sent, by this worker or by an earlier owner. Fails if the
    /// part must not be sent again.
    async fn changed(&self, job: &Job, failed: u32) -> Result<Changed, Failure> {
        let is_first = failed == 0 && !job.batch.may_be_incomplete && doubt(job) == Doubt::No;
        if is_first { Ok(Changed::Nothing) } else { self.view_changes(job).await }
    }

    pub(super) async fn view_changes(&self, job: &Job) -> Result<Changed, Failure> {
        let announced_for = || announced_for(job).unwrap_or(LONG_AGO);
        self.graphs.changed_since(&self.clickhouse, &job.destination.target.table, &self.demand, announced_for).await
    }

    /// Sends it once, after `failed` attempts that failed. A part that nobody had sent before is not sent again once it is
    /// acknowledged, nor is one whose rows stand there more than once; then it is only looked for.
    async fn try_part(
        &self,
        job: &Job,
        part: &Part,
        failed: u32,
        is_acknowledged: &mut bool,
    ) -> Result<Landed, Obstacle> {
        let changed = self.changed(job, failed).await?;
        if *is_acknowledged {
            self.ensure_visible(job, part).await?;
            return Ok(Landed::Whole);
        }
        if doubt(job) == Doubt::No && changed == Changed::Nothing {
            let sent = self.insert_trusted(job, part, failed, is_acknowledged).await;
            return self.unless_refused(job, part, sent, failed).await;
        }
        self.metrics.looked_up(&job.destination.target.topic);
        let (there, offsets) = self.look_up(job, part).await?;
        if there == Presence::All {
            self.complete_found(job, part, changed).await?;
            return Ok(Landed::Whole);
        }
        visibility::check(&self.clickhouse, &job.destination.target.table).await?;
        let missing = match there {
            Presence::Nothing => Cow::Borrowed(part),
            Presence::Some if doubt(job) == Doubt::SendMissing => Cow::Owned(job.batch.without(part, &offsets)),
            _ => return Err(stopped(job, part, &offsets)),
        };
        let sent = self.insert_missing(job, &missing, is_acknowledged).await;
        self.unless_refused(job, part, sent, failed).await
    }

    /// Sends a part whose token tells whether it has landed, and looks for its rows unless the acknowledgement is enough.
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

    /// Tells rows that the table refuses from those that only a view refuses: then the table has taken them all.
    async fn unless_refused(
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
            (Presence::Nothing, there) => Ok(Landed::Refused { failure, there }),
            (Presence::Some, there) if doubt(job) == Doubt::SendMissing => Ok(Landed::Refused { failure, there }),
            (Presence::Some | Presence::Duplicated, offsets) => Err(stopped(job, part, &offsets)),
        }
    }

    /// Whether it is time to look for the rows that are refused. What says nothing clear and passes with HTTP 5xx may pass
    /// by itself, so it is tried again first.
    fn is_final(&self, failure: &Failure, failed: u32) -> bool {
        let is_unclear = failure.is_unclear && !is_injected(Fault::NeverJudgeUnclear);
        failure.class == Class::Row || is_unclear && (failure.class == Class::Operator || failed >= self.retry.quick)
    }

    /// The `time`th INSERT of the same rows, counted from 0, has a token of its own.
    pub(super) async fn insert(&self, job: &Job, part: &Part, time: u32) -> Result<(), Failure> {
        let _turn = self.insert_permit(job).await;
        reached(Failpoint::Insert);
        let mut token =
            token(&job.destination.target, job.owner.partition, job.batch.range, part.month, job.batch.digest_of(part));
        if time > 0 {
            token = format!("{token}:{time}");
        }
        let name = insert_name(&job.destination.target, job.owner.partition, job.batch.range, part.month);
        self.clickhouse.insert(&job.destination.insert, &name, &token, &part.rows).await
    }

    /// Leave to send, with the partition still ours: waiting for it may take longer than the lease. Who waits for a rebuild
    /// has no permit, so that INSERTs into other tables go on.
    async fn insert_permit(&self, job: &Job) -> (OwnedRwLockReadGuard<()>, SemaphorePermit<'_>) {
        loop {
            let no_rebuild = self.rebuilds.writing(&job.destination.target.table).await;
            let permit = self.permits.acquire().await.expect("nobody closes this semaphore");
            if job.lease.is_held() {
                return (no_rebuild, permit);
            }
            drop((no_rebuild, permit));
            job.lease.held().await;
        }
    }

    /// A part was in its table already. Where its views may lack it, they are made right before anything is committed.
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
        let may_lack = changed != Changed::Nothing || job.batch.may_be_incomplete || is_old(job);
        if may_lack && !is_injected(Fault::SkipRebuild) {
            self.complete(job, part, changed).await?;
        }
        self.metrics.found(&job.destination.target.topic, part.count());
        Ok(())
    }

    /// Makes the aggregates right that may lack a part. Where they cannot be rebuilt, and what they are written to was not
    /// changed, the same INSERT completes them: perhaps a view was changed since it refused the part.
    async fn complete(&self, job: &Job, part: &Part, changed: Changed) -> Result<(), Failure> {
        match self.rebuild(job, part).await {
            Err(failure)
                if failure.class == Class::Operator && changed == Changed::Definitions && doubt(job) == Doubt::No =>
            {
                info!(%failure, "the INSERT is repeated instead");
                let sent = self.insert(job, part, 0).await;
                sent.map_err(
                    |failure| if failure.class == Class::Row { failures::refused_by_a_view(failure) } else { failure },
                )
            }
            rebuilt => rebuilt,
        }
    }

    /// Makes the aggregates of a part's month anew.
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

/// Whether the token of a batch may not tell that it has landed: it is marked so, or it may have been sent so long ago
/// that ClickHouse has forgotten.
fn doubt(job: &Job) -> Doubt {
    if is_injected(Fault::SkipLookup) {
        return Doubt::No;
    }
    if job.batch.doubt == Doubt::No && is_old(job) { Doubt::AllOrNothing } else { job.batch.doubt }
}

fn is_old(job: &Job) -> bool {
    announced_for(job).is_none_or(|age| age >= job.destination.remembered)
}

/// How long ago a batch was announced; one from the future counts as old, since nobody knows how old it is.
fn announced_for(job: &Job) -> Option<Duration> {
    let age = clock::age(job.announced_at, clock::unix_now());
    if is_injected(Fault::TrustFutureAnnouncements) { Some(age.unwrap_or_default()) } else { age }
}

fn written(job: &Job, landed: usize, dead_lettered: usize) -> Event {
    let (owner, range) = (job.owner, job.batch.range);
    Event::Written { owner, range, landed: landed as u64, dead_lettered: dead_lettered as u64 }
}

fn stopped(job: &Job, part: &Part, there: &[i64]) -> Obstacle {
    let Range { first, last } = job.batch.range;
    Obstacle::Stopped(format!(
        "of the {} rows that offsets {first} to {last} have in month {}, the table holds some or holds one twice ({} rows in \
         that range); compare, correct the table or decide with `sluice ingest offsets accept`, then restart",
        part.count(),
        part.month,
        there.len()
    ))
}
