//! Tests the sealing rule against a simple model: a partition consumes records, announces, writes, and time passes, in any
//! order; each batch has to be sealed when the model seals it and for the same reason. A partition with another rule must
//! differ from the model. No batch is sent.

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
    /// Whether the open batch has exceeded the usual limits.
    is_grown: bool,
    waiting: usize,
    is_writing: bool,
    has_written: bool,
    now: u64,
}

impl Model {
    /// Why the open batch must be sealed, given the usual limits, those of a backlog, and the age.
    fn seal_reason(&self, usual: (usize, usize), backlog: (usize, usize), age: u64) -> Option<SealReason> {
        let is_busy = self.is_writing || self.waiting > 0;
        let limit = |usual: usize, backlog: usize| match () {
            () if !is_busy => usual,
            // The test's writes take almost no time.
            () if self.has_written => backlog,
            () => backlog.min(4 * usual),
        };
        let (rows, bytes) = (limit(usual.0, backlog.0), limit(usual.1, backlog.1));
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

    fn seal(&mut self) {
        (self.rows, self.bytes) = (0, 0);
        self.waiting += 1;
    }
}

fn limits(usual: (usize, usize), backlog: (usize, usize), age: u64) -> Limits {
    let backlog = Backlog { rows: backlog.0, bytes: backlog.1, time: Duration::from_secs(5) };
    Limits { rows: usual.0, bytes: usual.1, age: Duration::from_secs(age), months: 12, backlog }
}

/// Runs a partition and the model in parallel, each with its own limits.
fn run(steps: &[Step], partition_limits: &Limits, model_limits: &Limits) -> Result<Vec<Range>, String> {
    let usual = (model_limits.rows, model_limits.bytes);
    let (backlog, age) = ((model_limits.backlog.rows, model_limits.backlog.bytes), model_limits.age.as_secs());
    let (mut partition, mut model, budget) = (partition(), Model::default(), Budget::new(1 << 20, 1));
    let (start, mut offset, mut written, mut writing) = (Instant::now(), 0, Vec::new(), None);
    for step in steps {
        let now = start + Duration::from_secs(model.now);
        match *step {
            Step::Consume(bytes) => {
                let batch = partition.open_batch(|| OpenBatch::open(now, budget.permit(0)));
                batch.begin_record(offset, None, None);
                batch.push_row(0, &vec![0; bytes]);
                partition.record_consumed(offset);
                offset += 1;
                model.consume(bytes, usual);
            }
            Step::Wait(seconds) => model.now += seconds,
            Step::Announce if partition.has_sealed() => announce_all(&mut partition),
            Step::Begin => {
                if let Some(batch) = partition.next_batch() {
                    writing = Some(batch.range);
                    model.waiting -= 1;
                    model.is_writing = true;
                }
            }
            Step::End => {
                if let Some(range) = writing.take() {
                    partition.record_written(range);
                    written.push(range);
                    (model.is_writing, model.has_written) = (false, true);
                }
            }
            Step::Announce => {}
        }
        // The worker checks this after each record and at each tick.
        let now = start + Duration::from_secs(model.now);
        let (seal_reason, expected) =
            (partition.seal_reason(partition_limits, now), model.seal_reason(usual, backlog, age));
        if seal_reason != expected {
            return Err(format!("{seal_reason:?} instead of {expected:?} after {step:?} with {model:?}"));
        }
        if let Some(seal_reason) = seal_reason {
            partition.seal(seal_reason);
            model.seal();
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
    /// Batches are sealed at the usual limits if no other is in flight, at those of a backlog if one is, and immediately when
    /// that one ends; they are in order and without gaps.
    #[test]
    fn a_partition_seals_when_the_model_does(
        steps in proptest::collection::vec(step(), 1..400),
        usual in (1_usize..12, 1_usize..200),
        extra in (0_usize..30, 0_usize..400),
        age in 1_u64..30,
    ) {
        let limits = limits(usual, (usual.0 + extra.0, usual.1 + extra.1), age);
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
        let Backlog { rows: allowed, bytes, time } = growth.allowance(&limits);
        prop_assert!((limits.rows..=limits.backlog.rows).contains(&allowed));
        prop_assert!((limits.bytes..=limits.backlog.bytes).contains(&bytes));
        let needed = |allowed: usize| millis as f64 * allowed as f64 / rows as f64;
        let usual = if millis <= 625 { 40_000 } else { 10_000 };
        prop_assert!(allowed <= usual || needed(allowed) <= time.as_millis() as f64, "{allowed} rows");
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
fn the_model_detects_another_rule() {
    let growing = limits((10, 1000), (60, 6000), 30);
    assert_eq!(run(&backlog(), &growing, &growing).map(|written| written.len()), Ok(2));
    let difference = |limits: &Limits| run(&backlog(), limits, &growing).unwrap_err();
    let without_growth = difference(&limits((10, 1000), (10, 1000), 30));
    assert!(without_growth.starts_with("Some(Rows) instead of None after Consume(1)"), "{without_growth}");
    let unlimited = difference(&limits((10, 1000), (100, 6000), 30));
    assert!(unlimited.starts_with("None instead of Some(Backlog) after Consume(1)"), "{unlimited}");
}

#[test]
fn a_batch_grows_as_far_as_it_can_be_written_in_time() {
    let limits = limits((10_000, 8 << 20), (100_000, 32 << 20), 30);
    let allowed_rows = |last: Option<(usize, u64)>| {
        let last = last.map(|(rows, millis)| (BatchSize { rows, bytes: rows * 300 }, Duration::from_millis(millis)));
        Growth { current: None, last }.allowance(&limits).rows
    };
    assert_eq!(allowed_rows(None), 40_000, "before the first write");
    assert_eq!(allowed_rows(Some((3, 20))), 40_000, "after a short write");
    assert_eq!(allowed_rows(Some((10_000, 50))), 100_000);
    assert_eq!(allowed_rows(Some((10_000, 2_500))), 20_000);
    assert_eq!(allowed_rows(Some((10_000, 20_000))), 10_000, "a slow table, or an outage");
}
