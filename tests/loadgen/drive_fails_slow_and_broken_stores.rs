//! A slow or missing store fails its own SLO and no other. A cache that mixes up tenants gives wrong answers.

use std::time::Duration;

use sluice_loadgen::question::Question;
use sluice_loadgen::question::lookup_cached::{get_context, set_context};
use sluice_loadgen::target::redis::Cluster;
use sluice_loadgen::verdict::{Judged, Verdict, judge};
use sluice_schemas::Store;
use sluice_schemas::records::Customer;
use sluice_schemas::stores::Stores;
use sluice_testkit::{ProxyMode, TcpProxy};
use tokio_util::sync::CancellationToken;

use crate::world::World;

const DELAY: Duration = Duration::from_millis(3_200);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_clickhouse_and_a_missing_elasticsearch_fail_their_slos() {
    let (world, _) = World::loaded().await;
    world.warm_up().await;
    // Negative control: through a proxy without delay, dashboards do not fail.
    let [_, analytics] = judge_on(&world, stores_with_delay(&world.stores, Duration::ZERO).await).await;
    assert_ne!(analytics.test.verdict, Verdict::Fail, "{analytics:?}");

    let mut stores = stores_with_delay(&world.stores, DELAY).await;
    stores.elasticsearch.url = "http://127.0.0.1:1".to_owned();
    let [search, analytics] = judge_on(&world, stores).await;
    assert_eq!(search.test.verdict, Verdict::Fail, "{search:?}");
    assert_eq!(search.counts.errors, search.counts.samples, "nothing listens at that address");
    assert_eq!((analytics.test.verdict, analytics.counts.wrong), (Verdict::Fail, 0), "{analytics:?}");
    world.drop_namespace().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cached_context_of_another_tenant_is_a_wrong_answer() {
    let (world, _) = World::loaded().await;
    let cache = Cluster::cache(&world.stores, &world.names).await.unwrap();
    let wrong = async || {
        let driven = world.drive_on(&world.stores, &CancellationToken::new()).await;
        let mut cached = driven.measured.questions.iter().filter(|one| one.question() == Question::LookupCached);
        cached.next().unwrap().measured().counts.wrong
    };
    assert_eq!(wrong().await, 0, "the negative control");
    let population = world.plan.population();
    let (first, other) = (&population.tenants()[0], population.tenants()[1].id);
    for index in 0..first.customers {
        let id = population.customer_id(first.index, index);
        if let Some(customer) = get_context(&cache, id).await.unwrap() {
            set_context(&cache, &Customer { tenant_id: other, ..customer }).await.unwrap();
        }
    }
    assert!(wrong().await > 0);
    world.drop_namespace().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_miss_that_fails_in_postgresql_is_no_failure_of_redis() {
    let (world, _) = World::loaded_with(|scenario| {
        scenario.probes.retain(|question, _| *question == Question::LookupCached);
    })
    .await;
    // An earlier drive would fill the cache with what this one asks for.
    let mut stores = world.stores.clone();
    let proxy = TcpProxy::in_front_of_postgres(&mut stores).await;
    let second = Duration::from_secs(1);
    let (breaking, waiting) = (async || proxy.set_mode(ProxyMode::ResetInResponse), async || ());
    let driven = world.drive_disrupted(&stores, (second, &breaking), (2 * second, &waiting)).await;
    let measured = driven.measured.questions[0].measured();
    let (_, availability) = judge(&world.scenario, &driven.measured);
    let failed = |store| availability.iter().find(|one| one.store == store).unwrap().failed;
    let misses = measured.backing.exceedances();
    assert!(misses > 0 && misses == measured.counts.errors + measured.counts.timed_out, "{:?}", measured.counts);
    assert_eq!(failed(Store::Redis), 0);
    assert!(failed(Store::Postgres) >= misses);
    world.drop_namespace().await;
}

/// The same stores, with ClickHouse behind a proxy that delays responses.
async fn stores_with_delay(stores: &Stores, delay: Duration) -> Stores {
    let mut stores = stores.clone();
    stores.clickhouse.url = TcpProxy::with_delay(&stores.clickhouse.url, delay).await.url;
    stores
}

async fn judge_on(world: &World, stores: Stores) -> [Judged; 2] {
    let driven = world.drive_on(&stores, &CancellationToken::new()).await;
    let (slos, _) = judge(&world.scenario, &driven.measured);
    ["search", "analytics"].map(|name| slos.iter().find(|judged| judged.slo.name == name).unwrap().clone())
}
