//! The version of each store, asked from the store itself, so that it is also known where this program did not install it.
//! A store that does not tell its version is left out, and never counts as outdated; asking changes nothing and never fails.

mod kafka;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::future::join_all;
use serde_json::Value;
use sqlx::{Connection as _, Row as _};

use crate::connect::{self, CONNECT_TIMEOUT, REQUEST_TIMEOUT, Role};
use crate::elastic::{Elastic, Method};
use crate::names::Names;
use crate::stores::Stores;

/// The oldest major version of each store that is supported: `docs/schemas.md` says why.
const OLDEST: [(&str, &str, u32); 5] = [
    ("postgres", "PostgreSQL", 15),
    ("clickhouse", "ClickHouse", 25),
    ("elasticsearch", "Elasticsearch", 8),
    ("redis-cache", "Redis (cache)", 7),
    ("redis-state", "Redis (state)", 7),
];
/// Time-out of one store's answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The versions by name of the store: `postgres`, `kafka` (the level of its metadata, which no release number follows
/// from), `connect`, `clickhouse`, `elasticsearch`, `redis-cache` and `redis-state`.
pub async fn versions(stores: &Stores, names: &Names) -> BTreeMap<String, String> {
    let (postgres, kafka, connect, clickhouse, elasticsearch, cache, state) = tokio::join!(
        within("postgres", postgres(stores, names)),
        within("kafka", kafka::metadata_version(&stores.kafka.brokers)),
        within("connect", kafka_connect(stores)),
        within("clickhouse", clickhouse(stores)),
        within("elasticsearch", elasticsearch(stores)),
        within("redis-cache", redis("Redis (cache)", &stores.redis.cache)),
        within("redis-state", redis("Redis (state)", &stores.redis.state)),
    );
    [postgres, kafka, connect, clickhouse, elasticsearch, cache, state].into_iter().flatten().collect()
}

/// A store that is older than what is supported.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{store} {version}: the oldest supported version is {oldest}")]
pub struct Outdated {
    store: &'static str,
    version: String,
    oldest: u32,
}

/// The first store that is older than what is supported, by the versions that [`versions`] returns. Of several nodes, the oldest
/// counts.
pub fn outdated(versions: &BTreeMap<String, String>) -> Option<Outdated> {
    OLDEST.iter().find_map(|&(name, store, oldest)| {
        let version = versions.get(name)?;
        let major = |one: &str| one.trim().split(['.', ' ']).next()?.parse::<u32>().ok();
        let is_older = version.split(',').filter_map(major).any(|major| major < oldest);
        is_older.then(|| Outdated { store, version: version.clone(), oldest })
    })
}

async fn within(name: &str, asked: impl Future<Output = Option<String>>) -> Option<(String, String)> {
    let answer = tokio::time::timeout(TIMEOUT, asked).await.ok().flatten();
    answer.map(|version| (name.to_owned(), version))
}

async fn postgres(stores: &Stores, names: &Names) -> Option<String> {
    // Before its first run, a namespace has no database.
    let mut connection = match connect::postgres_connection(stores, &names.database(), Role::Reader).await {
        Ok(connection) => connection,
        Err(_) => connect::postgres_admin(stores).await.ok()?,
    };
    let row = sqlx::query("SHOW server_version").fetch_one(&mut connection).await.ok()?;
    drop(connection.close().await);
    row.try_get(0).ok()
}

async fn clickhouse(stores: &Stores) -> Option<String> {
    connect::clickhouse_server(stores).query("SELECT version()").fetch_one().await.ok()
}

/// Asked of all nodes: a server without the module of the root page still answers, and nodes may differ during an upgrade.
async fn elasticsearch(stores: &Stores) -> Option<String> {
    let path = "/_nodes/_all/none?filter_path=nodes.*.version";
    let response: Value = Elastic::new(stores).ok()?.read(Method::GET, path, None).await.ok()?;
    let nodes = response.pointer("/nodes")?.as_object()?;
    let versions: BTreeSet<&str> = nodes.values().filter_map(|node| node["version"].as_str()).collect();
    (!versions.is_empty()).then(|| versions.into_iter().collect::<Vec<_>>().join(", "))
}

/// Kafka Connect is released with Kafka, and says its number.
async fn kafka_connect(stores: &Stores) -> Option<String> {
    let client = reqwest::Client::builder().no_proxy().connect_timeout(CONNECT_TIMEOUT).timeout(REQUEST_TIMEOUT);
    let response = client.build().ok()?.get(&stores.kafka.connect_url).send().await.ok()?;
    number(&response.json().await.ok()?, "/version")
}

/// Asked of every node that is configured, which may differ during an upgrade.
async fn redis(store: &'static str, nodes: &[String]) -> Option<String> {
    let asked = join_all(nodes.iter().map(|address| redis_node(store, address))).await;
    let versions: BTreeSet<String> = asked.into_iter().flatten().collect();
    (!versions.is_empty()).then(|| versions.into_iter().collect::<Vec<_>>().join(", "))
}

async fn redis_node(store: &'static str, address: &str) -> Option<String> {
    let asked = async {
        let mut node = connect::redis_node(store, address).await.ok()?;
        redis::cmd("INFO").arg("server").query_async::<String>(&mut node).await.ok()
    };
    // A node that does not respond hides no other one.
    let info = tokio::time::timeout(TIMEOUT / 2, asked).await.ok()??;
    info.lines().find_map(|line| line.strip_prefix("redis_version:")).map(|version| version.trim().to_owned())
}

fn number(json: &Value, pointer: &str) -> Option<String> {
    json.pointer(pointer)?.as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_that_is_too_old_is_named() {
        let of = |name: &str, version: &str| outdated(&BTreeMap::from([(name.to_owned(), version.to_owned())]));
        let supported =
            [("postgres", "15.18 (Debian 15.18-0+deb12u1)"), ("elasticsearch", "8.17.0, 9.1.0"), ("kafka", "1")];
        assert!(supported.iter().all(|(name, version)| of(name, version).is_none()));
        assert_eq!(of("postgres", "unknown"), None);
        let named = |name, version| of(name, version).unwrap().to_string();
        assert_eq!(named("postgres", "14.2"), "PostgreSQL 14.2: the oldest supported version is 15");
        assert_eq!(
            named("elasticsearch", "7.17.9, 8.1.0"),
            "Elasticsearch 7.17.9, 8.1.0: the oldest supported version is 8"
        );
    }

    #[tokio::test]
    async fn a_store_that_does_not_answer_is_left_out() {
        let (stores, names) = (Stores::local(1), Names::new("t").unwrap());
        let asked = Box::pin(versions(&stores, &names)).await;
        assert_eq!(asked, BTreeMap::new());
    }
}
