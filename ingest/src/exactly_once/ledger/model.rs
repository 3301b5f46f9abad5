//! Tests the ledger against a model that keeps every range and checks them all for each query.
//! Announced ranges are read back from the metadata of the commit. No broker is involved.

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone, Copy)]
enum Step {
    /// A range is sealed, after a gap of this many offsets; the second number is the last offset minus the first.
    Seal(i64, i64),
    /// An announced range is sealed again, with other contents.
    Reseal(usize),
    /// An announced range becomes durable.
    MarkDurable(usize),
    /// A commit is requested, as a renewal if true.
    Commit(bool),
    /// Kafka acknowledges the commit if true; else it fails.
    Respond(bool),
    /// Unannounced ranges are dropped.
    DropUnannounced,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0_i64..3, 0_i64..6).prop_map(|(gap, span)| Step::Seal(gap, span)),
        1 => (0_usize..100).prop_map(Step::Reseal),
        3 => prop_oneof![Just(0), 0_usize..100].prop_map(Step::MarkDurable),
        4 => any::<bool>().prop_map(Step::Commit),
        4 => prop::bool::weighted(0.8).prop_map(Step::Respond),
        1 => Just(Step::DropUnannounced),
    ];
    proptest::collection::vec(step, 1..150)
}

/// A range and its state.
#[derive(Debug, Clone, Copy)]
struct ModelEntry {
    announcement: Announced,
    is_announced: bool,
    is_durable: bool,
    announced_at: Option<u64>,
}

#[derive(Debug, Default)]
struct Model {
    decoder: u64,
    /// The committed offset at the start.
    start: Option<i64>,
    committed: Option<i64>,
    ranges: Vec<ModelEntry>,
    in_flight: Option<(i64, Vec<Range>)>,
}

impl Model {
    fn new(decoder: u64, committed: Option<i64>, intent: Option<&Intent>) -> Self {
        let entry = |intent: &Intent, announcement: &Announced| {
            let doubt = if intent.decoder == decoder { announcement.doubt } else { Doubt::AllOrNothing };
            let announcement = Announced { doubt, ..*announcement };
            ModelEntry { announcement, is_announced: true, is_durable: false, announced_at: Some(intent.announced_at) }
        };
        let ranges = intent
            .iter()
            .flat_map(|intent| intent.ranges.iter().map(|announcement| entry(intent, announcement)))
            .collect();
        Self { decoder, start: committed, committed, ranges, in_flight: None }
    }

    /// The ranges above the watermark.
    fn open(&self) -> &[ModelEntry] {
        let done = self.ranges.iter().take_while(|entry| entry.is_durable).count();
        &self.ranges[done..]
    }

    fn watermark(&self) -> Option<i64> {
        let done = self.ranges.len() - self.open().len();
        self.ranges[..done].last().map(|entry| entry.announcement.range.last + 1).or(self.start)
    }

    fn offset(&self) -> Option<i64> {
        self.watermark().or_else(|| Some(self.open().first()?.announcement.range.first))
    }

    fn has_unannounced(&self) -> bool {
        self.open().iter().take(MAX_RANGES).any(|entry| !entry.is_announced && !entry.is_durable)
    }

    fn is_settled(&self) -> bool {
        self.in_flight.is_none() && self.offset() == self.committed && !self.has_unannounced()
    }

    /// Index of an announced range that is not durable, picked by `which`.
    fn pick_pending(&self, which: usize) -> Option<usize> {
        let is_candidate = |entry: &ModelEntry| entry.is_announced && !entry.is_durable;
        let all: Vec<usize> = (0..self.ranges.len()).filter(|at| is_candidate(&self.ranges[*at])).collect();
        all.get(which % all.len().max(1)).copied()
    }

    fn build_commit(&self, now: u64, is_included: impl Fn(&ModelEntry) -> bool) -> Option<OffsetCommit> {
        let ranges = self
            .open()
            .iter()
            .filter(|entry| is_included(entry))
            .take(MAX_RANGES)
            .map(|entry| entry.announcement)
            .collect();
        let oldest = self.open().iter().filter_map(|entry| entry.announced_at).min();
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
        for entry in self.ranges[from..].iter_mut().take(MAX_RANGES) {
            entry.announced_at = entry.announced_at.or(Some(now));
        }
        let due = self.build_commit(now, |_| true)?;
        let ranges = self.open().iter().take(MAX_RANGES).map(|entry| entry.announcement.range).collect();
        self.in_flight = Some((due.offset, ranges));
        Some(due)
    }

    fn handle_response(&mut self, acknowledged: bool) {
        let Some((offset, ranges)) = self.in_flight.take().filter(|_| acknowledged) else { return };
        self.committed = Some(offset);
        for entry in self.ranges.iter_mut().filter(|entry| ranges.contains(&entry.announcement.range)) {
            entry.is_announced = true;
        }
    }

