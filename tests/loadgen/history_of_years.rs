//! A past of three years is loaded into every store, asked about and accounted for like one of a week.

use sluice_loadgen::measure::Counts;

use crate::world::World;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_years_are_loaded_asked_about_and_accounted_for() {
    let (world, _) = World::loaded_with(|scenario| {
        scenario.history_span = std::time::Duration::from_hours(24 * 1_095);
        scenario.history = 6_000;
        scenario.metric_interval = std::time::Duration::from_hours(24);
    })
    .await;
    let driven = world.drive_and_wait().await;
    for recorder in &driven.measured.questions {
        let Counts { samples, wrong, errors, .. } = recorder.measured().counts;
        assert!(samples > 0 && wrong == 0 && errors == 0, "{}: {:?}", recorder.question(), recorder.measured().counts);
    }
    let account = world.account(&driven.acknowledged).await;
    assert!(account.is_balanced(), "{:#?}", account.discrepancies());
    world.drop_namespace().await;
}
