//! Whether a partition's records arrive: its lag, how many records an open transaction holds back, and why none arrive.
//! The ends of the log and the statistics of Kafka's client go in. It makes no queries.

use super::state::Partition;
use super::supply::{Fetching, GIVEN_UP_CHECKS, STUCK_CHECKS, Supply, SupplyState, UNANSWERED_CHECKS};
use crate::fault::{Fault, is_injected};
use crate::kafka::watermarks::Watermarks;

impl Partition {
    /// Handles the client's statistics. Returns whether nothing is left to deliver below `next`, see [`Self::is_idle_at`].
    pub fn update_fetch_state(&mut self, fetching: Fetching<'_>) -> bool {
        let Fetching { state, next, queued, stable, high } = fetching;
        let is_fetching = !matches!(state, "none" | "stopped");
        let supply = &mut self.supply;
        supply.given_up = if is_fetching { 0 } else { supply.given_up.saturating_add(1) };
        if let Some(ends) = supply.ends.as_mut().filter(|_| stable >= 0) {
            ends.stable = ends.stable.max(stable);
            ends.high = ends.high.max(high).max(ends.stable);
        }
        let is_idle = is_fetching && queued == 0 && self.is_idle_at(next);
        if is_idle {
            self.supply.reached = next;
        }
        is_idle
    }

    /// Moves the group's offset to the last stable offset `offset`, once everything below has been consumed and is durable: the
    /// offsets after the last record hold only transaction markers and aborted records.
    pub fn pass(&mut self, offset: i64) {
        let is_done =
            self.open.is_none() && !self.is_busy() && !self.is_resealing() && self.commits.ledger.open_ranges() == 0;
        let is_end = self.supply.ends.is_some_and(|ends| ends.stable <= offset);
        if is_done && is_end && offset >= self.position && !is_injected(Fault::NeverPassGaps) {
            (self.position, self.sealed_to) = (offset, offset);
            self.commits.ledger.passed(offset);
        }
    }

    /// Checks progress against the ends of the log as returned by Kafka. `is_polled` is false while memory is short and records
    /// wait in the client's queue.
    pub fn check_supply(&mut self, ends: Result<Watermarks, String>, is_polled: bool) -> SupplyState {
        let ends = match ends {
            Ok(ends) => ends,
            Err(why) => return self.unanswered(&why),
        };
        self.supply.unanswered = 0;
        self.supply.ends = Some(ends);
        if self.supply.given_up >= GIVEN_UP_CHECKS && !is_injected(Fault::IgnoreSupply) {
            return SupplyState::GaveUp(given_up(self.position, ends));
        }
        let reached = self.supply.reached.max(self.position);
        let is_waiting = is_polled && self.holds == 0 && !self.must_seek && reached < ends.stable;
        let (last, checks) = self.supply.unchanged;
        self.supply.unchanged =
            (Some(reached), if is_waiting && last == Some(reached) { checks.saturating_add(1) } else { 0 });
        if self.supply.unchanged.1 < STUCK_CHECKS || is_injected(Fault::IgnoreSupply) {
            return SupplyState::Flowing;
        }
        SupplyState::Stalled(format!(
            "the log ends at offset {}, and no record has arrived since offset {reached}; the client retries, check that its \
             user may read the topic and that the partition's leader responds",
            ends.stable
        ))
    }

    fn unanswered(&mut self, why: &str) -> SupplyState {
        self.supply.unanswered = self.supply.unanswered.saturating_add(1);
        if self.supply.unanswered < UNANSWERED_CHECKS {
            return SupplyState::Flowing;
        }
        SupplyState::Stalled(format!(
            "Kafka does not return the end of the log: {why}; make sure that the partition has a leader"
        ))
    }

    /// Resets progress with the ends of the log at the time of the assignment.
    pub(super) fn reset_supply(&mut self, ends: Watermarks) {
        self.supply = Supply { ends: Some(ends), ..Supply::default() };
    }

    /// Readable records that are not durable yet; `None` until the end of the log is known. Offsets without a record count only
    /// while records above them are not durable.
    pub fn lag(&self) -> Option<i64> {
        let ends = self.supply.ends?;
        let done = self.commits.ledger.watermark().max(self.commits.ledger.committed()).unwrap_or(ends.low);
        Some((ends.stable - done.max(ends.low)).max(0))
    }

