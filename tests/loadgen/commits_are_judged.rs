//! The latency of commits is an SLO: a PostgreSQL that answers late misses it.

use std::time::Duration;

use sluice_loadgen::scenario::{Operation, Slo};
use sluice_loadgen::verdict::{Judged, Verdict, judge};
use sluice_schemas::stores::Stores;
use sluice_testkit::TcpProxy;
use tokio_util::sync::CancellationToken;

use crate::world::World;

/// A transaction has several responses, and each is delayed.
const DELAY: Duration = Duration::from_millis(100);

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
    // Negative control: through a proxy without delay, commits do not fail.
    let in_time = commits_on(&world, through_proxy(&world.stores, Duration::ZERO).await).await;
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
    let url = format!("http://{}:{}", stores.postgres.host, stores.postgres.port);
    let proxy = TcpProxy::with_delay(&url, delay).await;
    let address: std::net::SocketAddr = proxy.url.trim_start_matches("http://").parse().unwrap();
    (stores.postgres.host, stores.postgres.port) = (address.ip().to_string(), address.port());
    stores
}

async fn commits_on(world: &World, stores: Stores) -> Judged {
    let driven = world.drive_on(&stores, &CancellationToken::new()).await;
    assert_eq!(driven.lost, [""; 0]);
    let (slos, _) = judge(&world.scenario, &driven.measured);
    slos.into_iter().find(|judged| judged.slo.name == "commits").unwrap()
}
