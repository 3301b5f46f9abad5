//! Batches against a model: the plain list of records that went in.
//! Any records, limits and clock; rows and dead letters mixed, offsets with gaps, keys or none. Then the batches are cut
//! into pieces, and what is missing is picked out of them.

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::sample::Index;
use uuid::Uuid;

use super::*;
use crate::body::CHUNK;
use crate::budget::Budget;

/// A record on its way in.
#[derive(Debug, Clone)]
struct Record {
    offset: i64,
    /// Seconds since the first one.
    at: u64,
    key: Option<Vec<u8>>,
    payload: Option<Vec<u8>>,
    /// Month and row; else it is a dead letter.
    row: Option<(u32, Vec<u8>)>,
}

impl Record {
    fn letter(&self) -> DeadLetter {
        DeadLetter {
            key: self.key.clone(),
            payload: self.payload.clone(),
            headers: vec![("a".to_owned(), None), ("header".to_owned(), self.key.clone())],
            headers_left_out: None,
            reason: "wrong_type".to_owned(),
            stage: "decode".to_owned(),
            error_class: "row".to_owned(),
            topic: "t".to_owned(),
            topic_id: Uuid::nil(),
            partition: 0,
            offset: self.offset,
            timestamp_ms: None,
            attempts: 1,
            tenant_id: None,
        }
    }

    /// What it adds to a batch.
    fn bytes(&self) -> usize {
        let letter = || {
            // Each header takes its place in the list, and a block for its name and its value.
            let block = |bytes: usize| if bytes == 0 { 0 } else { 16 + bytes.div_ceil(16) * 16 };
            let (key, payload) = [&self.key, &self.payload].map(|part| part.as_ref().map_or(0, Vec::len)).into();
            key + payload + size_of::<DeadLetter>() + 2 * 48 + block(1) + block(6) + block(key)
        };
        self.row.as_ref().map_or_else(letter, |(_, row)| row.len())
    }

    fn put(&self, batch: &mut OpenBatch) {
        batch.note(self.offset, self.key.as_deref(), self.payload.as_deref());
        match &self.row {
            Some((month, row)) => batch.push_row(*month, row),
            None => batch.push_dead_letter(self.letter()),
        }
    }
}

/// Records of few months or many, with gaps between their offsets; each waits a while after the one before.
fn records() -> impl Strategy<Value = Vec<Record>> {
    prop_oneof![Just(1), Just(3), Just(20)].prop_flat_map(records_of)
}

fn records_of(months: u32) -> impl Strategy<Value = Vec<Record>> {
    let bytes = |most| proptest::collection::vec(any::<u8>(), 0..most);
    let row = prop_oneof![6 => (1..=months, bytes(200)).prop_map(Some), 1 => Just(None)];
    let one = (0_i64..3, 0_u64..12, proptest::option::of(bytes(10)), proptest::option::weighted(0.9, bytes(60)), row);
    proptest::collection::vec(one, 1..100).prop_map(|all| {
        let (mut offset, mut at) = (-1, 0);
        let record = |(gap, wait, key, payload, row)| {
            (offset, at) = (offset + 1 + gap, at + wait);
            Record { offset, at, key, payload, row }
        };
        all.into_iter().map(record).collect()
    })
}

fn limits() -> impl Strategy<Value = Limits> {
    let seconds = (1_u64..60).prop_map(Duration::from_secs);
    let limits = (1_usize..40, 1_usize..4000, seconds, 1_usize..15);
    limits.prop_map(|(rows, bytes, age, months)| {
        let backlog = Backlog { rows, bytes, time: Duration::ZERO };
        Limits { rows, bytes, age, months, backlog }
    })
}

/// Cuts as an assignment does: when time passes and after each record.
fn cut(records: &[Record], limits: &Limits, budget: &Arc<Budget>) -> Vec<(Batch, Cut, Instant)> {
    let start = Instant::now();
    let mut sealed = Vec::new();
    let mut open: Option<OpenBatch> = None;
    let mut seal_if_due = |open: &mut Option<OpenBatch>, now| {
        if let Some(cut) = open.as_ref().and_then(|batch| batch.cut(limits, now)) {
            sealed.extend(open.take().and_then(|batch| Some((batch.seal(None)?, cut, now))));
        }
    };
    for record in records {
        let now = start + Duration::from_secs(record.at);
        seal_if_due(&mut open, now);
        record.put(open.get_or_insert_with(|| OpenBatch::open(now, budget.permit(0))));
        seal_if_due(&mut open, now);
    }
    sealed.extend(open.and_then(|batch| Some((batch.seal(None)?, Cut::Drain, start))));
    sealed
}

fn batch_of(records: &[Record]) -> Batch {
    let mut open = OpenBatch::open(Instant::now(), Budget::new(1, 1).permit(0));
    for record in records {
        record.put(&mut open);
    }
    open.seal(None).unwrap()
}

