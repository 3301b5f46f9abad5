//! What happens to a partition when its breaker opens and is reset.
//! Verdicts of the breaker go in; what is taken in or waits is let go, to be read again from its topic, and nothing that
//! was sent is ever cut otherwise.

use std::time::Instant;

use super::{Hold, Partition};
use crate::breaker::{Breaker, Poison, Trip, Verdict};
use crate::commit::Range;

/// Index of the breaker that judges what was decoded.
const DECODE: usize = 0;
/// Index of the breaker that judges what was written.
const WRITE: usize = 1;

impl Partition {
    /// The record at `offset` was decoded.
    pub fn decoded(&mut self, offset: i64) {
        self.breakers[DECODE].fine(1, offset);
    }

    /// The record at `offset` cannot be decoded. If that is one too many, what is open is let go, to be read again when
    /// the breaker is reset; what is sealed goes on.
    pub fn rejected(&mut self, offset: i64, poison: &Poison, now: Instant) -> Verdict {
        let verdict = self.breakers[DECODE].rejected(offset, poison.tenant, now);
        if let Verdict::Trip(trip) = verdict {
            self.go_back_to(self.sealed_to);
            self.broke(trip, poison);
        }
        verdict
    }

    /// A range is durable, with so many rows. If ClickHouse refused its record and that is one too many, everything that
    /// waits is let go, and read again as it was announced when the breaker is reset.
    pub fn judge(&mut self, range: Range, landed: u64, refused: Option<&Poison>, now: Instant) -> Verdict {
        let Some(poison) = refused else {
            self.breakers[WRITE].fine(landed, range.last);
            return Verdict::Pass;
        };
        let verdict = self.breakers[WRITE].rejected(range.last, poison.tenant, now);
        if let Verdict::Trip(trip) = verdict {
            self.sealed.clear();
            let unknown = self.ledger.forget_unannounced();
            self.announced = self.ledger.announced().collect();
            let known = self.announced.front().map(|announced| announced.range.first);
            self.go_back_to(known.or(unknown).unwrap_or(self.sealed_to));
            self.release(Hold::Ranges);
            self.broke(trip, poison);
        }
        verdict
    }

    fn go_back_to(&mut self, offset: i64) {
        self.open = None;
        self.may_exceed = false;
        (self.start, self.position, self.sealed_to) = (offset, offset, offset);
        self.must_seek = true;
    }

    fn broke(&mut self, trip: Trip, poison: &Poison) {
        self.hold(Hold::Breaker);
        self.broken = Some(format!(
            "the breaker is open: {trip}, the last one as {}; nothing more is taken in. Repair what makes them so and \
             restart, or let them go to the dead-letter topic with `sluice ingest breaker reset`",
            poison.reason
        ));
    }

    /// Why the breaker is open, if it is.
    pub fn why_broken(&self) -> Option<&str> {
        self.broken.as_deref()
    }

