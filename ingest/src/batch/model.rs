//! Tests batches against a model: the plain list of their records.
//! Any records, limits and clock; rows and dead letters mixed, gaps between offsets, with and without keys. Rows are also
//! removed from the parts, and slices of the parts are taken. Nothing is decoded or sent.

use std::collections::BTreeSet;
use std::sync::Arc;

use proptest::prelude::*;
use proptest::sample::Index;
use uuid::Uuid;

use super::body::CHUNK_BYTES;
use super::budget::Budget;
use super::limits::{Backlog, Limits, SealReason};
use super::*;
use crate::exactly_once::intent::Announced;
use crate::exactly_once::range::Range;
use sluice_schemas::records::DeadLetter;
use std::time::{Duration, Instant};

/// A record to add to a batch.
#[derive(Debug, Clone)]
struct Record {
    offset: i64,
    /// When it arrives, in seconds since the start.
    at: u64,
    key: Option<Vec<u8>>,
    payload: Option<Vec<u8>>,
    /// Month and row; `None` for a dead letter.
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

    /// Bytes that it adds to a batch.
    fn bytes(&self) -> usize {
        let letter = || {
            // Each header needs an entry in the list, and an allocation for its name and its value.
            let allocated = |bytes: usize| if bytes == 0 { 0 } else { 16 + bytes.div_ceil(16) * 16 };
            let (key, payload) = [&self.key, &self.payload].map(|part| part.as_ref().map_or(0, Vec::len)).into();
            key + payload + size_of::<DeadLetter>() + 2 * 48 + allocated(1) + allocated(6) + allocated(key)
        };
        self.row.as_ref().map_or_else(letter, |(_, row)| row.len())
    }

    fn push_to(&self, batch: &mut OpenBatch) {
        batch.begin_record(self.offset, self.key.as_deref(), self.payload.as_deref());
        match &self.row {
            Some((month, row)) => batch.push_row(*month, row),
            None => batch.push_dead_letter(self.letter()),
        }
    }
}

/// Records of few or many months, with gaps between their offsets and time between their arrivals.
fn records() -> impl Strategy<Value = Vec<Record>> {
    prop_oneof![Just(1), Just(3), Just(20)].prop_flat_map(records_of)
}

