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
    let client = CLIENT.get_or_init(Client::new);
    let request = client
        .post(&server.url)
        .query(&[("database", database.as_str()), ("query", statement)])
        .query(settings)
        .header("X-ClickHouse-User", &server.login.user)
        .header("X-ClickHouse-Key", server.login.password.reveal())
        .body(body);
    let answer = request.send().await.context("insert into ClickHouse")?;
    if answer.status().is_success() {
        return Ok(());
    }
    bail!("insert into ClickHouse: {}", answer.text().await.unwrap_or_default())
}
