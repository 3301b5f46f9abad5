//! Whether a partition's records come: how many are behind, how many an open transaction holds back, and what is in the way.
//! Ends of the log and the statistics of Kafka's client go in. It asks nobody.

use super::state::Partition;
use super::supply::{Fetching, GIVEN_UP, STUCK, Supply, SupplyState, UNANSWERED};
use crate::fault::{Fault, is_injected};
use crate::kafka::watermarks::Watermarks;

impl Partition {
    /// Takes in what the client's statistics say. Whether nothing is left to deliver below `next`, see [`Self::is_idle_at`].
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

    /// Everything up to the end of what can be read has been seen. What is left behind the last record is no record
    /// (transaction markers, aborted records), so the group's offset may pass it.
    pub fn pass(&mut self, offset: i64) {
        let is_done =
            self.open.is_none() && !self.is_busy() && !self.is_resealing() && self.commits.ledger.open_ranges() == 0;
        let is_end = self.supply.ends.is_some_and(|ends| ends.stable <= offset);
        if is_done && is_end && offset >= self.position && !is_injected(Fault::NeverPassGaps) {
            (self.position, self.sealed_to) = (offset, offset);
            self.commits.ledger.passed(offset);
        }
    }

    /// Kafka has said where the log ends, or why it does not. Whether records are polled for at all: they wait in the
    /// client's queue while memory is short.
    pub fn check_supply(&mut self, ends: Result<Watermarks, String>, is_polled: bool) -> SupplyState {
        let ends = match ends {
            Ok(ends) => ends,
            Err(why) => return self.unanswered(&why),
        };
        self.supply.unanswered = 0;
        self.supply.ends = Some(ends);
        if self.supply.given_up >= GIVEN_UP && !is_injected(Fault::IgnoreSupply) {
            return SupplyState::GaveUp(given_up(self.position, ends));
        }
        let reached = self.supply.reached.max(self.position);
        let is_waiting = is_polled && self.holds == 0 && !self.must_seek && reached < ends.stable;
        let (stood, looks) = self.supply.stood;
        self.supply.stood =
            (Some(reached), if is_waiting && stood == Some(reached) { looks.saturating_add(1) } else { 0 });
        if self.supply.stood.1 < STUCK || is_injected(Fault::IgnoreSupply) {
            return SupplyState::Flowing;
        }
        SupplyState::Stalled(format!(
            "the log goes on to offset {}, and nothing has come since offset {reached}; the client tries again by itself, check \
             that its user may read the topic and that the partition's leader answers",
            ends.stable
        ))
    }

    fn unanswered(&mut self, why: &str) -> SupplyState {
        self.supply.unanswered = self.supply.unanswered.saturating_add(1);
        if self.supply.unanswered < UNANSWERED {
            return SupplyState::Flowing;
        }
        SupplyState::Stalled(format!(
            "Kafka does not say where the log ends: {why}; see to it that the partition has a leader"
        ))
    }

    /// Where the log begins and ends, as found when the partition was assigned.
    pub(super) fn begins_with(&mut self, ends: Watermarks) {
        self.supply = Supply { ends: Some(ends), ..Supply::default() };
    }

    /// Records that can be read and are not done, once the end of the log is known. Offsets that no record has count only
    /// while records above them are not done.
    pub fn lag(&self) -> Option<i64> {
        let ends = self.supply.ends?;
        let done = self.commits.ledger.watermark().max(self.commits.ledger.committed()).unwrap_or(ends.low);
        Some((ends.stable - done.max(ends.low)).max(0))
    }

    /// Records that are in the log and cannot be read until a transaction ends.
    pub fn held_back(&self) -> Option<i64> {
        self.supply.ends.map(|ends| ends.high - ends.stable)
    }
}

fn given_up(position: i64, Watermarks { low, high, .. }: Watermarks) -> String {
    if position < low || position > high {
        return format!(
            "offset {position} comes next, but the log holds {low} to {high}: records were deleted before they were consumed, or \
             the topic was made anew; decide with `sluice ingest offsets set`"
        );
    }
    format!(
        "Kafka's client has given up fetching at offset {position}, though the log holds {low} to {high}: its end was cut off and \
         written anew, perhaps by the election of a replica that lagged; compare the table with the log from there, decide with \
         `sluice ingest offsets set`, then restart"
    )
}

#[cfg(test)]
mod tests {
    use super::super::tests::{LIMITS, announce, partition, take};
    use super::*;
    use crate::batch::limits::SealReason;
    use crate::lane::partition::Hold;
    use std::time::{Duration, Instant};

    const ENDS: Watermarks = Watermarks { low: 0, stable: 113, high: 120 };

    fn fetching(next: i64) -> Fetching<'static> {
        Fetching { state: "active", next, queued: 0, stable: 113, high: 120 }
    }

    #[test]
    fn what_is_no_record_is_passed_once_everything_is_done() {
        let mut partition = partition();
        partition.release(Hold::Opening);
        partition.begins_with(ENDS);
        partition.must_seek = false;
        assert_eq!((partition.lag(), partition.held_back()), (Some(113), Some(7)));
        take(&mut partition, 101);
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
        partition.begins_with(ENDS);
        partition.must_seek = false;
        assert!(!partition.update_fetch_state(fetching(50)) && partition.update_fetch_state(fetching(50)));
        partition.pass(50);
        assert_eq!(partition.lag(), Some(113), "there may be records above");
        assert!(!partition.update_fetch_state(fetching(113)));
        partition.hold(Hold::Memory);
        partition.flow_change();
        partition.release(Hold::Memory);
        partition.flow_change();
        assert!(!partition.update_fetch_state(fetching(113)), "what was fetched before the pause was thrown away");
    }

    #[test]
    fn a_client_that_has_given_up_stops_its_partition() {
        let mut partition = partition();
        partition.begins_with(ENDS);
        take(&mut partition, 49);
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
    fn no_progress_below_the_end_is_said_and_so_is_no_answer() {
        let mut partition = partition();
        partition.release(Hold::Opening);
        partition.must_seek = false;
        for _ in 0..STUCK {
            assert_eq!(partition.check_supply(Ok(ENDS), true), SupplyState::Flowing);
        }
        assert!(
            matches!(partition.check_supply(Ok(ENDS), true), SupplyState::Stalled(why) if why.contains("goes on to offset 113"))
        );
        take(&mut partition, 3);
        assert_eq!(partition.check_supply(Ok(ENDS), true), SupplyState::Flowing);
        assert_eq!(partition.check_supply(Err("no leader".to_owned()), true), SupplyState::Flowing);
        assert!(
            matches!(partition.check_supply(Err("no leader".to_owned()), true), SupplyState::Stalled(why) if why.contains("no leader"))
        );
        assert_eq!(partition.check_supply(Ok(ENDS), true), SupplyState::Flowing);
    }
}
