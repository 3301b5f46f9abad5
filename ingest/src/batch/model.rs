//! Batches against a model: the plain list of records that went in.
//! Any records, limits and clock; rows and dead letters mixed, offsets with gaps, keys or none. Then rows are set aside from
//! their parts, and stretches of rows are taken out of them.

use std::collections::BTreeSet;
use std::sync::Arc;

use proptest::prelude::*;
use proptest::sample::Index;
use uuid::Uuid;

use super::body::CHUNK;
use super::budget::Budget;
use super::limits::{Backlog, Limits, SealReason};
use super::*;
use crate::exactly_once::intent::Announced;
use crate::exactly_once::range::Range;
use sluice_schemas::records::DeadLetter;
use std::time::{Duration, Instant};

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
        batch.begin_record(self.offset, self.key.as_deref(), self.payload.as_deref());
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

/// SealReasons as an assignment does: when time passes and after each record.
fn seal_reason(records: &[Record], limits: &Limits, budget: &Arc<Budget>) -> Vec<(Batch, SealReason, Instant)> {
    let start = Instant::now();
    let mut sealed = Vec::new();
    let mut open: Option<OpenBatch> = None;
    let mut seal_if_due = |open: &mut Option<OpenBatch>, now| {
        if let Some(seal_reason) = open.as_ref().and_then(|batch| batch.seal_reason(limits, now)) {
            sealed.extend(open.take().and_then(|batch| Some((batch.seal(None)?, seal_reason, now))));
        }
    };
    for record in records {
        let now = start + Duration::from_secs(record.at);
        seal_if_due(&mut open, now);
        record.put(open.get_or_insert_with(|| OpenBatch::open(now, budget.permit(0))));
        seal_if_due(&mut open, now);
    }
    sealed.extend(open.and_then(|batch| Some((batch.seal(None)?, SealReason::Drain, start))));
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
        prop_assert_eq!(part.rows.body().to_vec(), own().map(|r| r.1.1.as_slice()).collect::<Vec<_>>().concat());
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
        batch.begin_record(record.offset, record.key.as_deref(), record.payload.as_deref());
    }
    batch.seal(None).unwrap().digest
}

/// Asserts that it was sealed as soon as a limit was reached and no sooner, for the reason that is named.
fn check_cut(
    batch: &Batch,
    seal_reason: SealReason,
    now: Instant,
    own: &[Record],
    limits: &Limits,
) -> Result<(), TestCaseError> {
    let bytes = |records: &[Record]| records.iter().map(Record::bytes).sum::<usize>();
    let (_, before) = own.split_last().unwrap();
    prop_assert!(before.len() < limits.rows && bytes(before) < limits.bytes && months(before).len() < limits.months);
    let waited = Duration::from_secs(own[own.len() - 1].at - own[0].at);
    prop_assert!(own.len() == 1 || waited < limits.age, "it took a record in when it was due");
    let is_old = now.saturating_duration_since(batch.opened) >= limits.age;
    let full = [
        (own.len() >= limits.rows, SealReason::Rows),
        (bytes(own) >= limits.bytes, SealReason::Bytes),
        (months(own).len() >= limits.months, SealReason::Months),
        (is_old, SealReason::Age),
    ];
    let reason =
        full.into_iter().find(|(is_reached, _)| *is_reached).map_or(SealReason::Drain, |(_, seal_reason)| seal_reason);
    prop_assert_eq!(seal_reason, reason);
    Ok(())
}

/// Asserts that the budget knows of every byte, and of no more than the steps in which buffers grow.
fn check_permit(batch: &Batch, records: &[Record]) -> Result<(), TestCaseError> {
    let bytes: usize = records.iter().map(Record::bytes).sum();
    let lists = records.len().next_multiple_of(1024) * (16 + 8);
    let held = batch.permit.bytes();
    prop_assert!(held >= bytes + lists, "{held} for {bytes}");
    let spare = |part: &Part| part.rows.bytes().max(*CHUNK.start()).min(*CHUNK.end()) + 200;
    prop_assert!(held <= bytes + lists + batch.parts.iter().map(spare).sum::<usize>(), "{held} for {bytes}");
    Ok(())
}

