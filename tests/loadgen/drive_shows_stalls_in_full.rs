//! A stall of three seconds shows in full in the latencies of its store, although the answers come after their time-out,
//! and in no other store's.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use sluice_loadgen::drive::{self, Driven, Phase, Progress};
use sluice_loadgen::question::Store;
use sluice_loadgen::run_context::RunContext;
use sluice_schemas::stores::Stores;
use sluice_testkit::{ProxyMode, TcpProxy};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::world::World;

const STALL: Duration = Duration::from_secs(3);
/// When the stall begins: in the middle of the drive.
const BEGIN: Duration = Duration::from_secs(1);
/// When it ends for what is asked from then on.
const END: Duration = Duration::from_millis(1_500);
/// What is left of the stall for a probe that comes just before `END`; snapshots of the progress come every 250 ms.
const REST: Duration = Duration::from_millis(2_200);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stall_of_three_seconds_shows_in_full() {
    let (world, _) = World::loaded().await;
    world.warm_up().await;
    let postgres = format!("{}:{}", world.stores.postgres.host, world.stores.postgres.port);
    let postgres = TcpProxy::start(&postgres).await;
    let elasticsearch = TcpProxy::start(&world.stores.elasticsearch.url).await;
    let clickhouse = TcpProxy::start(&world.stores.clickhouse.url).await;
    let mut stores = world.stores.clone();
    let port = postgres.url.rsplit(':').next().unwrap();
    "127.0.0.1".clone_into(&mut stores.postgres.host);
    stores.postgres.port = port.parse().unwrap();
    stores.elasticsearch.url.clone_from(&elasticsearch.url);
    stores.clickhouse.url.clone_from(&clickhouse.url);
    let proxies = [(Store::Postgres, postgres), (Store::Elasticsearch, elasticsearch), (Store::Clickhouse, clickhouse)];
    for (store, proxy) in &proxies {
        let stall = async || proxy.set_mode(ProxyMode::Delayed(STALL));
        let resume = async || proxy.set_mode(ProxyMode::Delayed(Duration::ZERO));
        let driven = drive(&world, &stores, stall, resume).await;
        assert_stalled(&driven, *store);
    }
    let driven = drive(&world, &stores, async || pause_redis(&world.stores).await, async || ()).await;
    assert_stalled(&driven, Store::Redis);
    world.drop_namespace().await;
}

/// Drives, with a stall of one store.
async fn drive(world: &World, stores: &Stores, stall: impl AsyncFn(), resume: impl AsyncFn()) -> Driven {
    let (progress, mut seen) = watch::channel(Progress::default());
    let context = RunContext { stores, names: &world.names, scenario: &world.scenario, plan: &world.plan };
    let stop = CancellationToken::new();
    let is_at = |at: Duration| move |now: &Progress| now.phase == Phase::Driving && now.elapsed >= at;
    let stalling = async {
        seen.wait_for(is_at(BEGIN)).await.unwrap();
        stall().await;
        seen.wait_for(is_at(END)).await.unwrap();
        resume().await;
    };
    let (driven, ()) = tokio::join!(drive::drive(context, &stop, &progress), stalling);
    driven.unwrap()
}

/// The store's longest latency is the whole stall. A question whose first probe comes late in it, or waits for a
/// connection, sees the rest of it.
fn assert_stalled(driven: &Driven, stalled: Store) {
    let mut longest_of_store = Duration::ZERO;
    for recorder in &driven.measured.questions {
        let (question, longest) = (recorder.question(), recorder.measured().latency.max().unwrap());
        // A cached lookup that misses the cache waits for PostgreSQL.
        let may_wait = stalled == Store::Postgres && question.store() == Store::Redis;
        if question.store() == stalled {
            assert!(longest >= REST, "{question}: {longest:?}, {stalled:?} stalled");
            longest_of_store = longest_of_store.max(longest);
        } else if !may_wait {
            assert!(longest < REST, "{question}: {longest:?}, {stalled:?} stalled");
        }
    }
    assert!(longest_of_store >= Duration::from_millis(2_900), "{longest_of_store:?}, {stalled:?} stalled");
}

/// Suspends every node of the cache cluster.
async fn pause_redis(stores: &Stores) {
    for node in &stores.redis.cache {
        let client = redis::Client::open(node.as_str()).unwrap();
        let mut connection: MultiplexedConnection = client.get_multiplexed_async_connection().await.unwrap();
        let pause = redis::cmd("CLIENT").arg("PAUSE").arg(STALL.as_millis() as u64).arg("ALL").to_owned();
        pause.exec_async(&mut connection).await.unwrap();
    }
}
