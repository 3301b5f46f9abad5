//! A stall of three seconds shows in full in the latencies of its store, although the answers come after their time-out,
//! and in no other store's. One of PostgreSQL shows in its commits as well, and one of Kafka in its writes.

use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use redis::aio::MultiplexedConnection;
use sluice_loadgen::drive::Driven;
use sluice_loadgen::question::{Question, Store};
use sluice_loadgen::scenario::Scenario;
use sluice_schemas::apply;
use sluice_schemas::stores::Stores;
use sluice_stack::status;
use sluice_testkit::{OwnStack, ProxyMode, Service, TcpProxy};

use crate::world::World;

const STALL: Duration = Duration::from_secs(3);
/// When the stall begins: in the middle of the drive.
const BEGIN: Duration = Duration::from_secs(1);
/// When it ends for what is asked from then on.
const END: Duration = Duration::from_millis(1_500);
/// What is left of the stall for a probe that comes just before `END`; snapshots of the progress come every 250 ms.
const REST: Duration = Duration::from_millis(2_200);
/// Drives in which other stores may be slow by themselves.
const MAX_DRIVES: usize = 5;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stall_of_three_seconds_shows_in_full() {
    // So many that each question is asked at least once while its store stalls.
    let often = |scenario: &mut Scenario| scenario.probes.values_mut().for_each(|rate| *rate = rate.max(15.0));
    let (world, _) = World::loaded_with(often).await;
    world.warm_up().await;
    let elasticsearch = TcpProxy::start(&world.stores.elasticsearch.url).await;
    let clickhouse = TcpProxy::start(&world.stores.clickhouse.url).await;
    let mut stores = world.stores.clone();
    let postgres = TcpProxy::in_front_of_postgres(&mut stores).await;
    stores.elasticsearch.url.clone_from(&elasticsearch.url);
    stores.clickhouse.url.clone_from(&clickhouse.url);
    let proxies = [(Store::Postgres, postgres), (Store::Elasticsearch, elasticsearch), (Store::Clickhouse, clickhouse)];
    for (store, proxy) in &proxies {
        let stall = async || proxy.set_mode(ProxyMode::Delayed(STALL));
        let resume = async || proxy.set_mode(ProxyMode::Delayed(Duration::ZERO));
        stall_until_only(*store, async || world.drive_disrupted(&stores, (BEGIN, &stall), (END, &resume)).await).await;
    }
    let pause = async || pause_redis(&world.stores).await;
    stall_until_only(Store::Redis, async || world.drive_disrupted(&stores, (BEGIN, &pause), (END, &async || ())).await)
        .await;
    world.drop_namespace().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stall_of_kafka_shows_in_full_in_its_writes() {
    // Longer than the stall and what comes before it.
    let (world, _) = World::loaded_with(|scenario| scenario.duration = Duration::from_secs(6)).await;
    let own = OwnStack::with(env!("CARGO_BIN_EXE_sluice"), &[Service::Kafka]).await;
    let mut stores = world.stores.clone();
    stores.kafka = own.stores(&world.names).kafka;
    apply::apply(&stores, &world.names, &[sluice_schemas::Store::Kafka]).await.unwrap();
    let longest = |driven: &Driven| {
        let mut of_kafka = driven.measured.writes.iter().filter(|one| one.store() == sluice_schemas::Store::Kafka);
        of_kafka.next().unwrap().latency().max().unwrap()
    };
    let services = status(own.layout()).await.unwrap();
    let server = services.iter().find(|status| status.service == Service::Kafka).unwrap();
    let server = Pid::from_raw(server.pids[0]);
    let stall = async || {
        kill(server, Signal::SIGSTOP).unwrap();
        // The stall lasts this long.
        tokio::time::sleep(STALL).await;
        kill(server, Signal::SIGCONT).unwrap();
    };
    let driven = world.drive_disrupted(&stores, (BEGIN, &stall), (BEGIN, &async || ())).await;
    assert!(longest(&driven) >= Duration::from_millis(2_900), "{:?}", longest(&driven));
    assert_eq!(driven.lost.sentences().len(), 0, "{:?}", driven.lost.sentences());
    world.drop_namespace().await;
}

/// Drives until no other store is slow: stores that other tests use may be slow by themselves, but not every time. The
/// stall itself must show in each drive.
async fn stall_until_only(stalled: Store, drive: impl AsyncFn() -> Driven) {
    let mut slow = None;
    for _ in 0..MAX_DRIVES {
        let driven = drive().await;
        assert_stalled(&driven, stalled);
        slow = slow_question(&driven, stalled);
        if slow.is_none() {
            return;
        }
    }
    panic!("{slow:?} was slow in the last of {MAX_DRIVES} drives, in which {stalled:?} stalled");
}

/// The store's longest latency is the whole stall. A question whose first probe comes late in it, or waits for a
/// connection, sees the rest of it.
fn assert_stalled(driven: &Driven, stalled: Store) {
    let of_store = driven.measured.questions.iter().filter(|recorder| recorder.question().store() == stalled);
    let longest = of_store.map(|recorder| {
        let (question, longest) = (recorder.question(), recorder.measured().latency.max().unwrap());
        assert!(longest >= REST, "{question}: {longest:?}, {stalled:?} stalled");
        longest
    });
    let longest = longest.max().unwrap();
    assert!(longest >= Duration::from_millis(2_900), "{longest:?}, {stalled:?} stalled");
    if stalled == Store::Postgres {
        let writes = &driven.measured.writes;
        let commits = writes.iter().find(|one| one.store() == sluice_schemas::Store::Postgres).unwrap();
        let longest = commits.latency().max().unwrap();
        assert!(longest >= Duration::from_millis(2_900), "{longest:?} of a commit");
    }
}

/// A question of another store that was as slow as if its store had stalled.
fn slow_question(driven: &Driven, stalled: Store) -> Option<Question> {
    let others = driven.measured.questions.iter().filter(|recorder| {
        let store = recorder.question().store();
        // A cached lookup that misses the cache waits for PostgreSQL.
        store != stalled && !(stalled == Store::Postgres && store == Store::Redis)
    });
    let mut slow = others.filter(|recorder| recorder.measured().latency.max().unwrap() >= REST);
    slow.next().map(sluice_loadgen::measure::Recorder::question)
}

/// Suspends every node of the cache cluster.
async fn pause_redis(stores: &Stores) {
    for node in stores.redis.cache.iter().chain(&stores.redis.state) {
        let client = redis::Client::open(node.as_str()).unwrap();
        let mut connection: MultiplexedConnection = client.get_multiplexed_async_connection().await.unwrap();
        let pause = redis::cmd("CLIENT").arg("PAUSE").arg(STALL.as_millis() as u64).arg("ALL").to_owned();
        pause.exec_async(&mut connection).await.unwrap();
    }
}
