//! The latency of commits is an SLO: a PostgreSQL that answers late misses it. Transactions that fail count for its availability.

use std::time::Duration;

use sluice_loadgen::question::{Question, Store as AskedStore};
use sluice_loadgen::scenario::{Operation, Slo};
use sluice_loadgen::verdict::{Availability, Judged, Subject, Verdict, judge};
use sluice_schemas::Store;
use sluice_schemas::stores::Stores;
use sluice_testkit::{ProxyMode, TcpProxy};
use tokio_util::sync::CancellationToken;

use crate::world::World;

/// A transaction has several responses, and each is delayed.
const DELAY: Duration = Duration::from_millis(100);
/// Drives until one is not disturbed.
const MAX_DRIVES: usize = 5;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_postgresql_that_commits_late_fails_the_slo_of_commits() {
    let (world, _) = World::loaded_with(|scenario| {
        let slo = scenario.slos[0].clone();
        let within = Duration::from_millis(250);
        let commits = Slo { name: "commits".to_owned(), of: Operation::Commits, questions: Vec::new(), within, ..slo };
        scenario.slos.push(commits);
    })
    .await;
    world.warm_up().await;
    // Negative control: through a proxy without delay, commits do not fail, unless the machine stalls.
    let mut drives = 0;
    let in_time = loop {
        drives += 1;
        let judged = commits_on(&world, through_proxy(&world.stores, Duration::ZERO).await).await;
        if judged.test.verdict != Verdict::Fail || drives == MAX_DRIVES {
            break judged;
        }
    };
    assert_ne!(in_time.test.verdict, Verdict::Fail, "{in_time:?}");

    let late = commits_on(&world, through_proxy(&world.stores, DELAY).await).await;
    assert_eq!(late.test.verdict, Verdict::Fail, "{late:?}");
    assert_eq!((late.counts.samples, late.counts.errors), (late.counts.exceedances, 0), "{late:?}");
    assert_eq!(late.counts.samples, in_time.counts.samples, "the same plan");
    world.drop_namespace().await;
}

/// The same stores, with PostgreSQL behind a proxy that delays responses.
async fn through_proxy(stores: &Stores, delay: Duration) -> Stores {
    let mut stores = stores.clone();
    TcpProxy::in_front_of_postgres(&mut stores).await.set_mode(ProxyMode::Delayed(delay));
    stores
}

async fn commits_on(world: &World, stores: Stores) -> Judged {
    let driven = world.drive_on(&stores, &CancellationToken::new()).await;
    assert_eq!(driven.lost.sentences(), [""; 0]);
    let (slos, _) = judge(&world.scenario, &driven.measured);
    slos.into_iter().find(|judged| judged.slo.name == "commits").unwrap()
}

const WHOLE: ProxyMode = ProxyMode::Delayed(Duration::ZERO);
const BROKEN: ProxyMode = ProxyMode::ResetInResponse;

/// Drives, with modes of PostgreSQL's connections after one and two seconds. Returns how many writes to it failed after all attempts,
/// and how many at the first one.
async fn failed_writes(world: &World, [first, then]: [ProxyMode; 2]) -> [u64; 2] {
    let mut stores = world.stores.clone();
    let proxy = TcpProxy::in_front_of_postgres(&mut stores).await;
    let second = Duration::from_secs(1);
    let (begin, end) = (async || proxy.set_mode(first), async || proxy.set_mode(then));
    let driven = world.drive_disrupted(&stores, (second, &begin), (2 * second, &end)).await;
    let (_, availability) = judge(&world.scenario, &driven.measured);
    [Subject::Operations, Subject::FirstAttempts].map(|subject| {
        let of_subject = |one: &&Availability| one.store == Store::Postgres && one.subject == subject;
        availability.iter().find(of_subject).unwrap().failed
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failing_transactions_count_for_the_availability_of_postgresql() {
    let (world, _) = World::loaded_with(|scenario| {
        let asks_postgres =
            |question: &Question| *question == Question::LookupCached || question.store() == AskedStore::Postgres;
        scenario.probes.retain(|question, _| !asks_postgres(question));
        scenario.availability.first_attempts = Some(0.999);
    })
    .await;
    world.warm_up().await;
    assert_eq!(failed_writes(&world, [WHOLE, WHOLE]).await, [0, 0]);
    let [after_all, at_first] = failed_writes(&world, [BROKEN, WHOLE]).await;
    assert!(after_all == 0 && at_first > 0, "{after_all} after all attempts, {at_first} at the first one");
    let [after_all, at_first] = failed_writes(&world, [BROKEN, BROKEN]).await;
    assert!(after_all > 0 && at_first >= after_all, "{after_all} after all attempts, {at_first} at the first one");
    world.drop_namespace().await;
}
