//! Which records Kafka has for a partition: the ends of the log, and the client's statistics. It makes no decision.

use crate::kafka::watermarks::Watermarks;

/// Consecutive statistics without fetching after which the client counts as having given up. One is not enough: the client
/// does not fetch between two assignments either.
pub(super) const GIVEN_UP_CHECKS: u8 = 2;
/// Consecutive checks of the log's end without progress after which a stall is reported: about 30 s.
pub(super) const STUCK_CHECKS: u8 = 6;
/// Consecutive queries for the log's end without a response after which a stall is reported.
pub(super) const UNANSWERED_CHECKS: u8 = 2;

/// The client's statistics about fetching one partition.
#[derive(Debug, Clone, Copy)]
pub struct FetchStats<'a> {
    /// The client's fetch state: `active` while it fetches, `none` once it has given up.
    pub state: &'a str,
    /// The next offset to fetch; records below it were delivered or wait in the client's queue.
    pub next: i64,
    /// Number of records that wait in the client's queue.
    pub queued: i64,
    /// The last stable offset, as of the last fetch; negative before the first.
    pub stable: i64,
    /// The high watermark, as of the last fetch.
    pub high: i64,
}

/// Result of a check of the log's end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FetchState {
    /// Records arrive, or there are none.
    Normal,
    /// No records arrive, for this reason; the client retries.
    Stalled(String),
    /// The client has stopped fetching; an operator has to decide.
    GaveUp(String),
}

/// Fetch progress of a partition.
#[derive(Debug, Default)]
pub(super) struct FetchProgress {
    pub(super) ends: Option<Watermarks>,
    /// Every record below it was fetched and consumed.
    pub(super) reached: i64,
    /// The value of [`Self::reached`] at the last check, and the number of consecutive checks for which it has not changed.
    pub(super) unchanged: (Option<i64>, u8),
    pub(super) given_up: u8,
    pub(super) unanswered: u8,
}
