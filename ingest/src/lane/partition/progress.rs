//! Whether a partition's records arrive: its lag, how many records an open transaction holds back, and why none arrive.
//! It decides from the ends of the log and the statistics of Kafka's client, and makes no queries itself.

use super::fetch::{FetchProgress, FetchState, FetchStats, GIVEN_UP_CHECKS, STUCK_CHECKS, UNANSWERED_CHECKS};
use super::state::Partition;
use crate::fault::{Fault, is_injected};
use crate::kafka::watermarks::Watermarks;

impl Partition {
    /// Handles the client's statistics. Returns whether nothing is left to deliver below `next`, see [`Self::record_idle_at`].
    pub fn update_fetch_stats(&mut self, stats: FetchStats<'_>) -> bool {
        let FetchStats { state, next, queued, stable, high } = stats;
        let is_fetching = !matches!(state, "none" | "stopped");
        let fetch = &mut self.fetch;
        fetch.given_up = if is_fetching { 0 } else { fetch.given_up.saturating_add(1) };
        if let Some(ends) = fetch.ends.as_mut().filter(|_| stable >= 0) {
            ends.stable = ends.stable.max(stable);
            ends.high = ends.high.max(high).max(ends.stable);
        }
        let is_idle = is_fetching && queued == 0 && self.record_idle_at(next);
        if is_idle {
            self.fetch.reached = next;
        }
        is_idle
    }

    /// Advances the group's offset to the last stable offset `offset`, once everything below it has been consumed and is
    /// durable: the offsets after the last record hold only transaction markers and aborted records.
    pub fn advance_past_gap(&mut self, offset: i64) {
        let is_done =
            self.open.is_none() && !self.is_busy() && !self.is_resealing() && self.commits.ledger.open_ranges() == 0;
        let is_end = self.fetch.ends.is_some_and(|ends| ends.stable <= offset);
        if is_done && is_end && offset >= self.position && !is_injected(Fault::NeverPassGaps) {
            (self.position, self.sealed_before) = (offset, offset);
            self.commits.ledger.advance_past(offset);
        }
    }

    /// Compares progress with the ends of the log as returned by Kafka. `is_polled` is false while memory is short and records
    /// wait in the client's queue.
    pub fn check_fetch(&mut self, ends: Result<Watermarks, String>, is_polled: bool) -> FetchState {
        let ends = match ends {
            Ok(ends) => ends,
            Err(why) => return self.record_missing_response(&why),
        };
        self.fetch.unanswered = 0;
        self.fetch.ends = Some(ends);
        if self.fetch.given_up >= GIVEN_UP_CHECKS && !is_injected(Fault::IgnoreStalledFetch) {
            return FetchState::GaveUp(given_up(self.position, ends));
        }
        let reached = self.fetch.reached.max(self.position);
        let is_waiting = is_polled && self.holds == 0 && !self.must_seek && reached < ends.stable;
        let (last, checks) = self.fetch.unchanged;
        self.fetch.unchanged =
            (Some(reached), if is_waiting && last == Some(reached) { checks.saturating_add(1) } else { 0 });
        if self.fetch.unchanged.1 < STUCK_CHECKS || is_injected(Fault::IgnoreStalledFetch) {
            return FetchState::Normal;
        }
        FetchState::Stalled(format!(
            "the log ends at offset {}, and no record has arrived since offset {reached}; the client retries; check that its \
             user may read the topic and that the partition's leader responds",
            ends.stable
        ))
    }

    fn record_missing_response(&mut self, why: &str) -> FetchState {
        self.fetch.unanswered = self.fetch.unanswered.saturating_add(1);
        if self.fetch.unanswered < UNANSWERED_CHECKS {
            return FetchState::Normal;
        }
        FetchState::Stalled(format!(
            "Kafka does not return the end of the log: {why}; make sure that the partition has a leader"
        ))
    }

    /// Resets progress with the ends of the log at the time of the assignment.
    pub(super) fn reset_fetch(&mut self, ends: Watermarks) {
        self.fetch = FetchProgress { ends: Some(ends), ..FetchProgress::default() };
    }

    /// Readable records that are not durable yet; `None` until the end of the log is known. Offsets without a record count only
    /// while records above them are not durable.
    pub fn lag(&self) -> Option<i64> {
        let ends = self.fetch.ends?;
        let done = self.commits.ledger.watermark().max(self.commits.ledger.committed()).unwrap_or(ends.low);
        Some((ends.stable - done.max(ends.low)).max(0))
    }

    /// Records in the log that cannot be read until a transaction ends.
    pub fn held_back(&self) -> Option<i64> {
        self.fetch.ends.map(|ends| ends.high - ends.stable)
    }
}

