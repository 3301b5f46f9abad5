//! What Kafka has for a partition: the ends of its log, and what the client's statistics say. Plain data.

use crate::kafka::watermarks::Watermarks;

/// Looks in a row at the client's statistics at which it does not fetch, until it counts as having given up: between two
/// assignments nothing is fetched either.
pub(super) const GIVEN_UP: u8 = 2;
/// Looks in a row at the log's end without progress, until that is said: some 30 s.
pub(super) const STUCK: u8 = 6;
/// Questions in a row about the log's end without an answer, until that is said.
pub(super) const UNANSWERED: u8 = 2;

/// What the client's statistics say about a partition.
#[derive(Debug, Clone, Copy)]
pub struct Fetching<'a> {
    /// The client's state of fetching: `active` while it fetches, `none` once it has given up.
    pub state: &'a str,
    /// The next offset that it fetches; records below it were delivered or wait in its queue.
    pub next: i64,
    /// Records that wait in its queue.
    pub queued: i64,
    /// The last stable offset, as of the last fetch; negative before the first.
    pub stable: i64,
    /// The high watermark, likewise.
    pub high: i64,
}

/// What came of a look at the log's end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SupplyState {
    /// Records come, or there are none.
    Flowing,
    /// Something is in the way, and the client tries again by itself.
    Stalled(String),
    /// The client fetches no more; an operator has to decide.
    GaveUp(String),
}

/// What is known about the records that are still to come.
#[derive(Debug, Default)]
pub(super) struct Supply {
    pub(super) ends: Option<Watermarks>,
    /// Everything below was fetched and taken in, as far as there were records.
    pub(super) reached: i64,
    /// Where [`Self::reached`] was at the last look, and for how many looks in a row.
    pub(super) stood: (Option<i64>, u8),
    pub(super) given_up: u8,
    pub(super) unanswered: u8,
}
