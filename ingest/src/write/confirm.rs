//! What an acknowledgement is worth. ClickHouse acknowledges a part that it drops as a repetition like one that it takes, and
//! a user may not see what it has written.
//! An acknowledged part goes in; nothing comes out once its rows are found in the table, else a failure that says why they
//! are not. A part is sent under another token only where it is proved that its rows are not there.

use std::time::Duration;

use tracing::warn;

use super::trust::Trust;
use super::writer::{Job, Writer};
use crate::batch::Part;
use crate::clickhouse::failures;
use crate::clickhouse::{lookup, visibility};
use crate::exactly_once::takeover::{self, Presence};
use crate::failure::Failure;
use crate::fault::{Fault, is_injected};

/// Tokens that the same rows are sent with in sequence, where the table lacks them after each.
const MOST_TOKENS: u32 = 10;
/// How often acknowledged rows are looked for: a replica may have to fetch them first.
const LOOKS: u32 = 10;
const PAUSE: Duration = Duration::from_millis(300);

impl Writer {
    /// How far the acknowledgement of a part is believed that is sent next.
    pub(super) fn trust(&self, job: &Job, has_failed: bool) -> Trust {
        if is_injected(Fault::TrustAcknowledgements) {
            Trust::Full
        } else if has_failed || job.batch.may_be_incomplete {
            Trust::Repeated
        } else if self.seen.contains(job.owner) {
            Trust::Full
        } else {
            Trust::First
        }
    }

    /// The part was acknowledged, and nobody had sent it before: its rows have to be there. It is never sent again.
    pub(super) async fn ensure_visible(&self, job: &Job, part: &Part) -> Result<(), Failure> {
        for look in 1..=LOOKS {
            match self.presence(job, part).await?.0 {
                Presence::All => {
                    self.seen.insert(job.owner);
                    return Ok(());
                }
                Presence::Duplicated => return Err(failures::doubled_rows(&job.destination.target.table)),
                Presence::Some | Presence::Nothing if look < LOOKS => tokio::time::sleep(PAUSE).await,
                Presence::Some | Presence::Nothing => {}
            }
        }
        visibility::check(&self.clickhouse, &job.destination.target.table).await?;
        Err(failures::invisible_rows(&job.destination.target.table))
    }

    /// Sends a part that the table lacks. Somebody may have deleted its rows since they landed: then ClickHouse still
    /// remembers the token and drops them without a word, so the table is looked at once more, and the next token is used.
    pub(super) async fn insert_missing(
        &self,
        job: &Job,
        part: &Part,
        is_acknowledged: &mut bool,
    ) -> Result<(), Failure> {
        self.insert(job, part, 0).await?;
        self.ensure_landed(job, part, is_acknowledged).await
    }

    /// The part was acknowledged, perhaps as a repetition. Where its rows are not in the table, it is sent under the next
    /// token. The views still have what they made of rows that were deleted, so they are made right as well. Where rows are
    /// there more than once, `is_acknowledged` is set: such a part is never sent again.
    pub(super) async fn ensure_landed(
        &self,
        job: &Job,
        part: &Part,
        is_acknowledged: &mut bool,
    ) -> Result<(), Failure> {
        for time in 1..=MOST_TOKENS {
            let there = self.look_up(job, part).await?.0;
            if there != Presence::Nothing {
                self.seen.insert(job.owner);
            }
            match there {
                Presence::All if time == 1 => return Ok(()),
                Presence::All => return self.rebuild(job, part).await,
                Presence::Some => return self.accept_partial(job).await,
                Presence::Duplicated => {
                    *is_acknowledged = true;
                    return Err(failures::doubled_rows(&job.destination.target.table));
                }
                Presence::Nothing if time < MOST_TOKENS => {
                    visibility::check(&self.clickhouse, &job.destination.target.table).await?;
                    self.view_changes(job).await?;
                    self.insert(job, part, time).await?;
                }
                Presence::Nothing => {}
            }
        }
        Err(failures::vanished_rows(&job.destination.target.table))
    }

    /// A part lands whole, so rows of it that are missing were deleted since, unless they are hidden.
    async fn accept_partial(&self, job: &Job) -> Result<(), Failure> {
        visibility::check(&self.clickhouse, &job.destination.target.table).await?;
        let (topic, partition, first) = (&*job.destination.target.topic, job.owner.partition, job.batch.range.first);
        warn!(topic, partition, first, "a part has landed, and some of its rows are no longer in the table");
        Ok(())
    }

    /// What of a part is in its table, and the offsets found in its range. What is not there may be on its way: an INSERT of
    /// an earlier attempt or an earlier owner that still runs is waited for.
    pub(super) async fn look_up(&self, job: &Job, part: &Part) -> Result<(Presence, Vec<i64>), Failure> {
        let found = self.presence(job, part).await?;
        if matches!(found.0, Presence::All | Presence::Duplicated) {
            return Ok(found);
        }
        lookup::nothing_runs(&self.clickhouse, &job.destination.target, job.owner.partition).await?;
        self.presence(job, part).await
    }

    async fn presence(&self, job: &Job, part: &Part) -> Result<(Presence, Vec<i64>), Failure> {
        let found =
            lookup::offsets(&self.clickhouse, &job.destination.target, job.owner.partition, job.batch.range).await?;
        Ok((takeover::compare(job.batch.offsets(part), &found), found))
    }
}
