//! Tests the ledger against a model that keeps every range and evaluates all of them for each query.
//! Announced ranges are read back from the metadata of the commit.

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone, Copy)]
enum Step {
    /// A range is sealed, after a gap of this many offsets; the second number is its last offset minus its first.
    Seal(i64, i64),
    /// An announced range is sealed again, with other contents.
    Reseal(usize),
    /// An announced range is durable.
    Done(usize),
    /// A commit is requested, as a renewal if true.
    Commit(bool),
    /// Kafka acknowledges the commit, or not.
    Answer(bool),
    /// Unannounced ranges are dropped.
    Forget,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0_i64..3, 0_i64..6).prop_map(|(gap, span)| Step::Seal(gap, span)),
        1 => (0_usize..100).prop_map(Step::Reseal),
        3 => prop_oneof![Just(0), 0_usize..100].prop_map(Step::Done),
        4 => any::<bool>().prop_map(Step::Commit),
        4 => prop::bool::weighted(0.8).prop_map(Step::Answer),
        1 => Just(Step::Forget),
    ];
    proptest::collection::vec(step, 1..150)
}

/// A range and its state.
#[derive(Debug, Clone, Copy)]
struct Known {
    announcement: Announced,
    is_announced: bool,
    is_done: bool,
    announced_at: Option<u64>,
}

#[derive(Debug, Default)]
struct Model {
    decoder: u64,
    /// The committed offset at the start.
    start: Option<i64>,
    committed: Option<i64>,
    ranges: Vec<Known>,
    in_flight: Option<(i64, Vec<Range>)>,
}

impl Model {
    fn new(decoder: u64, committed: Option<i64>, found: Option<&Intent>) -> Self {
        let known = |intent: &Intent, announcement: &Announced| {
            let doubt = if intent.decoder == decoder { announcement.doubt } else { Doubt::AllOrNothing };
            let announcement = Announced { doubt, ..*announcement };
            Known { announcement, is_announced: true, is_done: false, announced_at: Some(intent.announced_at) }
        };
        let ranges = found
            .iter()
            .flat_map(|intent| intent.ranges.iter().map(|announcement| known(intent, announcement)))
            .collect();
        Self { decoder, start: committed, committed, ranges, in_flight: None }
    }

    /// The ranges above the watermark.
    fn open(&self) -> &[Known] {
        let done = self.ranges.iter().take_while(|known| known.is_done).count();
        &self.ranges[done..]
    }

    fn watermark(&self) -> Option<i64> {
        let done = self.ranges.len() - self.open().len();
        self.ranges[..done].last().map(|known| known.announcement.range.last + 1).or(self.start)
    }

    fn offset(&self) -> Option<i64> {
        self.watermark().or_else(|| Some(self.open().first()?.announcement.range.first))
    }

    fn has_unannounced(&self) -> bool {
        self.open().iter().take(MAX_RANGES).any(|known| !known.is_announced && !known.is_done)
    }

    fn is_settled(&self) -> bool {
        self.in_flight.is_none() && self.offset() == self.committed && !self.has_unannounced()
    }

    /// Index of an announced range that is not durable, picked by `which`.
    fn pick_pending(&self, which: usize) -> Option<usize> {
        let is_candidate = |known: &Known| known.is_announced && !known.is_done;
        let all: Vec<usize> = (0..self.ranges.len()).filter(|at| is_candidate(&self.ranges[*at])).collect();
        all.get(which % all.len().max(1)).copied()
    }

    fn due(&self, now: u64, is_included: impl Fn(&Known) -> bool) -> Option<OffsetCommit> {
        let ranges = self
            .open()
            .iter()
            .filter(|known| is_included(known))
            .take(MAX_RANGES)
            .map(|known| known.announcement)
            .collect();
        let oldest = self.open().iter().filter_map(|known| known.announced_at).min();
        let intent = Intent { decoder: self.decoder, announced_at: oldest.unwrap_or(now), ranges };
        Some(OffsetCommit { offset: self.offset()?, metadata: intent.encode() })
    }

    fn commit(&mut self, now: u64, renew: bool) -> Option<OffsetCommit> {
        let has_changes = self.offset() != self.committed || self.has_unannounced();
        if self.in_flight.is_some() || !(renew || has_changes) {
            return None;
        }
        self.offset()?;
        let from = self.ranges.len() - self.open().len();
        for known in self.ranges[from..].iter_mut().take(MAX_RANGES) {
            known.announced_at = known.announced_at.or(Some(now));
        }
        let due = self.due(now, |_| true)?;
        let ranges = self.open().iter().take(MAX_RANGES).map(|known| known.announcement.range).collect();
        self.in_flight = Some((due.offset, ranges));
        Some(due)
    }

    fn answer(&mut self, acknowledged: bool) {
        let Some((offset, ranges)) = self.in_flight.take().filter(|_| acknowledged) else { return };
        self.committed = Some(offset);
        for known in self.ranges.iter_mut().filter(|known| ranges.contains(&known.announcement.range)) {
            known.is_announced = true;
        }
    }