fn months(records: &[Record]) -> BTreeSet<u32> {
    records.iter().filter_map(|record| Some(record.row.as_ref()?.0)).collect()
}

/// Asserts that a batch holds these records and no others, in order.
fn check_contents(batch: &Batch, records: &[Record]) -> Result<(), TestCaseError> {
    prop_assert_eq!(batch.records(), records.len());
    let letters: Vec<_> = records.iter().filter(|record| record.row.is_none()).map(Record::letter).collect();
    prop_assert_eq!(&batch.dead_letters, &letters);
    prop_assert_eq!(batch.rows(), records.len() - letters.len());
    prop_assert_eq!(batch.parts.iter().map(|part| part.month).collect::<BTreeSet<_>>(), months(records));
    prop_assert_eq!(batch.parts.len(), months(records).len());
    for part in &batch.parts {
        let own = || records.iter().filter_map(|r| Some((r.offset, r.row.as_ref()?))).filter(|r| r.1.0 == part.month);
        prop_assert_eq!(batch.offsets(part).collect::<Vec<_>>(), own().map(|r| r.0).collect::<Vec<_>>());
        prop_assert_eq!(part.body.to_vec(), own().map(|r| r.1.1.as_slice()).collect::<Vec<_>>().concat());
        prop_assert_eq!(part.count(), own().count());
    }
    prop_assert_eq!(batch.digest, digest_of_all(records));
    let (first, last) = (records[0].offset, records[records.len() - 1].offset);
    let range = Range { first, last };
    prop_assert_eq!(batch.range, range);
    prop_assert_eq!(batch.announcement(), Announced { range, digest: batch.digest, doubt: batch.doubt });
    Ok(())
}

/// The digest does not look at rows.
fn digest_of_all(records: &[Record]) -> u128 {
    let mut batch = OpenBatch::open(Instant::now(), Budget::new(1, 1).permit(0));
    for record in records {
        batch.note(record.offset, record.key.as_deref(), record.payload.as_deref());
    }
    batch.seal(None).unwrap().digest
}

/// Asserts that it was sealed as soon as a limit was reached and no sooner, for the reason that is named.
fn check_cut(batch: &Batch, cut: Cut, now: Instant, own: &[Record], limits: &Limits) -> Result<(), TestCaseError> {
    let bytes = |records: &[Record]| records.iter().map(Record::bytes).sum::<usize>();
    let (_, before) = own.split_last().unwrap();
    prop_assert!(before.len() < limits.rows && bytes(before) < limits.bytes && months(before).len() < limits.months);
    let waited = Duration::from_secs(own[own.len() - 1].at - own[0].at);
    prop_assert!(own.len() == 1 || waited < limits.age, "it took a record in when it was due");
    let is_old = now.saturating_duration_since(batch.opened) >= limits.age;
    let full = [
        (own.len() >= limits.rows, Cut::Rows),
        (bytes(own) >= limits.bytes, Cut::Bytes),
        (months(own).len() >= limits.months, Cut::Months),
        (is_old, Cut::Age),
    ];
    let reason = full.into_iter().find(|(is_reached, _)| *is_reached).map_or(Cut::Drain, |(_, cut)| cut);
    prop_assert_eq!(cut, reason);
    Ok(())
}

/// Asserts that the budget knows of every byte, and of no more than the steps in which buffers grow.
fn check_permit(batch: &Batch, records: &[Record]) -> Result<(), TestCaseError> {
    let bytes: usize = records.iter().map(Record::bytes).sum();
    let lists = records.len().next_multiple_of(RECORDS_STEP) * (size_of::<Taken>() + size_of::<Row>());
    let held = batch.permit.bytes();
    prop_assert!(held >= bytes + lists, "{held} for {bytes}");
    let spare = |part: &Part| part.body.bytes().max(*CHUNK.start()).min(*CHUNK.end()) + 200;
    prop_assert!(held <= bytes + lists + batch.parts.iter().map(spare).sum::<usize>(), "{held} for {bytes}");
    Ok(())
}

/// Cuts a batch at any of its rows, and its pieces again, until each record is alone.
fn cut_up(batch: &Batch, records: &[Record], at: Index, guess: u8) -> Result<(), TestCaseError> {
    check_contents(batch, records)?;
    let part = if batch.parts.is_empty() { 0 } else { at.index(batch.parts.len()) };
    let count = batch.parts.get(part).map_or(0, Part::count);
    // Now and then nobody knows which row it is, or the number is no row's.
    let row = (guess > 50 && count > 0).then(|| at.index(count));
    let guess_row = row.or_else(|| (guess > 25).then_some(count));
    let pieces = batch.pieces(part, guess_row);
    prop_assert_eq!(pieces.iter().map(Batch::records).sum::<usize>(), records.len());
    prop_assert!(pieces.len() == 1 || pieces.iter().all(|piece| piece.records() > 0));
    if let Some(offset) = row.and_then(|row| batch.offsets(&batch.parts[part]).nth(row)) {
        let alone = Range { first: offset, last: offset };
        prop_assert!(pieces.iter().any(|piece| piece.range == alone && piece.records() == 1));
    }
    let mut rest = records;
    for piece in &pieces {
        let (own, behind) = rest.split_at(piece.records());
        rest = behind;
        prop_assert_eq!(piece.doubt == Doubt::SendMissing, batch.parts.len() > 1 || batch.doubt == Doubt::SendMissing);
        prop_assert_eq!(piece.opened, batch.opened);
        prop_assert_eq!(piece.may_be_half_done, batch.may_be_half_done);
        prop_assert!(Arc::ptr_eq(&piece.permit, &batch.permit));
        if records.len() > 1 {
            prop_assert!(piece.records() < records.len(), "it gets smaller");
            cut_up(piece, own, at, guess.wrapping_mul(31).wrapping_add(7))?;
        }
    }
    Ok(())
}

