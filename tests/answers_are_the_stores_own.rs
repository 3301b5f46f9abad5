//! A response counts only if it comes from the store itself: `200 OK` with a page, as from a proxy, is not a success, and no
//! redirect is followed. Each test has negative controls: the same work succeeds while every request is forwarded, and a client
//! that reads only the status line accepts the page.

use reqwest::Client;
use sluice_schemas::{SchemaError, Store, apply::apply, drop_namespace, names::Names, stores::Stores};
use sluice_testkit::{InterceptingProxy, Interception, OtherHost, Service, Stack, fresh_names};

/// A namespace in which one store is behind a proxy.
struct World {
    _stack: Stack,
    names: Names,
    direct: Stores,
    /// Like `direct`, with the store behind the proxy.
    stores: Stores,
    proxy: InterceptingProxy,
    /// The target of redirects.
    other_host: OtherHost,
    store: Store,
}

impl World {
    async fn new(service: Service, store: Store) -> Self {
        let stack = Stack::up(env!("CARGO_BIN_EXE_sluice"), &[service]).await;
        let names = fresh_names("own");
        let mut direct = stack.stores(&names);
        direct.s3.enabled = store == Store::S3;
        let mut stores = direct.clone();
        let address = match store {
            Store::ClickHouse => &mut stores.clickhouse.url,
            Store::Elasticsearch => &mut stores.elasticsearch.url,
            _ => &mut stores.s3.endpoint,
        };
        let (proxy, other_host) = (InterceptingProxy::in_front_of(address).await, OtherHost::start().await);
        address.clone_from(&proxy.url);
        Self { _stack: stack, names, direct, stores, proxy, other_host, store }
    }

    async fn apply(&self) -> Result<(), SchemaError> {
        apply(&self.stores, &self.names, &[self.store]).await.map(drop)
    }

    /// A page, and a redirect that preserves method and body.
    fn interceptions(&self) -> [Interception; 2] {
        [Interception::Page, Interception::Redirect(307, self.other_host.url.clone())]
    }

    /// Applies the schemas while requests that contain `text` are intercepted, in each of the two ways; returns both errors.
    async fn errors_with_interceptions(&self, text: &str) -> [String; 2] {
        let mut errors = Vec::new();
        for interception in self.interceptions() {
            self.proxy.intercept(interception.clone(), text);
            let error = self.apply().await.expect_err("a response from another server was accepted");
            assert!(self.proxy.intercepted() > 0, "{interception:?}: no request was intercepted");
            errors.push(error.to_string());
        }
        assert_eq!(self.other_host.requests(), 0, "a redirect was followed");
        errors.try_into().expect("two errors")
    }

    /// Negative control: a client that reads only the status line accepts the page and follows the redirect.
    async fn assert_status_line_is_misleading(&self, text: &str) {
        for interception in self.interceptions() {
            self.proxy.intercept(interception, text);
            let client = Client::builder().no_proxy().build().expect("a client");
            let response =
                client.put(format!("{}/{text}", self.proxy.url)).body("{}").send().await.expect("a response");
            assert!(response.status().is_success(), "{}", response.status());
        }
        assert_eq!(self.other_host.requests(), 1);
    }

    /// Negative control: while every request is forwarded, the schemas are applied.
    async fn assert_applied_when_forwarded(&self) {
        self.proxy.forward_all();
        self.apply().await.expect("apply the schemas through the proxy");
    }

    async fn drop_namespace(self) {
        drop_namespace(&self.direct, &self.names, &[self.store]).await.expect("drop the namespace");
    }
}

#[tokio::test]
async fn a_page_in_place_of_elasticsearch_does_not_count_as_success() {
    let world = World::new(Service::Elasticsearch, Store::Elasticsearch).await;
    for text in ["_cluster/health", "index_patterns"] {
        for error in world.errors_with_interceptions(text).await {
            assert!(error.contains("it is not Elasticsearch's"), "{error}");
        }
    }
    world.assert_status_line_is_misleading("index_patterns").await;
    world.assert_applied_when_forwarded().await;
    world.drop_namespace().await;
}

#[tokio::test]
async fn a_page_in_place_of_clickhouse_does_not_count_as_success() {
    let world = World::new(Service::ClickHouse, Store::ClickHouse).await;
    for text in ["CREATE DATABASE", "CREATE TABLE", "INSERT INTO schema_migrations"] {
        let [page, redirect] = world.errors_with_interceptions(text).await;
        assert!(page.contains("the response is not ClickHouse's"), "{page}");
        assert!(redirect.contains("ClickHouse"), "{redirect}");
    }
    world.assert_status_line_is_misleading("CREATE").await;
    world.assert_applied_when_forwarded().await;
    world.drop_namespace().await;
}

#[tokio::test]
async fn a_page_in_place_of_s3_does_not_count_as_success() {
    let world = World::new(Service::S3, Store::S3).await;
    for error in world.errors_with_interceptions("customer-documents").await {
        assert!(error.contains("the response is not an S3 server's"), "{error}");
    }
    world.assert_status_line_is_misleading("customer-documents").await;
    world.assert_applied_when_forwarded().await;
    world.drop_namespace().await;
}
