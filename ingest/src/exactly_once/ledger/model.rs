//! The ledger against a model: every range is kept for good, and each question looks at all of them.
//! What was told to Kafka is read back from the text of the commit.

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone, Copy)]
enum Step {
    /// A range so many offsets behind the last one, and of so many more than one.
    Seal(i64, i64),
    /// One that was announced is taken in again, with other contents.
    Recut(usize),
    /// One that was announced is durable.
    Done(usize),
    /// What is to be committed, or renewed.
    Ask(bool),
    /// Kafka has acknowledged it or not.
    Answer(bool),
    Forget,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0_i64..3, 0_i64..6).prop_map(|(gap, span)| Step::Seal(gap, span)),
        1 => (0_usize..100).prop_map(Step::Recut),
        3 => prop_oneof![Just(0), 0_usize..100].prop_map(Step::Done),
        4 => any::<bool>().prop_map(Step::Ask),
        4 => prop::bool::weighted(0.8).prop_map(Step::Answer),
        1 => Just(Step::Forget),
    ];
    proptest::collection::vec(step, 1..150)
}

/// A range and what became of it.
#[derive(Debug, Clone, Copy)]
struct Known {
    what: Announced,
    is_announced: bool,
    is_done: bool,
    told_at: Option<u64>,
}

#[derive(Debug, Default)]
struct Model {
    decoder: u64,
    /// Where the group stood at first.
    start: Option<i64>,
    committed: Option<i64>,
    ranges: Vec<Known>,
    asked: Option<(i64, Vec<Range>)>,
}

impl Model {
    fn new(decoder: u64, committed: Option<i64>, found: Option<&Intent>) -> Self {
        let known = |intent: &Intent, what: &Announced| {
            let doubt = if intent.decoder == decoder { what.doubt } else { Doubt::AllOrNothing };
            let what = Announced { doubt, ..*what };
            Known { what, is_announced: true, is_done: false, told_at: Some(intent.announced_at) }
        };
        let ranges = found.iter().flat_map(|intent| intent.ranges.iter().map(|what| known(intent, what))).collect();
        Self { decoder, start: committed, committed, ranges, asked: None }
    }

    /// Those that are not below the watermark.
    fn open(&self) -> &[Known] {
        let done = self.ranges.iter().take_while(|known| known.is_done).count();
        &self.ranges[done..]
    }

    fn watermark(&self) -> Option<i64> {
        let done = self.ranges.len() - self.open().len();
        self.ranges[..done].last().map(|known| known.what.range.last + 1).or(self.start)
    }

    fn offset(&self) -> Option<i64> {
        self.watermark().or_else(|| Some(self.open().first()?.what.range.first))
    }

    fn has_unannounced(&self) -> bool {
        self.open().iter().take(MAX_RANGES).any(|known| !known.is_announced && !known.is_done)
    }

    fn is_settled(&self) -> bool {
        self.asked.is_none() && self.offset() == self.committed && !self.has_unannounced()
    }

    /// Where the ranges stand that may be on their way, one of which `which` picks.
    fn sendable(&self, which: usize) -> Option<usize> {
        let can_be = |known: &Known| known.is_announced && !known.is_done;
        let all: Vec<usize> = (0..self.ranges.len()).filter(|at| can_be(&self.ranges[*at])).collect();
        all.get(which % all.len().max(1)).copied()
    }

    fn due(&self, now: u64, told: impl Fn(&Known) -> bool) -> Option<OffsetCommit> {
        let ranges = self.open().iter().filter(|known| told(known)).take(MAX_RANGES).map(|known| known.what).collect();
        let oldest = self.open().iter().filter_map(|known| known.told_at).min();
        let intent = Intent { decoder: self.decoder, announced_at: oldest.unwrap_or(now), ranges };
        Some(OffsetCommit { offset: self.offset()?, metadata: intent.encode() })
    }

    fn ask(&mut self, now: u64, renew: bool) -> Option<OffsetCommit> {
        let is_news = self.offset() != self.committed || self.has_unannounced();
        if self.asked.is_some() || !(renew || is_news) {
            return None;
        }
        self.offset()?;
        let from = self.ranges.len() - self.open().len();
        for known in self.ranges[from..].iter_mut().take(MAX_RANGES) {
            known.told_at = known.told_at.or(Some(now));
        }
        let due = self.due(now, |_| true)?;
        let told = self.open().iter().take(MAX_RANGES).map(|known| known.what.range).collect();
        self.asked = Some((due.offset, told));
        Some(due)
    }