/// The batch of somebody who takes these records over and found dead letters of the rows at `set_aside`.
fn taken_over(records: &[Record], set_aside: &[i64]) -> Option<Batch> {
    let mut open = OpenBatch::open(Instant::now(), Budget::new(1, 1).permit(0));
    for record in records {
        if set_aside.binary_search(&record.offset).is_ok() {
            open.begin_record(record.offset, record.key.as_deref(), record.payload.as_deref());
        } else {
            record.put(&mut open);
        }
    }
    open.seal(None)
}

proptest! {
    /// The batches hold every record once and in order, each limit holds, the reason is the right one, and the budget
    /// gets everything back.
    #[test]
    fn batches_hold_every_record_once_within_their_limits(records in records(), limits in limits()) {
        let budget = Budget::new(1 << 30, 1);
        let mut rest = records.as_slice();
        for (batch, reason, now) in seal_reason(&records, &limits, &budget) {
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
    }

    /// What is set aside and what is kept are the whole part, each row with its own bytes, under a digest that nothing else
    /// has; it makes no difference whether rows are set aside at once or in sequence.
    #[test]
    fn what_is_kept_is_all_that_is_not_set_aside(
        records in records(), aside in proptest::collection::btree_set(0_i64..200, 0..150), split in 0_i64..200
    ) {
        let whole = batch_of(&records);
        let list: Vec<_> = aside.iter().copied().collect();
        let (below, above) = list.split_at(list.partition_point(|offset| *offset < split));
        for part in &whole.parts {
            let kept = whole.without(part, &list);
            let is_kept = |r: &&Record| !aside.contains(&r.offset) && r.row.as_ref().is_some_and(|row| row.0 == part.month);
            let own: Vec<_> = records.iter().filter(is_kept).cloned().collect();
            prop_assert_eq!(kept.month, part.month);
            prop_assert_eq!(whole.offsets(&kept).collect::<Vec<_>>(), own.iter().map(|r| r.offset).collect::<Vec<_>>());
            prop_assert_eq!(kept.rows.body().to_vec(), own.iter().flat_map(|r| r.row.clone().unwrap().1).collect::<Vec<_>>());
            prop_assert_eq!(&whole.without(&whole.without(part, above), below), &kept);
            prop_assert_eq!(whole.digest_of(&kept) == whole.digest_of(part), kept.count() == part.count());
            if !own.is_empty() {
                prop_assert_eq!(whole.digest_of(&kept), digest_of_all(&own));
            }
        }
    }

    /// Whoever takes a range over and knows of the dead letters makes the parts that were kept, with the same digests; the
    /// digest of the range is the same with or without them.
    #[test]
    fn who_takes_over_makes_the_same_parts(
        records in records(), aside in proptest::collection::btree_set(0_i64..200, 0..150)
    ) {
        let whole = batch_of(&records);
        let list: Vec<_> = aside.iter().copied().collect();
        let next = taken_over(&records, &list).unwrap();
        prop_assert_eq!(next.announcement(), whole.announcement());
        let kept = whole.parts.iter().map(|part| (part.month, whole.digest_of(&whole.without(part, &list))));
        let kept: Vec<_> = kept.filter(|(month, _)| next.parts.iter().any(|part| part.month == *month)).collect();
        let mut made: Vec<_> = next.parts.iter().map(|part| (part.month, next.digest_of(part))).collect();
        made.sort_by_key(|(month, _)| whole.parts.iter().position(|part| part.month == *month));
        prop_assert_eq!(made, kept);
        let letters = whole.dead_letters.iter().filter(|letter| !aside.contains(&letter.offset)).count();
        prop_assert_eq!(next.dead_lettered_before(), whole.records() - next.rows() - letters);
    }

    /// Consecutive slices of a part's rows make up the part.
    #[test]
    fn stretches_are_the_whole(records in records(), at in any::<Index>(), to in any::<Index>()) {
        for part in &batch_of(&records).parts {
            let (count, whole) = (part.count(), part.rows.body().to_vec());
            let first = at.index(count + 1);
            let second = first + to.index(count - first + 1);
            let bytes: Vec<_> = [0..first, first..second, second..count].map(|rows| part.rows.slice(rows).body().to_vec()).concat();
            prop_assert_eq!(bytes, whole);
        }
    }
}
