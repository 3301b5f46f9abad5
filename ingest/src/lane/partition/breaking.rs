//! How a partition's breaker opens and is reset.
//! When it opens, batches that are open, waiting or being written are dropped, and their records are read again from the
//! topic. An announced range is never sealed with other bounds.

use std::time::Instant;

use super::hold::Hold;
use super::state::{CountedRows, Partition};
use crate::dead_letter::breaker::{Breaker, RejectedRecord, Trip, Verdict};
use crate::event::Refusal;

/// Index of the breaker for decoding.
const DECODE: usize = 0;
/// Index of the breaker for writing.
const WRITE: usize = 1;

impl Partition {
    /// Counts the record at `offset` as decoded.
    pub fn count_decoded(&mut self, offset: i64) {
        self.breakers[DECODE].accept_up_to(1, offset);
    }

    /// Counts the record at `offset` as one that cannot be decoded. If this opens the breaker, the open batch is dropped, and
    /// read again when the breaker is reset; sealed batches are still written.
    pub fn count_rejected(&mut self, offset: i64, rejected: &RejectedRecord, now: Instant) -> Verdict {
        let verdict = self.breakers[DECODE].judge_at(offset, rejected.tenant, now);
        if let Verdict::Trip(trip) = verdict {
            self.rewind_to(self.sealed_before);
            self.open_breaker(trip, rejected);
        }
        verdict
    }

    /// Counts rows of the batch being written that ClickHouse refuses; they are not dead letters yet. If this opens the
    /// breaker, that batch and all waiting ones are dropped, and read again as announced when the breaker is reset. `sent` are
    /// the offsets of the batch's records that have already been dead-lettered.
    pub fn count_refused(&mut self, refusals: &[Refusal], sent: &[i64], now: Instant) -> Verdict {
        let mut verdict = Verdict::Continue;
        for Refusal { accepted_before, offset, rejected } in refusals {
            self.breakers[WRITE].accept(*accepted_before);
            self.counted.accepted += accepted_before;
            if !self.counted.refused.insert(*offset) {
                continue;
            }
            match self.breakers[WRITE].judge_next(rejected.tenant, now) {
                Verdict::Continue => {}
                Verdict::Alarm(tenant) => verdict = Verdict::Alarm(tenant),
                Verdict::Trip(trip) => {
                    self.discard_batches(sent);
                    self.open_breaker(trip, rejected);
                    return Verdict::Trip(trip);
                }
            }
        }
        verdict
    }

    /// Counts the rows of the batch that was being written as accepted: it is durable, with `rows` rows in its table.
    pub fn count_landed(&mut self, rows: u64) {
        let CountedRows { accepted, .. } = std::mem::take(&mut self.counted);
        self.breakers[WRITE].accept(rows.saturating_sub(accepted));
    }

    /// Drops the batch being written and everything after it.
    fn discard_batches(&mut self, sent: &[i64]) {
        self.dead_letters.extend(sent);
        self.counted.accepted = 0;
        self.is_writing = false;
        self.sealed.clear();
        let unannounced = self.commits.ledger.drop_unannounced();
        self.announced = self.commits.ledger.announced().collect();
        let announced = self.announced.front().map(|announced| announced.range.first);
        self.rewind_to(announced.or(unannounced).unwrap_or(self.sealed_before));
        self.release(Hold::Ranges);
        // The write that stalled was dropped; the next one reports the stall again if it persists.
        self.release(Hold::Store);
    }

    fn rewind_to(&mut self, offset: i64) {
        self.open = None;
        self.may_exceed_budget = false;
        (self.start, self.position, self.sealed_before) = (offset, offset, offset);
        self.must_seek = true;
    }

    fn open_breaker(&mut self, trip: Trip, rejected: &RejectedRecord) {
        self.hold(Hold::Breaker);
        self.trip_reason = Some(format!(
            "the breaker is open: {trip}, the last one as {}; intake is paused. Repair the cause and restart, or send them \
             to the dead-letter topic with `sluice ingest breaker reset`",
            rejected.reason
        ));
    }

