//! A batch with its destination, and whether it has to be looked up before it is sent. It performs no I/O.

use std::sync::Arc;
use std::time::Duration;

use super::destination::Destination;
use crate::batch::Batch;
use crate::clock;
use crate::event::AssignmentId;
use crate::exactly_once::intent::Doubt;
use crate::exactly_once::lease::Lease;
use crate::fault::{Fault, is_injected};

/// A batch with its assignment and its destination.
#[derive(Debug)]
pub struct Job {
    /// Assignment of the batch.
    pub assignment: AssignmentId,
    /// Destination of the batch.
    pub destination: Arc<Destination>,
    /// The lease on the batch's partition.
    pub lease: Arc<Lease>,
    /// When the batch was announced, in seconds since 1970: none of its rows was sent before.
    pub announced_at: u64,
    /// The batch.
    pub batch: Batch,
}

impl Job {
    /// Whether the batch has to be looked up: it is marked as in doubt, or it may have been sent so long ago that ClickHouse
    /// has forgotten its token.
    pub(super) fn doubt(&self) -> Doubt {
        if is_injected(Fault::SkipLookup) {
            return Doubt::No;
        }
        if self.batch.doubt == Doubt::No && self.may_be_forgotten() { Doubt::AllOrNothing } else { self.batch.doubt }
    }

    /// Whether ClickHouse may have forgotten the batch's tokens.
    pub(super) fn may_be_forgotten(&self) -> bool {
        self.announcement_age().is_none_or(|age| age >= self.destination.token_retention)
    }

    /// Time since the batch was announced; `None` if the announcement is dated in the future, so that its age is unknown.
    pub(super) fn announcement_age(&self) -> Option<Duration> {
        let age = clock::age(self.announced_at, clock::unix_now());
        if is_injected(Fault::TrustFutureAnnouncements) { Some(age.unwrap_or_default()) } else { age }
    }
}
