//! One INSERT over HTTP: a statement, settings and a body go in, an acknowledgement comes out.

use std::sync::OnceLock;

use anyhow::{Context, bail};
use reqwest::{Body, Client};

use crate::world::World;

/// Sends a body and waits until ClickHouse has taken it.
pub(crate) async fn insert(
    world: &World,
    statement: &str,
    settings: &[(&str, &str)],
    body: Body,
) -> anyhow::Result<()> {
    static CLIENT: OnceLock<Client> = OnceLock::new();
    let (server, database) = (&world.stores.clickhouse, world.names.database());
    let client = CLIENT.get_or_init(client);
    let request = client
        .post(&server.url)
        .query(&[("database", database.as_str()), ("query", statement)])
        .query(settings)
        .header("X-ClickHouse-User", &server.login.user)
        .header("X-ClickHouse-Key", server.login.password.reveal())
        .body(body);
    let answer = request.send().await.context("insert into ClickHouse")?;
    // Another server's 200 is no acknowledgement: ClickHouse names the query, and says nothing more.
    let is_own = answer.status().is_success() && answer.headers().contains_key("x-clickhouse-query-id");
    let body = answer.text().await.context("read the answer of ClickHouse")?;
    if is_own && body.is_empty() {
        return Ok(());
    }
    bail!("insert into ClickHouse: {body}")
}

/// Asks the address it is given and nobody else.
pub(crate) fn client() -> Client {
    let client = Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build();
    client.expect("a client without certificates or proxies has nothing that can fail")
}
