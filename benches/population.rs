//! Measures how fast records are computed from the seed, on one thread: events and interactions by the record, and texts by
//! the byte. Run with `cargo bench --bench population`. It writes no record and starts no store.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use sluice_loadgen::plan::Plan;
use sluice_loadgen::population::Population;
use sluice_loadgen::scenario::Scenario;

/// Communications whose records are computed in one iteration, from the middle of the largest tenant.
const COMMUNICATIONS: std::ops::Range<u64> = 5_000..6_000;

/// Writes that are taken from the start of the drive.
const WRITES: usize = 20_000;

fn plan() -> Plan {
    let scenario =
        Scenario::parse(include_str!("../scenarios/smoke.toml"), "smoke.toml").expect("it ships, so it parses");
    Plan::new(&scenario, &Population::new(&scenario))
}

fn population(criterion: &mut Criterion) {
    let plan = plan();
    let mut group = criterion.benchmark_group("population");
    let driven = || COMMUNICATIONS.flat_map(|index| plan.events(0, index));
    group.throughput(Throughput::Elements(driven().count() as u64));
    group.bench_function("driven events", |bencher| bencher.iter(|| black_box(driven().count())));
    let past = || COMMUNICATIONS.flat_map(|index| plan.population().past_events(0, index));
    group.throughput(Throughput::Elements(past().count() as u64));
    group.bench_function("past events", |bencher| bencher.iter(|| black_box(past().count())));
    let interactions = || COMMUNICATIONS.flat_map(|index| plan.interactions(0, index));
    group.throughput(Throughput::Elements(interactions().count() as u64));
    group.bench_function("driven interactions", |bencher| bencher.iter(|| black_box(interactions().count())));
    group.throughput(Throughput::Elements(WRITES as u64));
    group.bench_function("writes in order", |bencher| bencher.iter(|| black_box(plan.writes().take(WRITES).count())));
    let bodies = || COMMUNICATIONS.map(|index| plan.communication(0, index).record.content.body.len() as u64);
    group.throughput(Throughput::Bytes(bodies().sum()));
    group
        .bench_function("communications with their texts", |bencher| bencher.iter(|| black_box(bodies().sum::<u64>())));
    group.finish();
}

criterion_group!(benches, population);
criterion_main!(benches);
