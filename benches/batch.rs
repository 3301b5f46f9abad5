//! What a record costs between its decoding and its INSERT: batches, the ledger and the intent, in time and allocations.
//! Run with `cargo bench --bench batch`.

use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use sluice_ingest::batch::budget::Budget;
use sluice_ingest::batch::{Batch, OpenBatch};
use sluice_ingest::exactly_once::intent::{Announced, Doubt, Intent};
use sluice_ingest::exactly_once::ledger::Ledger;
use sluice_ingest::exactly_once::range::Range;

/// Records of a batch: the default.
const RECORDS: u64 = 10_000;
/// Rows and payloads of the usual size.
const ROW: [u8; 230] = [7; 230];
const PAYLOAD: [u8; 440] = [7; 440];
const KEY: [u8; 73] = [7; 73];

/// The system's allocator, counted.
struct Counted;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

#[global_allocator]
static ALLOCATOR: Counted = Counted;

#[expect(unsafe_code, reason = "an allocator cannot be written without, and there is no other way to count")]
// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counted {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

fn batch() -> Option<Batch> {
    let budget = Budget::new(1 << 30, 1);
    let mut open = OpenBatch::open(Instant::now(), budget.permit(0));
    for offset in 0..RECORDS.cast_signed() {
        open.begin_record(offset, Some(black_box(&KEY)), Some(black_box(&PAYLOAD)));
        open.push_row(202_611, black_box(&ROW));
    }
    open.seal(None)
}

fn announced(number: i64) -> Announced {
    let range = Range { first: number * 10_000, last: number * 10_000 + 9_999 };
    Announced { range, digest: u128::from(number.unsigned_abs()) << 64 | 7, doubt: Doubt::No }
}

/// A range from its seal to its commit.
fn pass(ledger: &mut Ledger, number: i64) {
    let what = announced(number);
    ledger.sealed(what);
    black_box(ledger.to_commit(1_795_509_206, false));
    ledger.answered(true);
    ledger.done(what.range);
}

#[expect(clippy::print_stderr, reason = "criterion has no place for counts")]
fn allocations(what: &str, per: u64, work: impl FnOnce()) {
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    work();
    let count = ALLOCATIONS.load(Ordering::Relaxed) - before;
    eprintln!("{what}: {:.4} allocations each", count as f64 / per as f64);
}

fn batches(criterion: &mut Criterion) {
    allocations("a record in a batch of 10,000", RECORDS, || drop(black_box(batch())));
    let mut group = criterion.benchmark_group("batch");
    group.throughput(Throughput::Elements(RECORDS));
    group.bench_function("10,000 records taken in and sealed", |bencher| bencher.iter(batch));
    group.finish();
}

fn ledger(criterion: &mut Criterion) {
    let mut ledger = Ledger::new(1, Some(0), None);
    let mut number = 0;
    let mut next = || {
        number += 1;
        pass(&mut ledger, number);
    };
    allocations("a range through the ledger", 1_000, || (0..1_000).for_each(|_| next()));
    criterion.bench_function("ledger/a range sealed, announced and done", |bencher| bencher.iter(&mut next));
}

fn intent(criterion: &mut Criterion) {
    let intent = Intent { decoder: 1, announced_at: 1_795_509_206, ranges: (0..24).map(announced).collect() };
    let text = intent.encode();
    criterion.bench_function("intent/24 ranges written", |bencher| bencher.iter(|| black_box(&intent).encode()));
    criterion.bench_function("intent/24 ranges read", |bencher| bencher.iter(|| Intent::parse(black_box(&text))));
}

criterion_group!(benches, batches, ledger, intent);
criterion_main!(benches);