    fn forget(&mut self) -> Option<i64> {
        let keep = self.ranges.iter().rposition(|known| known.is_announced || known.is_done).map_or(0, |at| at + 1);
        self.ranges.drain(keep..).next().map(|known| known.announcement.range.first)
    }
}

fn announced(first: i64, last: i64) -> Announced {
    Announced { range: Range { first, last }, digest: u128::from(first.unsigned_abs()), doubt: Doubt::No }
}

/// Invariants of every commit, independent of the model: its offset passes no range that is not durable, and its intent omits
/// no range that may have been sent and lies before a range that it names.
fn check_due(model: &Model, due: &OffsetCommit) -> Result<(), TestCaseError> {
    let named = Intent::parse(&due.metadata).ok_or_else(|| TestCaseError::fail("no intent"))?.ranges;
    let is_named = |known: &Known| named.iter().any(|named| named.range == known.announcement.range);
    let end = if named.len() < MAX_RANGES { i64::MAX } else { named[named.len() - 1].range.last };
    for known in model.ranges.iter().filter(|known| !known.is_done) {
        prop_assert!(due.offset <= known.announcement.range.first, "passed {known:?}");
        let may_be_sent = known.announced_at.is_some() && known.announcement.range.last <= end;
        prop_assert!(!may_be_sent || is_named(known), "omitted {known:?}");
    }
    Ok(())
}

fn check(ledger: &Ledger, model: &Model, now: u64) -> Result<(), TestCaseError> {
    prop_assert_eq!(ledger.watermark(), model.watermark());
    prop_assert_eq!(ledger.committed(), model.committed);
    prop_assert_eq!(ledger.open_ranges(), model.open().len());
    prop_assert_eq!(ledger.has_unannounced(), model.has_unannounced());
    prop_assert_eq!(ledger.is_settled(), model.is_settled());
    let announced: Vec<_> =
        model.open().iter().filter(|k| k.is_announced && !k.is_done).map(|k| k.announcement).collect();
    prop_assert_eq!(ledger.announced().collect::<Vec<_>>(), announced);
    for known in model.open() {
        prop_assert_eq!(ledger.is_announced(known.announcement.range), known.is_announced && !known.is_done);
        prop_assert_eq!(ledger.announced_at(known.announcement.range), known.announced_at);
    }
    let last = model.due(now, |known| known.announced_at.is_some());
    let last = last.filter(|_| model.watermark().is_some() && model.watermark() != model.committed);
    prop_assert_eq!(ledger.last_commit(now), last.clone());
    last.map_or(Ok(()), |due| check_due(model, &due))
}

fn take(step: Step, now: u64, next: &mut i64, ledger: &mut Ledger, model: &mut Model) -> Result<(), TestCaseError> {
    match step {
        Step::Seal(gap, span) => {
            let announcement = announced(*next + gap, *next + gap + span);
            *next = announcement.range.last + 1;
            ledger.sealed(announcement);
            model.ranges.push(Known { announcement, is_announced: false, is_done: false, announced_at: None });
        }
        Step::Reseal(which) => {
            if let Some(at) = model.pick_pending(which) {
                let announcement = &mut model.ranges[at].announcement;
                (announcement.digest, announcement.doubt) = (u128::from(now), Doubt::AllOrNothing);
                ledger.sealed(*announcement);
            }
        }
        Step::Done(which) => {
            if let Some(at) = model.pick_pending(which) {
                ledger.done(model.ranges[at].announcement.range);
                model.ranges[at].is_done = true;
            }
        }
        Step::Commit(renew) => {
            let due = model.commit(now, renew);
            prop_assert_eq!(ledger.to_commit(now, renew), due.clone());
            due.map_or(Ok(()), |due| check_due(model, &due))?;
        }
        Step::Answer(acknowledged) => {
            ledger.answered(acknowledged);
            model.answer(acknowledged);
        }
        Step::Forget => {
            let first = model.forget();
            prop_assert_eq!(ledger.forget_unannounced(), first);
            *next = first.unwrap_or(*next);
        }
    }
    Ok(())
}

/// The intent at the start of the assignment, with this many ranges, of this decoder or another.
fn found(ranges: usize, is_ours: bool) -> Intent {
    let ranges = (0..).step_by(10).take(ranges).map(|first| announced(first, first + 7)).collect();
    Intent { decoder: u64::from(is_ours), announced_at: 5, ranges }
}

proptest! {
    /// For any order of steps and any intent at the start, the ledger agrees with the model, and no commit passes or omits a
    /// range that may be partly written.
    #[test]
    fn no_order_of_events_loses_a_range(
        begin in proptest::option::weighted(0.7, (0..=MAX_RANGES, any::<bool>())), steps in steps()
    ) {
        let found = begin.map(|(ranges, is_ours)| found(ranges, is_ours));
        let committed = begin.map(|_| 0);
        let mut ledger = Ledger::new(1, committed, found.as_ref());
        let mut model = Model::new(1, committed, found.as_ref());
        let mut next = found.and_then(|found| Some(found.ranges.last()?.range.last + 1)).unwrap_or_default();
        for (now, step) in (10..).zip(steps) {
            check(&ledger, &model, now)?;
            take(step, now, &mut next, &mut ledger, &mut model)?;
        }
        check(&ledger, &model, 0)?;
    }
}