    fn forget(&mut self) -> Option<i64> {
        let keep = self.ranges.iter().rposition(|entry| entry.is_announced || entry.is_durable).map_or(0, |at| at + 1);
        self.ranges.drain(keep..).next().map(|entry| entry.announcement.range.first)
    }
}

fn announced(first: i64, last: i64) -> Announced {
    Announced { range: Range { first, last }, digest: u128::from(first.unsigned_abs()), doubt: Doubt::No }
}

/// Checks invariants of every commit, independent of the model: the offset passes no range that is not durable, and the intent
/// omits no range that may have been sent and precedes a range in the intent.
fn check_due(model: &Model, due: &OffsetCommit) -> Result<(), TestCaseError> {
    let named = Intent::parse(&due.metadata).ok_or_else(|| TestCaseError::fail("no intent"))?.ranges;
    let is_named = |entry: &ModelEntry| named.iter().any(|named| named.range == entry.announcement.range);
    let end = if named.len() < MAX_RANGES { i64::MAX } else { named[named.len() - 1].range.last };
    for entry in model.ranges.iter().filter(|entry| !entry.is_durable) {
        prop_assert!(due.offset <= entry.announcement.range.first, "passed {entry:?}");
        let may_be_sent = entry.announced_at.is_some() && entry.announcement.range.last <= end;
        prop_assert!(!may_be_sent || is_named(entry), "omitted {entry:?}");
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
        model.open().iter().filter(|k| k.is_announced && !k.is_durable).map(|k| k.announcement).collect();
    prop_assert_eq!(ledger.announced().collect::<Vec<_>>(), announced);
    for entry in model.open() {
        prop_assert_eq!(ledger.is_announced(entry.announcement.range), entry.is_announced && !entry.is_durable);
        prop_assert_eq!(ledger.announced_at(entry.announcement.range), entry.announced_at);
    }
    let last = model.build_commit(now, |entry| entry.announced_at.is_some());
    let last = last.filter(|_| model.watermark().is_some() && model.watermark() != model.committed);
    prop_assert_eq!(ledger.final_commit(now), last.clone());
    last.map_or(Ok(()), |due| check_due(model, &due))
}

fn apply(step: Step, now: u64, next: &mut i64, ledger: &mut Ledger, model: &mut Model) -> Result<(), TestCaseError> {
    match step {
        Step::Seal(gap, span) => {
            let announcement = announced(*next + gap, *next + gap + span);
            *next = announcement.range.last + 1;
            ledger.add_sealed(announcement);
            model.ranges.push(ModelEntry { announcement, is_announced: false, is_durable: false, announced_at: None });
        }
        Step::Reseal(which) => {
            if let Some(at) = model.pick_pending(which) {
                let announcement = &mut model.ranges[at].announcement;
                (announcement.digest, announcement.doubt) = (u128::from(now), Doubt::AllOrNothing);
                ledger.add_sealed(*announcement);
            }
        }
        Step::MarkDurable(which) => {
            if let Some(at) = model.pick_pending(which) {
                ledger.mark_durable(model.ranges[at].announcement.range);
                model.ranges[at].is_durable = true;
            }
        }
        Step::Commit(renew) => {
            let due = model.commit(now, renew);
            prop_assert_eq!(ledger.next_commit(now, renew), due.clone());
            due.map_or(Ok(()), |due| check_due(model, &due))?;
        }
        Step::Respond(acknowledged) => {
            ledger.handle_commit_response(acknowledged);
            model.handle_response(acknowledged);
        }
        Step::DropUnannounced => {
            let first = model.forget();
            prop_assert_eq!(ledger.drop_unannounced(), first);
            *next = first.unwrap_or(*next);
        }
    }
    Ok(())
}

/// The intent at the start of the assignment: `ranges` ranges, from this decoder or another.
fn initial_intent(ranges: usize, is_same_decoder: bool) -> Intent {
    let ranges = (0..).step_by(10).take(ranges).map(|first| announced(first, first + 7)).collect();
    Intent { decoder: u64::from(is_same_decoder), announced_at: 5, ranges }
}

proptest! {
    /// For any order of steps and any intent at the start, the ledger agrees with the model, and no commit passes or omits a
    /// range that may be partly written.
    #[test]
    fn no_order_of_events_loses_a_range(
        begin in proptest::option::weighted(0.7, (0..=MAX_RANGES, any::<bool>())), steps in steps()
    ) {
        let intent = begin.map(|(ranges, is_same_decoder)| initial_intent(ranges, is_same_decoder));
        let committed = begin.map(|_| 0);
        let mut ledger = Ledger::new(1, committed, intent.as_ref());
        let mut model = Model::new(1, committed, intent.as_ref());
        let mut next = intent.and_then(|intent| Some(intent.ranges.last()?.range.last + 1)).unwrap_or_default();
        for (now, step) in (10..).zip(steps) {
            check(&ledger, &model, now)?;
            apply(step, now, &mut next, &mut ledger, &mut model)?;
        }
        check(&ledger, &model, 0)?;
    }
}
