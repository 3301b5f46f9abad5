//! Sends one part until its rows are in the table, and looks them up first if its token is not sufficient.
//! It never lands a row twice: a part that may have landed is repeated only with its token.

use std::borrow::Cow;
use std::time::Duration;

use tokio::sync::{OwnedRwLockReadGuard, SemaphorePermit};
use tracing::info;

use super::attempts::Attempts;
use super::job::Job;
use super::outcome::{Obstacle, PartOutcome, Stop};
use super::trust::Trust;
use super::writer::Writer;
use crate::batch::Part;
use crate::clickhouse::view_changes::Changed;
use crate::clickhouse::{failures, visibility};
use crate::exactly_once::intent::Doubt;
use crate::exactly_once::range::Range;
use crate::exactly_once::takeover::Presence;
use crate::exactly_once::token::{insert_name, token};
use crate::failure::{Class, Failure};
use crate::fault::{Failpoint, Fault, is_injected, reached};

/// Assumed age of an announcement dated in the future: older than any token that ClickHouse remembers.
const UNKNOWN_AGE: Duration = Duration::from_secs(u32::MAX as u64);

impl Writer {
    /// Sends a part until its rows are in the table; looks them up first if its token is not sufficient.
    pub(super) async fn land_part(
        &self,
        job: &Job,
        part: &Part,
        attempts: &mut Attempts<'_>,
    ) -> Result<PartOutcome, Stop> {
        let mut is_acknowledged = false;
        loop {
            job.lease.wait_until_held().await;
            match self.try_part(job, part, attempts.count, &mut is_acknowledged).await {
                Ok(landed) => {
                    if matches!(landed, PartOutcome::Landed) {
                        attempts.record_success();
                    }
                    return Ok(landed);
                }
                Err(Obstacle::Failed(failure)) => attempts.back_off(failure).await,
                Err(Obstacle::Stopped(why)) => return Err(Stop(why)),
            }
        }
    }

    /// Returns which views have changed since this worker or an earlier owner may have sent the part. Fails if the part must
    /// not be sent again.
    async fn check_views(&self, job: &Job, failed: u32) -> Result<Changed, Failure> {
        let is_first = failed == 0 && !job.batch.may_be_incomplete && job.doubt() == Doubt::No;
        if is_first { Ok(Changed::Nothing) } else { self.view_changes(job).await }
    }

    /// Returns which views have changed since the batch was announced.
    pub(super) async fn view_changes(&self, job: &Job) -> Result<Changed, Failure> {
        let announcement_age = || job.announcement_age().unwrap_or(UNKNOWN_AGE);
        self.graphs.changed_since(&self.clickhouse, &job.destination.target.table, &self.demand, announcement_age).await
    }

    /// Makes one attempt to land a part, after `failed` failed attempts. Sets `is_acknowledged` once the part must not be sent again:
    /// it was new and acknowledged, or its rows are in the table more than once. From then on it only looks the rows up.
    async fn try_part(
        &self,
        job: &Job,
        part: &Part,
        failed: u32,
        is_acknowledged: &mut bool,
    ) -> Result<PartOutcome, Obstacle> {
        let changed = self.check_views(job, failed).await?;
        if *is_acknowledged {
            self.ensure_visible(job, part).await?;
            return Ok(PartOutcome::Landed);
        }
        if job.doubt() == Doubt::No && changed == Changed::Nothing {
            let sent = self.insert_by_token(job, part, failed, is_acknowledged).await;
            return self.classify_refusal(job, part, sent, failed).await;
        }
        self.metrics.count_lookup(&job.destination.target.topic);
        let (presence, offsets) = self.look_up(job, part).await?;
        if presence == Presence::All {
            self.complete_landed(job, part, changed).await?;
            return Ok(PartOutcome::Landed);
        }
        visibility::check(&self.clickhouse, &job.destination.target.table).await?;
        let missing = match presence {
            Presence::Nothing => Cow::Borrowed(part),
            Presence::Some if job.doubt() == Doubt::SendMissing => Cow::Owned(job.batch.without(part, &offsets)),
            _ => return Err(unexpected_rows(job, part, &offsets)),
        };
        let sent = self.insert_missing(job, &missing, is_acknowledged).await;
        self.classify_refusal(job, part, sent, failed).await
    }

