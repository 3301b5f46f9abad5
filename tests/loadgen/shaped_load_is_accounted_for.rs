//! A drive with stages, a flood of one tenant, a warm-up that writes, and users who wait for their answers: every record is
//! in the stores, and the users' samples are apart from those of the open loop.

use std::sync::Arc;
use std::time::Duration;

use sluice_loadgen::measure::Recorder;
use sluice_loadgen::plan::Plan;
use sluice_loadgen::population::Population;
use sluice_loadgen::question::Question;
use sluice_loadgen::scenario::{Factor, Pace, Scenario, Slo, Stage, Users};

use crate::world::World;

fn shaped(plain: &Scenario) -> Scenario {
    let seconds = Duration::from_secs;
    let factor = |from: f64, to: f64| Factor { from, to };
    let all = |start: u64, length: u64, writes, probes| Stage {
        start: seconds(start),
        length: seconds(length),
        writes,
        probes,
        tenant: None,
    };
    let flood = Stage { tenant: Some(1), ..all(1, 2, factor(8.0, 8.0), factor(2.0, 2.0)) };
    let users = Users {
        name: "agents".to_owned(),
        count: 5,
        think_time: Duration::from_millis(200),
        questions: [(Question::Search, 1), (Question::LookupById, 2)].into(),
    };
    let judged = Slo { name: "agents".to_owned(), users: Some("agents".to_owned()), ..plain.slos[0].clone() };
    Scenario {
        warm_up: seconds(2),
        warm_up_writes: true,
        pace: Pace::Steady,
        by_calendar: [Question::Timeline].into(),
        stages: vec![all(0, 1, factor(1.0, 4.0), factor(1.0, 4.0)), all(1, 1, factor(0.0, 0.0), Factor::ONE), flood],
        users: vec![users],
        slos: plain.slos.iter().cloned().chain([judged]).collect(),
        ..plain.clone()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shaped_drive_balances_exactly_and_keeps_users_apart() {
    let (mut world, _) = World::loaded().await;
    world.scenario = shaped(&world.scenario);
    world.plan = Arc::new(Plan::new(&world.scenario, &Population::new(&world.scenario)));
    let driven = world.drive_and_wait().await;
    assert!(driven.lost.sentences().is_empty() && !driven.stopped, "{:?}", driven.lost);
    let tenants = 0..world.plan.population().tenants().len();
    let planned: Vec<_> = tenants.map(|tenant| world.plan.totals(tenant)).collect();
    assert_eq!(driven.acknowledged, planned);
    let account = world.account(&driven.acknowledged).await;
    assert!(account.is_balanced(), "{:#?}", account.discrepancies());

    // The warm-up's records are in the account, and not in what is judged.
    let kafka = driven.measured.writes.last().unwrap().outcomes().samples();
    let through_kafka: u64 = planned.iter().map(sluice_loadgen::plan::Totals::through_kafka).sum();
    assert!(kafka > 0 && kafka < through_kafka, "{kafka} of {through_kafka}");

    let samples = |one: &Recorder| one.measured().counts.samples;
    let of = |users: Option<&str>, question| {
        let recorders = driven.measured.questions.iter();
        recorders.filter(|one| one.users() == users && one.question() == question).map(samples).sum::<u64>()
    };
    let planned_searches = world.plan.probes(Question::Search).count() as u64;
    assert_eq!(of(None, Question::Search), planned_searches, "no sample of a user is among those of the open loop");
    let by_users = of(Some("agents"), Question::Search);
    assert!(by_users > 0 && of(Some("agents"), Question::LookupById) > 0);
    let judged = driven.measured.slos.iter().find(|one| one.slo().users.is_some()).unwrap();
    assert_eq!(judged.measured().counts.samples, by_users);
    assert!(driven.measured.questions.iter().all(|one| one.measured().counts.wrong == 0));
    world.drop_namespace().await;
}