    /// Goes on after the breaker opened. Says whether it was open.
    pub fn reset_breaker(&mut self) -> bool {
        self.breakers.iter_mut().filter(|breaker| breaker.is_open()).for_each(Breaker::reset);
        self.release(Hold::Breaker);
        self.broken.take().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{LIMITS, announce, partition, take};
    use super::super::{COMMIT_EVERY, COMMIT_WAIT, Flow};
    use super::*;
    use crate::batch::Cut;
    use proptest::prelude::*;

    fn poison() -> Poison {
        Poison { tenant: None, reason: "wrong_type".to_owned() }
    }

    #[test]
    fn what_is_open_when_the_breaker_opens_is_read_again_and_what_is_sealed_goes_on() {
        let mut partition = partition();
        take(&mut partition, 0);
        partition.seal(Cut::Rows);
        take(&mut partition, 1);
        for offset in 2..5 {
            assert_eq!(partition.rejected(offset, &poison(), Instant::now()), Verdict::Pass);
            take(&mut partition, offset);
        }
        assert!(matches!(partition.rejected(5, &poison(), Instant::now()), Verdict::Trip(_)));
        assert!(partition.is_deaf() && partition.flow_change() == Some(Flow::Pause));
        insta::assert_snapshot!(partition.why_broken().unwrap(), @"the breaker is open: 4 of the last 4 records cannot land, and no tenant can be read in them, the last one as wrong_type; nothing more is taken in. Repair what makes them so and restart, or let them go to the dead-letter topic with `sluice ingest breaker reset`");
        announce(&mut partition);
        let sealed = partition.next_batch().unwrap().range;
        partition.written(sealed);
        assert_eq!((partition.watermark(), partition.position()), (Some(1), 1));
        assert!(partition.reset_breaker() && !partition.reset_breaker());
        assert!(partition.is_deaf(), "until the client was sent back");
        assert_eq!(partition.flow_change(), Some(Flow::ResumeAt(1)));
        assert!(!partition.is_deaf());
    }

    #[test]
    fn what_waits_when_refusals_open_the_breaker_is_cut_as_it_was_announced() {
        let mut partition = partition();
        for first in [0, 4, 8] {
            (first..first + 4).for_each(|offset| take(&mut partition, offset));
            if first == 8 {
                announce(&mut partition);
            }
            partition.seal(Cut::Rows);
        }
        take(&mut partition, 12);
        let whole = partition.next_batch().unwrap();
        partition.replace(whole.range, whole.pieces(0, Some(0)));
        partition.commit_answered(true, Instant::now());
        partition.to_commit(Instant::now() + COMMIT_WAIT, 8);
        partition.commit_answered(true, Instant::now());
        let refused = partition.next_batch().unwrap().range;
        assert_eq!(refused, Range { first: 0, last: 0 });
        for offset in -3..0 {
            let range = Range { first: offset, last: offset };
            partition.judge(range, 0, Some(&poison()), Instant::now());
        }
        partition.written(refused);
        assert!(matches!(partition.judge(refused, 0, Some(&poison()), Instant::now()), Verdict::Trip(_)));
        assert!(partition.next_batch().is_none() && !partition.is_busy() && partition.open_bytes() == 0);
        partition.reset_breaker();
        assert_eq!((partition.flow_change(), partition.watermark()), (Some(Flow::ResumeAt(1)), Some(1)));
        (1..4).for_each(|offset| take(&mut partition, offset));
        assert_eq!(partition.cut(&LIMITS, Instant::now()), Some(Cut::Announced));
        assert_eq!(partition.seal(Cut::Announced).unwrap().range, Range { first: 1, last: 3 });
    }

    proptest! {
        /// Whatever opens the breaker and whenever it is reset: every offset is written, and none is in two batches that
        /// were sent.
        #[test]
        fn a_breaker_that_opens_again_and_again_loses_and_doubles_nothing(
            steps in proptest::collection::vec((0_u8..8, 1_i64..4), 1..400)
        ) {
            const END: i64 = 60;
            let mut partition = partition();
            let (mut next, mut written) = (0, Vec::<Range>::new());
            let mut sending: Option<Range> = None;
            let finish = std::iter::repeat_n([(6, 1), (0, 3), (1, 1), (2, 1), (3, 2), (4, 1)], 100).flatten();
            for (step, count) in steps.into_iter().chain(finish) {
                if let Some(Flow::ResumeAt(offset)) = partition.flow_change() {
                    next = offset;
                }
                let later = Instant::now() + COMMIT_EVERY + COMMIT_WAIT;
                match step {
                    0 => for _ in 0..count {
                        if partition.is_deaf() || partition.is_paused() || next >= END {
                            break;
                        }
                        while partition.ends_before(next) {
                            partition.seal(Cut::Announced);
                        }
                        take(&mut partition, next);
                        next += 1;
                        if let Some(cut) = partition.cut(&LIMITS, Instant::now()) {
                            partition.seal(cut);
                        }
                    },
                    1 => drop(partition.seal(Cut::Age)),
                    2 => drop(partition.to_commit(later, 1)),
                    3 if partition.is_committing() => drop(partition.commit_answered(count > 1, Instant::now())),
                    4 => match sending.take() {
                        None => sending = partition.next_batch().map(|batch| batch.range),
                        Some(range) => {
                            partition.written(range);
                            written.push(range);
                        }
                    },
                    5 => {
                        let mut judged = next;
                        while !partition.is_held(Hold::Breaker) && !partition.is_deaf() {
                            partition.rejected(judged, &poison(), Instant::now());
                            judged += 1;
                        }
                    }
                    6 => drop(partition.reset_breaker()),
                    7 if sending.is_none() && !partition.is_deaf() => {
                        let last = written.last().map_or(-1, |range| range.last);
                        for back in 0..4 {
                            let range = Range { first: last + back, last: last + back };
                            partition.judge(range, 0, Some(&poison()), Instant::now());
                        }
                    }
                    _ => {}
                }
            }
            let covered: Vec<i64> = written.iter().flat_map(|range| range.first..=range.last).collect();
            prop_assert_eq!(covered, (0..END).collect::<Vec<_>>());
        }
    }
}