    /// Records in the log that cannot be read until a transaction ends.
    pub fn held_back(&self) -> Option<i64> {
        self.supply.ends.map(|ends| ends.high - ends.stable)
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

    fn fetching(next: i64) -> Fetching<'static> {
        Fetching { state: "active", next, queued: 0, stable: 113, high: 120 }
    }

    #[test]
    fn offsets_without_a_record_are_passed_once_everything_is_durable() {
        let mut partition = partition();
        partition.release(Hold::Opening);
        partition.reset_supply(ENDS);
        partition.must_seek = false;
        assert_eq!((partition.lag(), partition.held_back()), (Some(113), Some(7)));
        consume(&mut partition, 101);
        for _ in 0..2 {
            partition.update_fetch_state(fetching(113));
        }
        partition.pass(113);
        assert_eq!(partition.lag(), Some(113), "a record is in the open batch");
        assert_eq!(partition.seal_reason(&LIMITS, Instant::now()), None);
        partition.seal(SealReason::Age);
        partition.pass(113);
        announce(&mut partition);
        let batch = partition.next_batch().unwrap();
        partition.written(batch.range);
        assert_eq!(partition.lag(), Some(11), "a marker and aborted records");
        assert!(partition.update_fetch_state(fetching(113)));
        partition.pass(113);
        assert_eq!((partition.lag(), partition.position()), (Some(0), 113));
        let due = partition.to_commit(Instant::now() + Duration::from_secs(2), 7).unwrap();
        assert_eq!(due.offset, 113);
    }

    #[test]
    fn nothing_is_passed_below_the_end_or_after_a_pause() {
        let mut partition = partition();
        partition.release(Hold::Opening);
        partition.reset_supply(ENDS);
        partition.must_seek = false;
        assert!(!partition.update_fetch_state(fetching(50)) && partition.update_fetch_state(fetching(50)));
        partition.pass(50);
        assert_eq!(partition.lag(), Some(113), "there may be records above");
        assert!(!partition.update_fetch_state(fetching(113)));
        partition.hold(Hold::Memory);
        partition.flow_change();
        partition.release(Hold::Memory);
        partition.flow_change();
        assert!(!partition.update_fetch_state(fetching(113)), "the pause discarded fetched records");
    }

    #[test]
    fn a_client_that_has_given_up_stops_its_partition() {
        let mut partition = partition();
        partition.reset_supply(ENDS);
        consume(&mut partition, 49);
        let gave_up = Fetching { state: "none", ..fetching(-1001) };
        partition.update_fetch_state(gave_up);
        assert_eq!(partition.check_supply(Ok(ENDS), true), SupplyState::Flowing);
        partition.update_fetch_state(gave_up);
        let SupplyState::GaveUp(why) = partition.check_supply(Ok(Watermarks { low: 60, ..ENDS }), true) else {
            panic!("it stops")
        };
        assert!(why.starts_with("offset 50 comes next, but the log holds 60 to 120"), "{why}");
        let SupplyState::GaveUp(why) = partition.check_supply(Ok(ENDS), true) else { panic!("it stops") };
        assert!(why.contains("given up fetching at offset 50"), "{why}");
    }

    #[test]
    fn missing_progress_and_missing_responses_are_reported() {
        let mut partition = partition();
        partition.release(Hold::Opening);
        partition.must_seek = false;
        for _ in 0..STUCK_CHECKS {
            assert_eq!(partition.check_supply(Ok(ENDS), true), SupplyState::Flowing);
        }
        assert!(
            matches!(partition.check_supply(Ok(ENDS), true), SupplyState::Stalled(why) if why.contains("ends at offset 113"))
        );
        consume(&mut partition, 3);
        assert_eq!(partition.check_supply(Ok(ENDS), true), SupplyState::Flowing);
        assert_eq!(partition.check_supply(Err("no leader".to_owned()), true), SupplyState::Flowing);
        assert!(
            matches!(partition.check_supply(Err("no leader".to_owned()), true), SupplyState::Stalled(why) if why.contains("no leader"))
        );
        assert_eq!(partition.check_supply(Ok(ENDS), true), SupplyState::Flowing);
    }
}