fn records_of(months: u32) -> impl Strategy<Value = Vec<Record>> {
    let bytes = |end| proptest::collection::vec(any::<u8>(), 0..end);
    let row = prop_oneof![6 => (1..=months, bytes(200)).prop_map(Some), 1 => Just(None)];
    let step = (0_i64..3, 0_u64..12, proptest::option::of(bytes(10)), proptest::option::weighted(0.9, bytes(60)), row);
    proptest::collection::vec(step, 1..100).prop_map(|steps| {
        let (mut offset, mut at) = (-1, 0);
        let record = |(gap, wait, key, payload, row)| {
            (offset, at) = (offset + 1 + gap, at + wait);
            Record { offset, at, key, payload, row }
        };
        steps.into_iter().map(record).collect()
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

/// Seals batches as an assignment does: when time has passed, and after each record.
fn seal_all(records: &[Record], limits: &Limits, budget: &Arc<Budget>) -> Vec<(Batch, SealReason, Instant)> {
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
        record.push_to(open.get_or_insert_with(|| OpenBatch::open(now, budget.permit(0))));
        seal_if_due(&mut open, now);
    }
    sealed.extend(open.and_then(|batch| Some((batch.seal(None)?, SealReason::Drain, start))));
    sealed
}

fn batch_of(records: &[Record]) -> Batch {
    let mut open = OpenBatch::open(Instant::now(), Budget::new(1, 1).permit(0));
    for record in records {
        record.push_to(&mut open);
    }
    open.seal(None).unwrap()
}

fn months(records: &[Record]) -> BTreeSet<u32> {
    records.iter().filter_map(|record| Some(record.row.as_ref()?.0)).collect()
}

/// Asserts that a batch contains exactly these records, in order.
fn check_contents(batch: &Batch, records: &[Record]) -> Result<(), TestCaseError> {
    prop_assert_eq!(batch.records(), records.len());
    let letters: Vec<_> = records.iter().filter(|record| record.row.is_none()).map(Record::letter).collect();
    prop_assert_eq!(&batch.dead_letters, &letters);
    prop_assert_eq!(batch.rows(), records.len() - letters.len());
    prop_assert_eq!(batch.parts.iter().map(|part| part.month).collect::<BTreeSet<_>>(), months(records));
    prop_assert_eq!(batch.parts.len(), months(records).len());
    for part in &batch.parts {
        let expected =
            || records.iter().filter_map(|r| Some((r.offset, r.row.as_ref()?))).filter(|r| r.1.0 == part.month);
        prop_assert_eq!(batch.offsets(part).collect::<Vec<_>>(), expected().map(|r| r.0).collect::<Vec<_>>());
        prop_assert_eq!(part.rows.body().to_vec(), expected().map(|r| r.1.1.as_slice()).collect::<Vec<_>>().concat());
        prop_assert_eq!(part.count(), expected().count());
    }
    prop_assert_eq!(batch.digest, digest_of_all(records));
    let (first, last) = (records[0].offset, records[records.len() - 1].offset);
    let range = Range { first, last };
    prop_assert_eq!(batch.range, range);
    prop_assert_eq!(batch.announcement(), Announced { range, digest: batch.digest, doubt: batch.doubt });
    Ok(())
}

/// The digest of a batch of these records without their rows, which do not change it.
fn digest_of_all(records: &[Record]) -> u128 {
    let mut batch = OpenBatch::open(Instant::now(), Budget::new(1, 1).permit(0));
    for record in records {
        batch.begin_record(record.offset, record.key.as_deref(), record.payload.as_deref());
    }
    batch.seal(None).unwrap().digest
}

/// Asserts that a batch was sealed for the right reason, as soon as a limit was reached and not before.
fn check_seal_reason(
    batch: &Batch,
    seal_reason: SealReason,
    now: Instant,
    records: &[Record],
    limits: &Limits,
) -> Result<(), TestCaseError> {
    let bytes = |records: &[Record]| records.iter().map(Record::bytes).sum::<usize>();
    let (_, before) = records.split_last().unwrap();
    prop_assert!(before.len() < limits.rows && bytes(before) < limits.bytes && months(before).len() < limits.months);
    let waited = Duration::from_secs(records[records.len() - 1].at - records[0].at);
    prop_assert!(records.len() == 1 || waited < limits.age, "it accepted a record after it was due");
    let is_old = now.saturating_duration_since(batch.opened) >= limits.age;
    let reached = [
        (records.len() >= limits.rows, SealReason::Rows),
        (bytes(records) >= limits.bytes, SealReason::Bytes),
        (months(records).len() >= limits.months, SealReason::Months),
        (is_old, SealReason::Age),
    ];
    let expected =
        reached.into_iter().find(|(is_reached, _)| *is_reached).map_or(SealReason::Drain, |(_, reason)| reason);
    prop_assert_eq!(seal_reason, expected);
    Ok(())
}

/// Asserts that the permit covers every byte, and exceeds that by no more than one step of each buffer's growth.
fn check_permit(batch: &Batch, records: &[Record]) -> Result<(), TestCaseError> {
    let bytes: usize = records.iter().map(Record::bytes).sum();
    let lists = records.len().next_multiple_of(1024) * (16 + 8);
    let held = batch.permit.bytes();
    prop_assert!(held >= bytes + lists, "{held} for {bytes}");
    let spare = |part: &Part| part.rows.bytes().max(*CHUNK_BYTES.start()).min(*CHUNK_BYTES.end()) + 200;
    prop_assert!(held <= bytes + lists + batch.parts.iter().map(spare).sum::<usize>(), "{held} for {bytes}");
    Ok(())
}

/// The batch of the next owner of these records, which has found dead letters at the offsets `dead_lettered`.
fn batch_of_next_owner(records: &[Record], dead_lettered: &[i64]) -> Option<Batch> {
    let mut open = OpenBatch::open(Instant::now(), Budget::new(1, 1).permit(0));
    for record in records {
        if dead_lettered.binary_search(&record.offset).is_ok() {
            open.begin_record(record.offset, record.key.as_deref(), record.payload.as_deref());
        } else {
            record.push_to(&mut open);
        }
    }
    open.seal(None)
}

proptest! {
    /// The batches contain every record exactly once and in order, and keep within the limits; each is sealed for the right
    /// reason, and its bytes are released.
    #[test]
    fn batches_contain_every_record_exactly_once_within_their_limits(records in records(), limits in limits()) {
        let budget = Budget::new(1 << 30, 1);
        let mut rest = records.as_slice();
        for (batch, reason, now) in seal_all(&records, &limits, &budget) {
            let (expected, remaining) = rest.split_at(batch.records());
            rest = remaining;
            check_contents(&batch, expected)?;
            check_seal_reason(&batch, reason, now, expected, &limits)?;
            check_permit(&batch, expected)?;
        }
        prop_assert!(rest.is_empty());
        prop_assert_eq!(budget.used(0), 0);
    }

    /// An open batch returns its last offset and its bytes. Sealed as an announced range, it keeps that range.
    #[test]
    fn an_open_batch_tracks_its_offset_and_bytes(records in records(), below in 0_i64..3, above in 0_i64..3) {
        let mut batch = OpenBatch::open(Instant::now(), Budget::new(1, 1).permit(0));
        prop_assert_eq!((batch.last(), batch.bytes()), (None, 0));
        let mut bytes = 0;
        for record in &records {
            record.push_to(&mut batch);
            bytes += record.bytes();
            prop_assert_eq!((batch.last(), batch.bytes()), (Some(record.offset), bytes));
        }
        let (first, last) = (records[0].offset - below, records[records.len() - 1].offset + above);
        let sealed = batch.seal(Some(Range { first, last })).unwrap();
        prop_assert_eq!((sealed.range, sealed.digest), (Range { first, last }, digest_of_all(&records)));
    }

    /// A part without some of its rows has exactly the others, with their bytes and a digest of its own. Removing rows in two
    /// steps has the same result as in one.
    #[test]
    fn a_part_without_some_rows_has_exactly_the_others(
        records in records(), removed in proptest::collection::btree_set(0_i64..200, 0..150), split in 0_i64..200
    ) {
        let whole = batch_of(&records);
        let offsets: Vec<_> = removed.iter().copied().collect();
        let (below, above) = offsets.split_at(offsets.partition_point(|offset| *offset < split));
        for part in &whole.parts {
            let kept = whole.without(part, &offsets);
            let is_kept = |r: &&Record| !removed.contains(&r.offset) && r.row.as_ref().is_some_and(|row| row.0 == part.month);
            let expected: Vec<_> = records.iter().filter(is_kept).cloned().collect();
            prop_assert_eq!(kept.month, part.month);
            prop_assert_eq!(whole.offsets(&kept).collect::<Vec<_>>(), expected.iter().map(|r| r.offset).collect::<Vec<_>>());
            prop_assert_eq!(kept.rows.body().to_vec(), expected.iter().flat_map(|r| r.row.clone().unwrap().1).collect::<Vec<_>>());
            prop_assert_eq!(&whole.without(&whole.without(part, above), below), &kept);
            prop_assert_eq!(whole.digest_of(&kept) == whole.digest_of(part), kept.count() == part.count());
            if !expected.is_empty() {
                prop_assert_eq!(whole.digest_of(&kept), digest_of_all(&expected));
            }
        }
    }

    /// The next owner of a range, which finds its dead letters, creates the same parts as the first, with the same digests.
    /// The dead letters do not change the digest of the range.
    #[test]
    fn the_next_owner_creates_the_same_parts(
        records in records(), dead_lettered in proptest::collection::btree_set(0_i64..200, 0..150)
    ) {
        let whole = batch_of(&records);
        let offsets: Vec<_> = dead_lettered.iter().copied().collect();
        let next = batch_of_next_owner(&records, &offsets).unwrap();
        prop_assert_eq!(next.announcement(), whole.announcement());
        let kept = whole.parts.iter().map(|part| (part.month, whole.digest_of(&whole.without(part, &offsets))));
        let kept: Vec<_> = kept.filter(|(month, _)| next.parts.iter().any(|part| part.month == *month)).collect();
        let mut created: Vec<_> = next.parts.iter().map(|part| (part.month, next.digest_of(part))).collect();
        created.sort_by_key(|(month, _)| whole.parts.iter().position(|part| part.month == *month));
        prop_assert_eq!(created, kept);
        let own_letters = whole.dead_letters.iter().filter(|letter| !dead_lettered.contains(&letter.offset)).count();
        prop_assert_eq!(next.dead_lettered_before(), whole.records() - next.rows() - own_letters);
    }

    /// Consecutive slices of a part's rows make up the part.
    #[test]
    fn consecutive_slices_make_up_the_part(records in records(), at in any::<Index>(), to in any::<Index>()) {
        for part in &batch_of(&records).parts {
            let (count, whole) = (part.count(), part.rows.body().to_vec());
            let first = at.index(count + 1);
            let second = first + to.index(count - first + 1);
            let bytes: Vec<_> = [0..first, first..second, second..count].map(|rows| part.rows.slice(rows).body().to_vec()).concat();
            prop_assert_eq!(bytes, whole);
        }
    }
}
