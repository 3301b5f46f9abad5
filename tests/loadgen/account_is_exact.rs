//! Every record that was loaded or driven is in the stores, and every probe returns the expected result.

use sluice_loadgen::load;
use sluice_loadgen::measure::Counts;

use crate::world::World;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_load_and_a_drive_balance_exactly() {
    let (world, loaded) = World::loaded().await;
    for (kind, count) in load::expected_records(world.plan.population()) {
        assert_eq!(loaded.records[&kind], count, "{kind}");
    }
    let account = world.account(&[]).await;
    assert!(account.is_balanced(), "{:#?}", account.discrepancies());

    let driven = world.drive_and_wait().await;
    assert!(driven.lost.sentences().is_empty() && !driven.stopped, "{:?}", driven.lost);
    assert_eq!(driven.measured.questions.len(), world.scenario.probes.len());
    for recorder in &driven.measured.questions {
        let Counts { samples, wrong, errors, .. } = recorder.measured().counts;
        assert!(samples > 0 && wrong == 0 && errors == 0, "{}: {:?}", recorder.question(), recorder.measured().counts);
    }
    let tenants = 0..world.plan.population().tenants().len();
    let planned: Vec<_> = tenants.map(|tenant| world.plan.totals(tenant)).collect();
    assert_eq!(driven.acknowledged, planned);
    for started in [driven.health.writes, driven.health.probes] {
        assert_eq!((started.offered, started.held_back), (started.sent, 0));
    }

    let account = world.account(&driven.acknowledged).await;
    assert!(account.is_balanced(), "{:#?}", account.discrepancies());
    let through_kafka: u64 = account.provenance.iter().map(|table| table.rows).sum();
    let produced: u64 = planned.iter().map(|totals| totals.events + totals.interactions + totals.metrics).sum();
    assert_eq!(through_kafka, produced);
    world.drop_namespace().await;
}