fn given_up(position: i64, Watermarks { low, high, .. }: Watermarks) -> String {
    if position < low || position > high {
        return format!(
            "offset {position} comes next, but the log holds {low} to {high}: records were deleted before they were consumed, or \
             the topic was recreated; decide with `sluice ingest offsets set`"
        );
    }
    format!(
        "Kafka's client has given up fetching at offset {position}, though the log holds {low} to {high}: its end was truncated and \
         rewritten, perhaps by the election of a lagging replica; compare the table with the log from there, decide with \
         `sluice ingest offsets set`, then restart"
    )
}

#[cfg(test)]
mod tests {
    use super::super::tests::{LIMITS, announce, consume, partition};
    use super::*;
    use crate::batch::limits::SealReason;
    use crate::lane::partition::Hold;
    use std::time::{Duration, Instant};

    const ENDS: Watermarks = Watermarks { low: 0, stable: 113, high: 120 };

    fn stats(next: i64) -> FetchStats<'static> {
        FetchStats { state: "active", next, queued: 0, stable: 113, high: 120 }
    }

    #[test]
    fn the_watermark_passes_offsets_without_a_record_once_everything_is_durable() {
        let mut partition = partition();
        partition.release(Hold::Opening);
        partition.reset_fetch(ENDS);
        partition.must_seek = false;
        assert_eq!((partition.lag(), partition.held_back()), (Some(113), Some(7)));
        consume(&mut partition, 101);
        for _ in 0..2 {
            partition.update_fetch_stats(stats(113));
        }
        partition.advance_past_gap(113);
        assert_eq!(partition.lag(), Some(113), "a record is in the open batch");
        assert_eq!(partition.seal_reason(&LIMITS, Instant::now()), None);
        partition.seal(SealReason::Age);
        partition.advance_past_gap(113);
        announce(&mut partition);
        let batch = partition.next_batch().unwrap();
        partition.record_written(batch.range);
        assert_eq!(partition.lag(), Some(11), "a marker and aborted records");
        assert!(partition.update_fetch_stats(stats(113)));
        partition.advance_past_gap(113);
        assert_eq!((partition.lag(), partition.position()), (Some(0), 113));
        let due = partition.next_commit(Instant::now() + Duration::from_secs(2), 7).unwrap();
        assert_eq!(due.offset, 113);
    }

    #[test]
    fn the_watermark_does_not_advance_below_the_end_or_after_a_pause() {
        let mut partition = partition();
        partition.release(Hold::Opening);
        partition.reset_fetch(ENDS);
        partition.must_seek = false;
        assert!(!partition.update_fetch_stats(stats(50)) && partition.update_fetch_stats(stats(50)));
        partition.advance_past_gap(50);
        assert_eq!(partition.lag(), Some(113), "there may be records above");
        assert!(!partition.update_fetch_stats(stats(113)));
        partition.hold(Hold::Memory);
        partition.flow_change();
        partition.release(Hold::Memory);
        partition.flow_change();
        assert!(!partition.update_fetch_stats(stats(113)), "the pause discarded fetched records");
    }

    #[test]
    fn a_client_that_has_given_up_stops_its_partition() {
        let mut partition = partition();
        partition.reset_fetch(ENDS);
        consume(&mut partition, 49);
        let gave_up = FetchStats { state: "none", ..stats(-1001) };
        partition.update_fetch_stats(gave_up);
        assert_eq!(partition.check_fetch(Ok(ENDS), true), FetchState::Normal);
        partition.update_fetch_stats(gave_up);
        let FetchState::GaveUp(why) = partition.check_fetch(Ok(Watermarks { low: 60, ..ENDS }), true) else {
            panic!("it stops")
        };
        assert!(why.starts_with("offset 50 comes next, but the log holds 60 to 120"), "{why}");
        let FetchState::GaveUp(why) = partition.check_fetch(Ok(ENDS), true) else { panic!("it stops") };
        assert!(why.contains("given up fetching at offset 50"), "{why}");
    }

    #[test]
    fn missing_progress_and_missing_responses_are_reported() {
        let mut partition = partition();
        partition.release(Hold::Opening);
        partition.must_seek = false;
        for _ in 0..STUCK_CHECKS {
            assert_eq!(partition.check_fetch(Ok(ENDS), true), FetchState::Normal);
        }
        assert!(
            matches!(partition.check_fetch(Ok(ENDS), true), FetchState::Stalled(why) if why.contains("ends at offset 113"))
        );
        consume(&mut partition, 3);
        assert_eq!(partition.check_fetch(Ok(ENDS), true), FetchState::Normal);
        assert_eq!(partition.check_fetch(Err("no leader".to_owned()), true), FetchState::Normal);
        assert!(
            matches!(partition.check_fetch(Err("no leader".to_owned()), true), FetchState::Stalled(why) if why.contains("no leader"))
        );
        assert_eq!(partition.check_fetch(Ok(ENDS), true), FetchState::Normal);
    }
}