    /// Why the breaker is open, if it is.
    pub fn trip_reason(&self) -> Option<&str> {
        self.trip_reason.as_deref()
    }

    /// Closes the breaker. Returns whether it was open.
    pub fn reset_breaker(&mut self) -> bool {
        self.breakers.iter_mut().filter(|breaker| breaker.is_open()).for_each(Breaker::reset);
        self.release(Hold::Breaker);
        self.trip_reason.take().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{LIMITS, announce, consume, partition};
    use super::*;
    use crate::batch::limits::SealReason;
    use crate::exactly_once::commit::{COMMIT_INTERVAL, RETRY_WAIT};
    use crate::exactly_once::range::Range;
    use crate::lane::partition::Flow;
    use proptest::prelude::*;

    fn poison() -> RejectedRecord {
        RejectedRecord { tenant: None, reason: "wrong_type".to_owned() }
    }

    #[test]
    fn an_opening_breaker_drops_the_open_batch_and_keeps_sealed_ones() {
        let mut partition = partition();
        consume(&mut partition, 0);
        partition.seal(SealReason::Rows);
        consume(&mut partition, 1);
        for offset in 2..5 {
            assert_eq!(partition.count_rejected(offset, &poison(), Instant::now()), Verdict::Continue);
            consume(&mut partition, offset);
        }
        assert!(matches!(partition.count_rejected(5, &poison(), Instant::now()), Verdict::Trip(_)));
        assert!(partition.discards_input() && partition.flow_change() == Some(Flow::Pause));
        insta::assert_snapshot!(partition.trip_reason().unwrap(), @"the breaker is open: 4 of the last 4 records cannot land, none of them with a readable tenant, the last one as wrong_type; intake is paused. Repair the cause and restart, or send them to the dead-letter topic with `sluice ingest breaker reset`");
        announce(&mut partition);
        let sealed = partition.next_batch().unwrap().range;
        partition.record_written(sealed);
        assert_eq!((partition.watermark(), partition.position()), (Some(1), 1));
        assert!(partition.reset_breaker() && !partition.reset_breaker());
        assert!(partition.discards_input(), "until the client has to seek");
        assert_eq!(partition.flow_change(), Some(Flow::ResumeAt(1)));
        assert!(!partition.discards_input());
    }

    fn refusals(offsets: std::ops::Range<i64>) -> Vec<Refusal> {
        offsets.map(|offset| Refusal { accepted_before: 0, offset, rejected: poison() }).collect()
    }

    #[test]
    fn ranges_dropped_by_refusals_are_sealed_again_as_announced() {
        let mut partition = partition();
        for first in [0, 4, 8] {
            (first..first + 4).for_each(|offset| consume(&mut partition, offset));
            if first == 8 {
                announce(&mut partition);
            }
            partition.seal(SealReason::Rows);
        }
        consume(&mut partition, 12);
        let batch = partition.next_batch().unwrap();
        let now = Instant::now();
        assert_eq!(partition.count_refused(&refusals(0..2), &[3], now), Verdict::Continue);
        assert!(partition.is_writing());
        assert!(matches!(partition.count_refused(&refusals(2..6), &[0, 1, 3], now), Verdict::Trip(_)));
        assert!(partition.next_batch().is_none() && !partition.is_busy() && partition.open_bytes() == 0);
        partition.reset_breaker();
        assert_eq!((partition.flow_change(), partition.watermark()), (Some(Flow::ResumeAt(0)), Some(0)));
        assert!([0, 1, 3].iter().all(|sent| partition.is_dead_letter(*sent)) && !partition.is_dead_letter(2));
        (0..4).for_each(|offset| consume(&mut partition, offset));
        assert_eq!(partition.seal_reason(&LIMITS, Instant::now()), Some(SealReason::Announced));
        assert_eq!(partition.seal(SealReason::Announced).unwrap().announcement(), batch.announcement());
        assert_eq!(partition.next_batch().unwrap().range, batch.range);
        partition.record_written(batch.range);
        assert!(!partition.is_dead_letter(0), "dead letters of written ranges are dropped");
    }

    /// Rows between refusals are counted, and no row is counted twice.
    #[test]
    fn landed_rows_keep_the_breaker_closed_and_are_counted_once() {
        let mut partition = partition();
        let refusal = |offset| Refusal { accepted_before: 3, offset, rejected: poison() };
        for offset in (3..400).step_by(4) {
            assert_eq!(
                partition.count_refused(&[refusal(offset)], &[], Instant::now()),
                Verdict::Continue,
                "a quarter of them"
            );
        }
        partition.count_landed(310);
        let again: Vec<_> =
            (1000..1003).chain([1001]).map(|offset| Refusal { accepted_before: 0, ..refusal(offset) }).collect();
        assert_eq!(partition.count_refused(&again, &[], Instant::now()), Verdict::Continue, "three, one of them twice");
        assert!(
            matches!(partition.count_refused(&refusals(1003..1004), &[], Instant::now()), Verdict::Trip(_)),
            "four in a row"
        );
    }

    proptest! {
        /// However often the breaker opens and is reset, every offset is written in exactly one batch.
        #[test]
        fn a_breaker_that_opens_repeatedly_loses_and_duplicates_nothing(
            steps in proptest::collection::vec((0_u8..8, 1_i64..4), 1..400)
        ) {
            const END: i64 = 60;
            let mut partition = partition();
            let (mut next, mut written) = (0, Vec::<Range>::new());
            let mut sending: Option<Range> = None;
            // Next offset for a refused row: each offset is counted once.
            let mut refused = 0;
            let finish = std::iter::repeat_n([(6, 1), (0, 3), (1, 1), (2, 1), (3, 2), (4, 1)], 100).flatten();
            for (step, count) in steps.into_iter().chain(finish) {
                if let Some(Flow::ResumeAt(offset)) = partition.flow_change() {
                    next = offset;
                }
                let later = Instant::now() + COMMIT_INTERVAL + RETRY_WAIT;
                match step {
                    0 => for _ in 0..count {
                        if partition.discards_input() || partition.is_paused() || next >= END {
                            break;
                        }
                        while partition.ends_before(next) {
                            partition.seal(SealReason::Announced);
                        }
                        consume(&mut partition, next);
                        next += 1;
                        if let Some(seal_reason) = partition.seal_reason(&LIMITS, Instant::now()) {
                            partition.seal(seal_reason);
                        }
                    },
                    1 => drop(partition.seal(SealReason::Age)),
                    2 => drop(partition.next_commit(later, 1)),
                    3 if partition.is_committing() => drop(partition.handle_commit_response(count > 1, Instant::now())),
                    4 => match sending.take() {
                        None => sending = partition.next_batch().map(|batch| batch.range),
                        Some(range) => {
                            partition.record_written(range);
                            partition.count_landed(1);
                            written.push(range);
                        }
                    },
                    5 => {
                        let mut counted = next;
                        while !partition.is_held(Hold::Breaker) && !partition.discards_input() {
                            partition.count_rejected(counted, &poison(), Instant::now());
                            counted += 1;
                        }
                    }
                    6 => drop(partition.reset_breaker()),
                    7 => if let Some(range) = sending {
                        for _ in 0..4 {
                            let refusals = refusals(refused..refused + count);
                            refused += count;
                            if let Verdict::Trip(_) = partition.count_refused(&refusals, &[range.first], Instant::now()) {
                                sending = None;
                                break;
                            }
                        }
                    },
                    _ => {}
                }
            }
            let covered: Vec<i64> = written.iter().flat_map(|range| range.first..=range.last).collect();
            prop_assert_eq!(covered, (0..END).collect::<Vec<_>>());
        }
    }
}
