//! A ClickHouse whose answers are lost for a moment does not end the wait for the records of a drive; one that stays away does. An
//! Elasticsearch that has no room for a moment does not end a load.

use std::time::{Duration, Instant};

use sluice_loadgen::account::{self, AccountError, Settled};
use sluice_loadgen::plan::Totals;
use sluice_loadgen::run_context::RunContext;
use sluice_testkit::{InterceptingProxy, Interception, ProxyMode, Requests, TcpProxy};
use tokio_util::sync::CancellationToken;

use crate::world::World;

/// Answers that are lost before the proxy forwards them again.
const LOST: usize = 3;
/// How often it is looked whether that many are.
const LOOK: Duration = Duration::from_millis(20);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_are_lost_for_a_moment_end_no_wait() {
    let (world, _) = World::loaded().await;
    let driven = world.drive_and_wait().await;
    let mut stores = world.stores.clone();
    let proxy = TcpProxy::start(&stores.clickhouse.url).await;
    stores.clickhouse.url.clone_from(&proxy.url);
    let context = RunContext { stores: &stores, ..world.context() };
    let repair = async {
        while proxy.disrupted_connections() < LOST {
            tokio::time::sleep(LOOK).await;
        }
        proxy.set_mode(ProxyMode::Delayed(Duration::ZERO));
    };

    proxy.set_mode(ProxyMode::ResetInResponse);
    let (settled, ()) = tokio::join!(settle(context, &driven.acknowledged, Duration::from_secs(30)), repair);
    assert!(settled.unwrap().is_complete());

    // Negative control: nothing answers for as long as the wait lasts without an arrival.
    proxy.set_mode(ProxyMode::ResetInResponse);
    let error = settle(context, &driven.acknowledged, Duration::from_secs(2)).await.unwrap_err();
    assert!(error.to_string().contains("ClickHouse"), "{error}");
    world.drop_namespace().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_elasticsearch_without_room_for_a_moment_ends_no_load() {
    let world = World::applied().await;
    let mut stores = world.stores.clone();
    let proxy = InterceptingProxy::in_front_of(&stores.elasticsearch.url).await;
    stores.elasticsearch.url.clone_from(&proxy.url);
    proxy.intercept_next(LOST, Requests::Containing("_bulk".to_owned()), Interception::NoRoom);
    let loaded = world.load_into(&stores, &CancellationToken::new(), &|_, _| ()).await.unwrap();
    assert_eq!(proxy.intercepted(), LOST, "{loaded:?}");
    world.drop_namespace().await;
}

async fn settle(context: RunContext<'_>, acknowledged: &[Totals], idle: Duration) -> Result<Settled, AccountError> {
    let stop = CancellationToken::new();
    account::settle(context, (acknowledged, 0), (Instant::now(), idle), &stop, &|_, _| ()).await
}
