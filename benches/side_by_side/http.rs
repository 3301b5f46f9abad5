//! One INSERT over HTTP, acknowledged by ClickHouse itself. It never retries, and uses no proxy.

use std::sync::OnceLock;

use anyhow::{Context, bail};
use reqwest::{Body, Client};

use crate::testbed::Testbed;

/// Sends a body and waits until ClickHouse has inserted it.
pub(crate) async fn insert(
    testbed: &Testbed,
    statement: &str,
    settings: &[(&str, &str)],
    body: Body,
) -> anyhow::Result<()> {
    static CLIENT: OnceLock<Client> = OnceLock::new();
    let (server, database) = (&testbed.stores.clickhouse, testbed.names.database());
    let client = CLIENT.get_or_init(client);
    let request = client
        .post(&server.url)
        .query(&[("database", database.as_str()), ("query", statement)])
        .query(settings)
        .header("X-ClickHouse-User", &server.login.user)
        .header("X-ClickHouse-Key", server.login.password.reveal())
        .body(body);
    let response = request.send().await.context("insert into ClickHouse")?;
    // A 200 from another server is not an acknowledgement: ClickHouse sends the query ID and an empty body.
    let is_from_clickhouse = response.status().is_success() && response.headers().contains_key("x-clickhouse-query-id");
    let body = response.text().await.context("read ClickHouse's response")?;
    if is_from_clickhouse && body.is_empty() {
        return Ok(());
    }
    bail!("insert into ClickHouse: {body}")
}

/// A client without proxies or redirects.
pub(crate) fn client() -> Client {
    let client = Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build();
    client.expect("a client without certificates or proxies cannot fail")
}
