//! Tests the sealing rule against a simple model: a partition consumes records, announces, writes, and time passes, in any
//! order; each batch has to be sealed when the model seals it and for the same reason. A partition with another rule has to
//! differ from the model.

use proptest::prelude::*;

use super::*;
use crate::batch::OpenBatch;
use crate::batch::budget::Budget;
use crate::batch::limits::SealReason;
use crate::exactly_once::range::Range;
use crate::lane::partition::Partition;
use crate::lane::partition::tests::{announce, partition};

#[derive(Debug, Clone, Copy)]
enum Step {
    /// A record of this many bytes arrives.
    Consume(usize),
    /// This many seconds pass.
    Wait(u64),
    /// Kafka acknowledges the announcement of the sealed batches.
    Announce,
    /// The write of the next batch begins.
    Begin,
    /// The write is acknowledged.
    End,
}

/// The rule, expressed in counts.
#[derive(Debug, Default)]
struct Model {
    rows: usize,
    bytes: usize,
    opened: u64,
    /// Whether the open batch has grown beyond the usual limits.
    is_grown: bool,
    waiting: usize,
    is_writing: bool,
    has_written: bool,
    now: u64,
}

impl Model {
    /// Why the open batch is due, given the usual limits, those of a backlog, and the age.
    fn due(&self, usual: (usize, usize), backlog: (usize, usize), age: u64) -> Option<SealReason> {
        let is_busy = self.is_writing || self.waiting > 0;
        let most = |usual: usize, backlog: usize| match () {
            () if !is_busy => usual,
            // The test's writes take almost no time.
            () if self.has_written => backlog,
            () => backlog.min(4 * usual),
        };
        let (rows, bytes) = (most(usual.0, backlog.0), most(usual.1, backlog.1));
        match () {
            () if self.rows == 0 => None,
            () if self.rows >= rows || self.bytes >= bytes => Some(match () {
                () if self.is_grown => SealReason::Backlog,
                () if self.rows >= usual.0 => SealReason::Rows,
                () => SealReason::Bytes,
            }),
            () if !is_busy && self.now - self.opened >= age => Some(SealReason::Age),
            () => None,
        }
    }

    fn consume(&mut self, bytes: usize, usual: (usize, usize)) {
        if self.rows == 0 {
            (self.opened, self.is_grown) = (self.now, false);
        }
        self.is_grown |= self.rows >= usual.0 || self.bytes >= usual.1;
        self.rows += 1;
        self.bytes += bytes;
    }

    fn sealed(&mut self) {
        (self.rows, self.bytes) = (0, 0);
        self.waiting += 1;
    }
}

fn limits(usual: (usize, usize), backlog: (usize, usize), age: u64) -> Limits {
    let backlog = Backlog { rows: backlog.0, bytes: backlog.1, time: Duration::from_secs(5) };
    Limits { rows: usual.0, bytes: usual.1, age: Duration::from_secs(age), months: 12, backlog }
}

/// Runs a partition and the model side by side, with the limits given to each.
fn run(steps: &[Step], own: &Limits, model: &Limits) -> Result<Vec<Range>, String> {
    let usual = (model.rows, model.bytes);
    let (backlog, age) = ((model.backlog.rows, model.backlog.bytes), model.age.as_secs());
    let (mut partition, mut plain, budget) = (partition(), Model::default(), Budget::new(1 << 20, 1));
    let (start, mut offset, mut written, mut writing) = (Instant::now(), 0, Vec::new(), None);
    for step in steps {
        let now = start + Duration::from_secs(plain.now);
        match *step {
            Step::Consume(bytes) => {
                let batch = partition.open_with(|| OpenBatch::open(now, budget.permit(0)));
                batch.begin_record(offset, None, None);
                batch.push_row(0, &vec![0; bytes]);
                partition.consumed(offset);
                offset += 1;
                plain.consume(bytes, usual);
            }
            Step::Wait(seconds) => plain.now += seconds,
            Step::Announce if partition.has_sealed() => announce_all(&mut partition),
            Step::Begin => {
                if let Some(batch) = partition.next_batch() {
                    writing = Some(batch.range);
                    plain.waiting -= 1;
                    plain.is_writing = true;
                }
            }
            Step::End => {
                if let Some(range) = writing.take() {
                    partition.written(range);
                    written.push(range);
                    (plain.is_writing, plain.has_written) = (false, true);
                }
            }
            Step::Announce => {}
        }
        // The worker checks this after each record and at each tick.
        let now = start + Duration::from_secs(plain.now);
        let (seal_reason, expected) = (partition.seal_reason(own, now), plain.due(usual, backlog, age));
        if seal_reason != expected {
            return Err(format!("{seal_reason:?} instead of {expected:?} after {step:?} with {plain:?}"));
        }
        if let Some(seal_reason) = seal_reason {
            partition.seal(seal_reason);
            plain.sealed();
        }
    }
    Ok(written)
}

