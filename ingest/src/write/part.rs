//! Sends one part until its rows are in the table, and looks them up first if its token is not sufficient.
//! It never lands a row twice: a part that may have landed is repeated only with its token.

use std::borrow::Cow;
use std::time::Duration;

use tokio::sync::{OwnedRwLockReadGuard, SemaphorePermit};
use tracing::info;

use super::attempts::Attempts;
use super::job::Job;
use super::outcome::{Landed, Obstacle, Stop};
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

/// Older than any token that ClickHouse remembers.
const UNKNOWN_AGE: Duration = Duration::from_secs(u32::MAX as u64);

impl Writer {
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
        let is_first = failed == 0 && !job.batch.may_be_incomplete && job.doubt() == Doubt::No;
        if is_first { Ok(Changed::Nothing) } else { self.view_changes(job).await }
    }

    pub(super) async fn view_changes(&self, job: &Job) -> Result<Changed, Failure> {
        let announcement_age = || job.announcement_age().unwrap_or(UNKNOWN_AGE);
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
        if job.doubt() == Doubt::No && changed == Changed::Nothing {
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
            Presence::Some if job.doubt() == Doubt::SendMissing => Cow::Owned(job.batch.without(part, &offsets)),
            _ => return Err(stopped(job, part, &offsets)),
        };
        let sent = self.insert_missing(job, &missing, is_acknowledged).await;
        self.classify_refusal(job, part, sent, failed).await
    }

    /// Sends a part whose token ClickHouse recognizes if it has landed, and looks up its rows unless the acknowledgement is
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
            (Presence::Some, present) if job.doubt() == Doubt::SendMissing => Ok(Landed::Refused { failure, present }),
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
        let digest = job.batch.digest_of(part);
        let token = token(&job.destination.target, job.owner.partition, job.batch.range, part.month, digest, resend);
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
        let may_lack = changed != Changed::Nothing || job.batch.may_be_incomplete || job.may_be_forgotten();
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
        self.metrics.rebuilt(rebuilt.is_ok());
        rebuilt
    }
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
