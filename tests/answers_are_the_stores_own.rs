//! What answers at a store's address counts only if it is the store: a `200 OK` with a page, as a proxy's, is no success,
//! and no redirect is followed. Each test has its control: the same work passes while everything is forwarded, and a client
//! that reads the status line alone believes the page.

use reqwest::Client;
use sluice_schemas::{SchemaError, Store, apply::apply, drop_namespace, names::Names, stores::Stores};
use sluice_testkit::{Disguise, Impostor, Service, Stack, fresh_names};

/// A store behind an impostor.
struct World {
    _stack: Stack,
    names: Names,
    direct: Stores,
    /// The same stores, one of them behind the impostor.
    stores: Stores,
    impostor: Impostor,
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
        let impostor = Impostor::before(address).await;
        address.clone_from(&impostor.url);
        Self { _stack: stack, names, direct, stores, impostor, store }
    }

    async fn apply(&self) -> Result<(), SchemaError> {
        apply(&self.stores, &self.names, &[self.store]).await.map(drop)
    }

    /// Applies while requests with `text` are answered by somebody else, in both ways; the error of each comes back.
    async fn refused(&self, text: &str) -> [String; 2] {
        let mut said = Vec::new();
        for disguise in [Disguise::Page, Disguise::Elsewhere] {
            let before = self.impostor.answered();
            self.impostor.answer(disguise, text);
            let error = self.apply().await.expect_err("somebody else's answer counted");
            assert!(self.impostor.answered() > before, "{disguise:?}: nothing was answered in the store's place");
            said.push(error.to_string());
        }
        assert_eq!(self.impostor.arrived_elsewhere(), 0, "a redirect was followed");
        said.try_into().expect("two errors")
    }

    /// The control: a client that reads the status line takes the page for success and follows the redirect.
    async fn fools_a_client_that_reads_the_status_line(&self, text: &str) {
        for disguise in [Disguise::Page, Disguise::Elsewhere] {
            self.impostor.answer(disguise, text);
            let client = Client::builder().no_proxy().build().expect("a client");
            let answer =
                client.put(format!("{}/{text}", self.impostor.url)).body("{}").send().await.expect("an answer");
            assert!(answer.status().is_success(), "{}", answer.status());
        }
        assert_eq!(self.impostor.arrived_elsewhere(), 1);
    }

    async fn end(self) {
        drop_namespace(&self.direct, &self.names, &[self.store]).await.expect("drop the namespace");
    }
}

#[tokio::test]
async fn a_page_in_place_of_elasticsearch_is_no_success() {
    let world = World::new(Service::Elasticsearch, Store::Elasticsearch).await;
    for text in ["_cluster/health", "index_patterns"] {
        for error in world.refused(text).await {
            assert!(error.contains("it is not an answer of Elasticsearch"), "{error}");
        }
    }
    world.fools_a_client_that_reads_the_status_line("index_patterns").await;
    world.impostor.answer(Disguise::Page, "nothing holds this text");
    world.apply().await.expect("forwarded, it is applied");
    world.end().await;
}

#[tokio::test]
async fn a_page_in_place_of_clickhouse_is_no_success() {
    let world = World::new(Service::ClickHouse, Store::ClickHouse).await;
    for text in ["CREATE DATABASE", "CREATE TABLE", "INSERT INTO schema_migrations"] {
        let [page, redirect] = world.refused(text).await;
        assert!(page.contains("it is not an answer of ClickHouse"), "{page}");
        assert!(redirect.contains("ClickHouse"), "{redirect}");
    }
    world.fools_a_client_that_reads_the_status_line("CREATE").await;
    world.impostor.answer(Disguise::Page, "nothing holds this text");
    world.apply().await.expect("forwarded, it is applied");
    world.end().await;
}

#[tokio::test]
async fn a_page_in_place_of_s3_is_no_success() {
    let world = World::new(Service::S3, Store::S3).await;
    for error in world.refused("customer-documents").await {
        assert!(error.contains("it is not an answer of an S3 server"), "{error}");
    }
    world.fools_a_client_that_reads_the_status_line("customer-documents").await;
    world.impostor.answer(Disguise::Page, "nothing holds this text");
    world.apply().await.expect("forwarded, it is applied");
    world.end().await;
}