    /// Sends a part whose token ClickHouse recognizes if it has landed, and looks up its rows unless the acknowledgement is
    /// sufficient.
    async fn insert_by_token(
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

    /// Classifies a refusal: if all rows are in the table, only a view refuses the part.
    async fn classify_refusal(
        &self,
        job: &Job,
        part: &Part,
        sent: Result<(), Failure>,
        failed: u32,
    ) -> Result<PartOutcome, Obstacle> {
        let failure = match sent {
            Ok(()) => return Ok(PartOutcome::Landed),
            Err(failure) if self.is_final(&failure, failed) => failure,
            Err(failure) => return Err(failure.into()),
        };
        self.metrics.count_lookup(&job.destination.target.topic);
        match self.look_up(job, part).await? {
            (Presence::All, _) => Err(failures::refused_by_a_view(failure).into()),
            (Presence::Nothing, present) => Ok(PartOutcome::Refused { failure, present }),
            (Presence::Some, present) if job.doubt() == Doubt::SendMissing => {
                Ok(PartOutcome::Refused { failure, present })
            }
            (Presence::Some | Presence::Duplicated, offsets) => Err(unexpected_rows(job, part, &offsets)),
        }
    }

    /// Whether to search for the refused rows now. An unclear failure with HTTP 5xx may be temporary, so it is retried first.
    fn is_final(&self, failure: &Failure, failed: u32) -> bool {
        let is_unclear = failure.is_unclear && !is_injected(Fault::NeverSearchUnclear);
        failure.class == Class::Row
            || is_unclear && (failure.class == Class::Operator || failed >= self.retry.quick_retries)
    }

    /// Sends an INSERT. Each `resend` of the same rows, counted from 1, has its own token; 0 selects the usual token.
    pub(super) async fn insert(&self, job: &Job, part: &Part, resend: u32) -> Result<(), Failure> {
        let _permits = self.insert_permit(job).await;
        reached(Failpoint::Insert);
        let digest = job.batch.digest_of(part);
        let token =
            token(&job.destination.target, job.assignment.partition, job.batch.range, part.month, digest, resend);
        let name = insert_name(&job.destination.target, job.assignment.partition, job.batch.range, part.month);
        self.clickhouse.insert(&job.destination.insert, &name, &token, &part.rows).await
    }

    /// Waits for a permit to send with a valid lease: the wait for the permit may outlast the lease. It holds no permit while
    /// it waits for a rebuild, so that INSERTs into other tables continue.
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

    /// Completes a part that was already in its table: if the views may lack it, they are completed before its offsets are
    /// committed.
    async fn complete_landed(&self, job: &Job, part: &Part, changed: Changed) -> Result<(), Failure> {
        let Range { first, last } = job.batch.range;
        info!(
            topic = &*job.destination.target.topic,
            partition = job.assignment.partition,
            first,
            last,
            month = part.month,
            "already landed"
        );
        let views_may_lack_part = changed != Changed::Nothing || job.batch.may_be_incomplete || job.may_be_forgotten();
        if views_may_lack_part && !is_injected(Fault::SkipRebuild) {
            self.complete_views(job, part, changed).await?;
        }
        self.metrics.count_found_rows(&job.destination.target.topic, part.count());
        Ok(())
    }

    /// Rebuilds the aggregates that may lack a part. If they cannot be rebuilt, and only definitions of views have changed, it
    /// repeats the same INSERT to complete them: a view may have been changed since it refused the part.
    async fn complete_views(&self, job: &Job, part: &Part, changed: Changed) -> Result<(), Failure> {
        match self.rebuild(job, part).await {
            Err(failure)
                if failure.class == Class::Operator && changed == Changed::Definitions && job.doubt() == Doubt::No =>
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
        self.metrics.count_rebuild(rebuilt.is_ok());
        rebuilt
    }
}

/// Why a batch stops if the table holds only some of a part's rows, or holds one twice.
fn unexpected_rows(job: &Job, part: &Part, found: &[i64]) -> Obstacle {
    let Range { first, last } = job.batch.range;
    Obstacle::Stopped(format!(
        "of the {} rows of offsets {first} to {last} in month {}, the table holds only some or holds one twice ({} rows in \
         that range); stop all workers, compare the table with the topic, correct the table or decide with `sluice ingest \
         offsets accept`, and start the workers again",
        part.count(),
        part.month,
        found.len()
    ))
}
