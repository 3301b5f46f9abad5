//! How far the open batch of a partition may grow while another batch of it is under way.
//! Writes go in as they begin and end; out come the limits for the batch behind. Pure, clocked by the caller. It never
//! allows less than the usual limits, and seals nothing itself.
//!
//! A batch twice as large takes up to twice as long to write, and a rebalance, a drain and `insert_timeout` wait only so
//! long. So a batch grows no further than what could be written in [`Backlog::time`] at the pace of the last write, and not
//! at all before the first write has ended.

use std::time::{Duration, Instant};

use crate::batch::{Backlog, Batch, Limits};

/// What a write carries.
#[derive(Debug, Clone, Copy)]
struct Load {
    rows: usize,
    bytes: usize,
}

/// What is known about the writes of a partition.
#[derive(Debug, Default)]
pub(super) struct Growth {
    begun: Option<(Load, Instant)>,
    /// The last write that ended, with the time from its begin until it was acknowledged, retries included.
    last: Option<(Load, Duration)>,
}

impl Growth {
    /// A write begins.
    pub(super) fn began(&mut self, batch: &Batch, now: Instant) {
        self.begun = Some((Load { rows: batch.records(), bytes: batch.bytes() }, now));
    }

    /// It was acknowledged.
    pub(super) fn ended(&mut self, now: Instant) {
        if let Some((load, began)) = self.begun.take() {
            self.last = Some((load, now.saturating_duration_since(began)));
        }
    }

    /// What the batch behind may hold.
    #[expect(clippy::cast_possible_truncation, reason = "a float that is too large for a size becomes the largest")]
    pub(super) fn most(&self, limits: &Limits) -> Backlog {
        let Backlog { rows, bytes, time } = limits.backlog;
        let (load, took) = self.last.unwrap_or((Load { rows: 0, bytes: 0 }, time));
        let in_time = |written: usize| {
            let times = time.as_secs_f64() / took.as_secs_f64().max(f64::MIN_POSITIVE);
            (written as f64 * times) as usize
        };
        let rows = rows.min(in_time(load.rows)).max(limits.rows);
        Backlog { rows, bytes: bytes.min(in_time(load.bytes)).max(limits.bytes), time }
    }
}

#[cfg(test)]
mod model;
