//! Confirms acknowledgements. ClickHouse acknowledges a part that it drops as a repetition just like one that it stores, and a
//! user may lack the privilege to read what it has written.
//! So the rows of an acknowledged part are looked up in the table. A part is never sent with another token unless its rows
//! are proven to be missing.

use std::time::Duration;

use tracing::warn;

use super::job::Job;
use super::trust::Trust;
use super::writer::Writer;
use crate::batch::Part;
use crate::clickhouse::failures;
use crate::clickhouse::{lookup, visibility};
use crate::exactly_once::takeover::{self, Presence};
use crate::failure::Failure;
use crate::fault::{Fault, is_injected};

/// Maximum number of tokens with which the same rows are sent, in sequence.
const MAX_TOKENS: u32 = 10;
/// Maximum number of lookups of acknowledged rows: a replica may have to fetch the rows first.
const VISIBILITY_CHECKS: u32 = 10;
/// Time between two lookups of acknowledged rows.
const CHECK_INTERVAL: Duration = Duration::from_millis(300);

impl Writer {
    /// Returns how far the next acknowledgement of a part is trusted.
    pub(super) fn trust(&self, job: &Job, has_failed: bool) -> Trust {
        if is_injected(Fault::TrustAcknowledgements) {
            Trust::Full
        } else if has_failed || job.batch.may_be_incomplete {
            Trust::Repeated
        } else if self.confirmed.contains(job.assignment) {
            Trust::Full
        } else {
            Trust::First
        }
    }

    /// Waits until the rows of a part are visible. It was acknowledged and had not been sent before, so they have to be in the
    /// table, and it is never sent again.
    pub(super) async fn ensure_visible(&self, job: &Job, part: &Part) -> Result<(), Failure> {
        for check in 1..=VISIBILITY_CHECKS {
            match self.presence(job, part).await?.0 {
                Presence::All => {
                    self.confirmed.insert(job.assignment);
                    return Ok(());
                }
                Presence::Duplicated => return Err(failures::duplicated_rows(&job.destination.target.table)),
                Presence::Some | Presence::Nothing if check < VISIBILITY_CHECKS => {
                    tokio::time::sleep(CHECK_INTERVAL).await;
                }
                Presence::Some | Presence::Nothing => {}
            }
        }
        visibility::check(&self.clickhouse, &job.destination.target.table).await?;
        Err(failures::invisible_rows(&job.destination.target.table))
    }

    /// Sends a part that the table lacks. If its rows were deleted after they landed, ClickHouse still remembers the token and
    /// silently drops them, so the table is looked up again and the next token is used.
    pub(super) async fn insert_missing(
        &self,
        job: &Job,
        part: &Part,
        is_acknowledged: &mut bool,
    ) -> Result<(), Failure> {
        self.insert(job, part, 0).await?;
        self.ensure_landed(job, part, is_acknowledged).await
    }

    /// Looks up a part that was acknowledged, possibly as a repetition. While the table lacks its rows, it is sent with the
    /// next token. The views still contain rows that were deleted, so they are rebuilt as well. If rows are in the table more
    /// than once, `is_acknowledged` is set, so that the part is never sent again.
    pub(super) async fn ensure_landed(
        &self,
        job: &Job,
        part: &Part,
        is_acknowledged: &mut bool,
    ) -> Result<(), Failure> {
        for resend in 1..=MAX_TOKENS {
            let presence = self.look_up(job, part).await?.0;
            if presence != Presence::Nothing {
                self.confirmed.insert(job.assignment);
            }
            match presence {
                Presence::All if resend == 1 => return Ok(()),
                Presence::All => return self.rebuild(job, part).await,
                Presence::Some => return self.accept_partial(job).await,
                Presence::Duplicated => {
                    *is_acknowledged = true;
                    return Err(failures::duplicated_rows(&job.destination.target.table));
                }
                Presence::Nothing if resend < MAX_TOKENS => {
                    visibility::check(&self.clickhouse, &job.destination.target.table).await?;
                    self.view_changes(job).await?;
                    self.insert(job, part, resend).await?;
                }
                Presence::Nothing => {}
            }
        }
        Err(failures::vanished_rows(&job.destination.target.table))
    }

    /// Accepts a part with missing rows: a part lands whole, so these rows have been deleted since, unless they are hidden.
    async fn accept_partial(&self, job: &Job) -> Result<(), Failure> {
        visibility::check(&self.clickhouse, &job.destination.target.table).await?;
        let (topic, partition, first) =
            (&*job.destination.target.topic, job.assignment.partition, job.batch.range.first);
        warn!(topic, partition, first, "a part has landed, but some of its rows are no longer in the table");
        Ok(())
    }

    /// Returns which rows of a part are in its table, and the offsets found in its range. If rows are missing, it fails while
    /// an INSERT of an earlier attempt or owner is still running, since that INSERT may add them.
    pub(super) async fn look_up(&self, job: &Job, part: &Part) -> Result<(Presence, Vec<i64>), Failure> {
        let found = self.presence(job, part).await?;
        if matches!(found.0, Presence::All | Presence::Duplicated) {
            return Ok(found);
        }
        lookup::check_no_running_insert(&self.clickhouse, &job.destination.target, job.assignment.partition).await?;
        self.presence(job, part).await
    }

    async fn presence(&self, job: &Job, part: &Part) -> Result<(Presence, Vec<i64>), Failure> {
        let found =
            lookup::offsets(&self.clickhouse, &job.destination.target, job.assignment.partition, job.batch.range)
                .await?;
        Ok((takeover::compare(job.batch.offsets(part), &found), found))
    }
}
