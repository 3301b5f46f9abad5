//! Measures the cost of a record between decoding and INSERT, in time and allocations: batches, the ledger and the intent. Run
//! with `cargo bench --bench batch`. It decodes nothing and starts no store.

#[path = "support/counting_allocator.rs"]
mod counting_allocator;

use std::hint::black_box;
use std::time::Instant;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use sluice_ingest::batch::budget::Budget;
use sluice_ingest::batch::{Batch, OpenBatch};
use sluice_ingest::exactly_once::intent::{Announced, Doubt, Intent};
use sluice_ingest::exactly_once::ledger::Ledger;
use sluice_ingest::exactly_once::range::Range;

use counting_allocator::print_allocations;

/// Records of a batch, as by default.
const RECORDS: u64 = 10_000;
/// Rows, payloads and keys of typical size.
const ROW: [u8; 230] = [7; 230];
const PAYLOAD: [u8; 440] = [7; 440];
const KEY: [u8; 73] = [7; 73];

fn fill_batch() -> Option<Batch> {
    let budget = Budget::new(1 << 30, 1);
    let mut open = OpenBatch::open(Instant::now(), budget.permit(0));
    for offset in 0..RECORDS.cast_signed() {
        open.begin_record(offset, Some(black_box(&KEY)), Some(black_box(&PAYLOAD)));
        open.push_row(202_611, black_box(&ROW));
    }
    open.seal(None)
}

fn announced_range(number: i64) -> Announced {
    let range = Range { first: number * 10_000, last: number * 10_000 + 9_999 };
    Announced { range, digest: u128::from(number.unsigned_abs()) << 64 | 7, doubt: Doubt::No }
}

/// Passes a range through the ledger, from seal to commit.
fn seal_to_commit(ledger: &mut Ledger, number: i64) {
    let announced = announced_range(number);
    ledger.add_sealed(announced);
    black_box(ledger.next_commit(1_795_509_206, false));
    ledger.handle_commit_response(true);
    ledger.mark_durable(announced.range);
}

fn batches(criterion: &mut Criterion) {
    print_allocations("a record in a batch of 10,000", RECORDS, || drop(black_box(fill_batch())));
    let mut group = criterion.benchmark_group("batch");
    group.throughput(Throughput::Elements(RECORDS));
    group.bench_function("10,000 records buffered and sealed", |bencher| bencher.iter(fill_batch));
    group.finish();
}

fn ledger(criterion: &mut Criterion) {
    let mut ledger = Ledger::new(1, Some(0), None);
    let mut number = 0;
    let mut next = || {
        number += 1;
        seal_to_commit(&mut ledger, number);
    };
    print_allocations("a range through the ledger", 1_000, || (0..1_000).for_each(|_| next()));
    criterion.bench_function("ledger/a range sealed, announced and committed", |bencher| bencher.iter(&mut next));
}

fn intent(criterion: &mut Criterion) {
    let intent = Intent { decoder: 1, announced_at: 1_795_509_206, ranges: (0..24).map(announced_range).collect() };
    let text = intent.encode();
    criterion.bench_function("intent/24 ranges written", |bencher| bencher.iter(|| black_box(&intent).encode()));
    criterion.bench_function("intent/24 ranges read", |bencher| bencher.iter(|| Intent::parse(black_box(&text))));
}

criterion_group!(benches, batches, ledger, intent);
criterion_main!(benches);