proptest! {
    /// The batches hold every record once and in order, each limit holds, the reason is the right one, and the budget
    /// gets everything back.
    #[test]
    fn batches_hold_every_record_once_within_their_limits(records in records(), limits in limits()) {
        let budget = Budget::new(1 << 30, 1);
        let mut rest = records.as_slice();
        for (batch, reason, now) in cut(&records, &limits, &budget) {
            let (own, behind) = rest.split_at(batch.records());
            rest = behind;
            check_contents(&batch, own)?;
            check_cut(&batch, reason, now, own, &limits)?;
            check_permit(&batch, own)?;
        }
        prop_assert!(rest.is_empty());
        prop_assert_eq!(budget.used(0), 0);
    }

    /// While it is open a batch says what it holds; sealed as what was announced, it keeps that range.
    #[test]
    fn an_open_batch_says_what_it_holds(records in records(), below in 0_i64..3, above in 0_i64..3) {
        let mut batch = OpenBatch::open(Instant::now(), Budget::new(1, 1).permit(0));
        prop_assert_eq!((batch.last(), batch.bytes()), (None, 0));
        let mut bytes = 0;
        for record in &records {
            record.put(&mut batch);
            bytes += record.bytes();
            prop_assert_eq!((batch.last(), batch.bytes()), (Some(record.offset), bytes));
        }
        let (first, last) = (records[0].offset - below, records[records.len() - 1].offset + above);
        let sealed = batch.seal(Some(Range { first, last })).unwrap();
        prop_assert_eq!((sealed.range, sealed.digest), (Range { first, last }, digest_of_all(&records)));
        let pieces = sealed.pieces(0, None);
        prop_assert_eq!(pieces[0].range.first, records[0].offset, "a piece spans what is in it");
    }

    /// Whatever is cut and wherever, down to single records: the pieces hold every record, row and dead letter once and in
    /// order, each with the digest it would have had as a batch of its own; where some months may have landed, pieces are
    /// looked up first.
    #[test]
    fn pieces_are_the_whole(
        records in records(), at in any::<Index>(), guess in any::<u8>(), doubt in 0_usize..3, half in any::<bool>()
    ) {
        let mut whole = batch_of(&records);
        whole.doubt = [Doubt::No, Doubt::SendMissing, Doubt::AllOrNothing][doubt];
        whole.may_be_half_done = half;
        let doubted: Vec<_> = whole.pieces(0, None).iter().map(|piece| piece.doubt).collect();
        let at_least = if whole.parts.len() > 1 { Doubt::SendMissing } else { Doubt::No };
        prop_assert!(doubted.iter().all(|doubt| *doubt == whole.doubt.max(at_least)));
        if whole.doubt != Doubt::AllOrNothing {
            cut_up(&whole, &records, at, guess)?;
        }
    }

    /// What is missing and what is there are the whole part, each row with its own bytes, under a digest that nothing
    /// else has.
    #[test]
    fn what_is_missing_is_all_that_is_not_there(records in records(), there in proptest::collection::btree_set(0_i64..200, 0..150)) {
        let whole = batch_of(&records);
        let list: Vec<_> = there.iter().copied().collect();
        for part in &whole.parts {
            let (missing, digest) = whole.missing(part, &list);
            let is_missing = |r: &&Record| !there.contains(&r.offset) && r.row.as_ref().is_some_and(|row| row.0 == part.month);
            let own: Vec<_> = records.iter().filter(is_missing).cloned().collect();
            prop_assert_eq!(missing.month, part.month);
            prop_assert_eq!(whole.offsets(&missing).collect::<Vec<_>>(), own.iter().map(|r| r.offset).collect::<Vec<_>>());
            prop_assert_eq!(missing.body.to_vec(), own.iter().flat_map(|r| r.row.clone().unwrap().1).collect::<Vec<_>>());
            let (again, _) = whole.missing(&missing, &list);
            prop_assert_eq!(&again, &missing);
            if own.is_empty() {
                prop_assert_eq!(missing.count(), 0);
            } else {
                prop_assert_eq!(digest, digest_of_all(&own));
            }
        }
    }
}