    fn answer(&mut self, acknowledged: bool) {
        let Some((offset, told)) = self.asked.take().filter(|_| acknowledged) else { return };
        self.committed = Some(offset);
        for known in self.ranges.iter_mut().filter(|known| told.contains(&known.what.range)) {
            known.is_announced = true;
        }
    }

    fn forget(&mut self) -> Option<i64> {
        let keep = self.ranges.iter().rposition(|known| known.is_announced || known.is_done).map_or(0, |at| at + 1);
        self.ranges.drain(keep..).next().map(|known| known.what.range.first)
    }
}

fn what(first: i64, last: i64) -> Announced {
    Announced { range: Range { first, last }, digest: u128::from(first.unsigned_abs()), doubt: Doubt::No }
}

/// What must hold of every commit, whatever the model says: it passes nothing that is not done, and of what may have been
/// sent it hides nothing that lies before a range which it names.
fn check_due(model: &Model, due: &OffsetCommit) -> Result<(), TestCaseError> {
    let told = Intent::parse(&due.metadata).ok_or_else(|| TestCaseError::fail("no intent"))?.ranges;
    let is_told = |known: &Known| told.iter().any(|told| told.range == known.what.range);
    let behind = if told.len() < MAX_RANGES { i64::MAX } else { told[told.len() - 1].range.last };
    for known in model.ranges.iter().filter(|known| !known.is_done) {
        prop_assert!(due.offset <= known.what.range.first, "passed {known:?}");
        let may_be_there = known.told_at.is_some() && known.what.range.last <= behind;
        prop_assert!(!may_be_there || is_told(known), "hid {known:?}");
    }
    Ok(())
}

fn check(ledger: &Ledger, model: &Model, now: u64) -> Result<(), TestCaseError> {
    prop_assert_eq!(ledger.watermark(), model.watermark());
    prop_assert_eq!(ledger.committed(), model.committed);
    prop_assert_eq!(ledger.open_ranges(), model.open().len());
    prop_assert_eq!(ledger.has_unannounced(), model.has_unannounced());
    prop_assert_eq!(ledger.is_settled(), model.is_settled());
    let announced: Vec<_> = model.open().iter().filter(|k| k.is_announced && !k.is_done).map(|k| k.what).collect();
    prop_assert_eq!(ledger.announced().collect::<Vec<_>>(), announced);
    for known in model.open() {
        prop_assert_eq!(ledger.is_announced(known.what.range), known.is_announced && !known.is_done);
        prop_assert_eq!(ledger.announced_at(known.what.range), known.told_at);
    }
    let last = model.due(now, |known| known.told_at.is_some());
    let last = last.filter(|_| model.watermark().is_some() && model.watermark() != model.committed);
    prop_assert_eq!(ledger.last_commit(now), last.clone());
    last.map_or(Ok(()), |due| check_due(model, &due))
}

fn take(step: Step, now: u64, next: &mut i64, ledger: &mut Ledger, model: &mut Model) -> Result<(), TestCaseError> {
    match step {
        Step::Seal(gap, span) => {
            let what = what(*next + gap, *next + gap + span);
            *next = what.range.last + 1;
            ledger.sealed(what);
            model.ranges.push(Known { what, is_announced: false, is_done: false, told_at: None });
        }
        Step::Recut(which) => {
            if let Some(at) = model.sendable(which) {
                let what = &mut model.ranges[at].what;
                (what.digest, what.doubt) = (u128::from(now), Doubt::AllOrNothing);
                ledger.sealed(*what);
            }
        }
        Step::Done(which) => {
            if let Some(at) = model.sendable(which) {
                ledger.done(model.ranges[at].what.range);
                model.ranges[at].is_done = true;
            }
        }
        Step::Ask(renew) => {
            let due = model.ask(now, renew);
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

/// What stood beside the offset when the assignment began: so many ranges, of this decoder or another.
fn found(ranges: usize, is_ours: bool) -> Intent {
    let ranges = (0..).step_by(10).take(ranges).map(|first| what(first, first + 7)).collect();
    Intent { decoder: u64::from(is_ours), announced_at: 5, ranges }
}

proptest! {
    /// Whatever the order of seals, cuts, completions, commits and their answers, and whatever was found at the start:
    /// each question is answered as the model answers it, and no commit passes or hides what may be there in part.
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