/// Announces all sealed batches, so that they may be written.
fn announce_all(partition: &mut Partition) {
    if !partition.is_committing() && partition.commits.ledger.has_unannounced() {
        announce(partition);
    }
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => (1_usize..30).prop_map(Step::Consume),
        2 => (1_u64..20).prop_map(Step::Wait),
        2 => Just(Step::Announce),
        2 => Just(Step::Begin),
        1 => Just(Step::End),
    ]
}

proptest! {
    /// Batches are sealed at the usual limits if no other is in flight, at those of a backlog if one is, and at once when it
    /// has ended; they are in order and without gaps.
    #[test]
    fn a_partition_seals_when_the_model_does(
        steps in proptest::collection::vec(step(), 1..400),
        usual in (1_usize..12, 1_usize..200),
        more in (0_usize..30, 0_usize..400),
        age in 1_u64..30,
    ) {
        let limits = limits(usual, (usual.0 + more.0, usual.1 + more.1), age);
        let written = run(&steps, &limits, &limits).map_err(TestCaseError::fail)?;
        prop_assert!(written.windows(2).all(|pair| pair[0].last + 1 == pair[1].first), "{written:?}");
        prop_assert!(written.first().is_none_or(|range| range.first == 0));
    }

    /// The allowance is at least the usual limits and at most those of a backlog; if it exceeds the usual limits, the batch
    /// could be written in time.
    #[test]
    fn growth_leaves_room_for_the_deadlines(rows in 1_usize..200_000, millis in 0_u64..100_000) {
        let limits = limits((10_000, 1 << 20), (100_000, 1 << 25), 30);
        let growth = Growth { current: None, last: Some((BatchSize { rows, bytes: rows * 300 }, Duration::from_millis(millis))) };
        let Backlog { rows: most, bytes, time } = growth.allowance(&limits);
        prop_assert!((limits.rows..=limits.backlog.rows).contains(&most));
        prop_assert!((limits.bytes..=limits.backlog.bytes).contains(&bytes));
        let needed = |most: usize| millis as f64 * most as f64 / rows as f64;
        let usual = if millis <= 625 { 40_000 } else { 10_000 };
        prop_assert!(most <= usual || needed(most) <= time.as_millis() as f64, "{most} rows");
    }
}

/// Records that arrive faster than they are written, after a first write.
fn backlog() -> Vec<Step> {
    let records = |count: usize| std::iter::repeat_n(Step::Consume(1), count);
    let write = [Step::Announce, Step::Begin];
    let (small, large) = (records(10).chain(write), records(65));
    small.clone().chain([Step::End]).chain(small).chain(large).chain([Step::End]).collect()
}

#[test]
fn the_model_notices_another_rule() {
    let grows = limits((10, 1000), (60, 6000), 30);
    assert_eq!(run(&backlog(), &grows, &grows).map(|written| written.len()), Ok(2));
    let wrong = |own: &Limits| run(&backlog(), own, &grows).unwrap_err();
    let without = wrong(&limits((10, 1000), (10, 1000), 30));
    assert!(without.starts_with("Some(Rows) instead of None after Consume(1)"), "{without}");
    let endless = wrong(&limits((10, 1000), (100, 6000), 30));
    assert!(endless.starts_with("None instead of Some(Backlog) after Consume(1)"), "{endless}");
}

#[test]
fn a_batch_grows_as_far_as_it_can_be_written_in_time() {
    let limits = limits((10_000, 8 << 20), (100_000, 32 << 20), 30);
    let most = |last: Option<(usize, u64)>| {
        let last = last.map(|(rows, millis)| (BatchSize { rows, bytes: rows * 300 }, Duration::from_millis(millis)));
        Growth { current: None, last }.allowance(&limits).rows
    };
    assert_eq!(most(None), 40_000, "before the first write");
    assert_eq!(most(Some((3, 20))), 40_000, "after a short write");
    assert_eq!(most(Some((10_000, 50))), 100_000);
    assert_eq!(most(Some((10_000, 2_500))), 20_000);
    assert_eq!(most(Some((10_000, 20_000))), 10_000, "a slow table, or an outage");
}
