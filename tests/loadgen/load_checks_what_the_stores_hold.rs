//! A load is complete only if the store itself has every record: `200 OK` with a page, as from a proxy, is no acknowledgement.

use sluice_loadgen::load::LoadError;
use sluice_testkit::{InterceptingProxy, Interception};
use tokio_util::sync::CancellationToken;

use crate::world::World;

#[tokio::test]
async fn rows_acknowledged_by_a_page_are_reported_missing() {
    let world = World::applied().await;
    let proxy = InterceptingProxy::in_front_of(&world.stores.clickhouse.url).await;
    let mut stores = world.stores.clone();
    stores.clickhouse.url.clone_from(&proxy.url);
    proxy.intercept(Interception::Page, "INSERT INTO");
    let stop = CancellationToken::new();
    let loaded = world.load_into(&stores, &stop, &|_, _| ()).await;
    assert!(proxy.intercepted() > 0, "no request was intercepted");
    let error = loaded.expect_err("missing rows were counted as loaded");
    assert!(matches!(error, LoadError::Missing { found: 0, .. }), "{error}");
    world.drop_namespace().await;
}

#[tokio::test]
async fn documents_acknowledged_by_a_page_are_reported_missing() {
    let world = World::applied().await;
    let proxy = InterceptingProxy::in_front_of(&world.stores.elasticsearch.url).await;
    let mut stores = world.stores.clone();
    stores.elasticsearch.url.clone_from(&proxy.url);
    proxy.intercept(Interception::Page, "_bulk");
    let stop = CancellationToken::new();
    let loaded = world.load_into(&stores, &stop, &|_, _| ()).await;
    assert!(proxy.intercepted() > 0, "no request was intercepted");
    let error = loaded.expect_err("missing documents were counted as loaded").to_string();
    assert!(error.contains("it is not Elasticsearch's"), "{error}");
    world.drop_namespace().await;
}
