//! One master of a Redis cluster: its settings, its search indices and its keys.
//! Finds the masters through any node that answers.

use std::ops::RangeInclusive;

use redis::aio::MultiplexedConnection;
use redis::{Cmd, FromRedisValue, Value, cmd};

use crate::connect::{self, ConnectError};
use crate::error::{SchemaError, refused};
use crate::facts::Facts;
use crate::store::Store;

/// Keys that one SCAN looks at, and one UNLINK deletes, at most.
const PAGE: usize = 1_000;
/// How many tags are tried until one falls into a master's slots.
const TAGS: u32 = 10_000;

/// A master.
pub(super) struct Node {
    address: String,
    /// A short text whose hash slot this master holds. A command goes to the master of its key's slot, and the key of a
    /// search command is the index's name, so with this in braces the name belongs here.
    tag: String,
    connection: MultiplexedConnection,
}

/// The masters of the cluster that `nodes` belong to.
pub(super) async fn masters(cluster: &'static str, nodes: &[String]) -> Result<Vec<Node>, SchemaError> {
    let mut any = first_that_answers(cluster, nodes).await?;
    let listed: String = any.ask(cmd("CLUSTER").arg("NODES"), "list the nodes").await?;
    let mut masters = Vec::new();
    for (address, slots) in listed_masters(&listed) {
        // The scheme and credentials are those of the settings; only host and port come from the cluster.
        let url = with_address(nodes.first().map_or("", String::as_str), &address);
        let connection = connect::redis_node(cluster, &url).await?;
        let mut master = Node { address, tag: String::new(), connection };
        master.tag = master.find_tag(&slots).await?;
        masters.push(master);
    }
    Ok(masters)
}

async fn first_that_answers(cluster: &'static str, nodes: &[String]) -> Result<Node, ConnectError> {
    let mut failure = None;
    for url in nodes {
        match connect::redis_node(cluster, url).await {
            Ok(connection) => return Ok(Node { address: url.clone(), tag: String::new(), connection }),
            Err(error) => failure = Some(error),
        }
    }
    Err(failure.unwrap_or_else(|| ConnectError {
        store: cluster,
        section: "redis",
        address: "nowhere".to_owned(),
        cause: "no node is named".to_owned(),
    }))
}

/// `host:port` and slots of each healthy master, from the answer to `CLUSTER NODES`.
fn listed_masters(listed: &str) -> Vec<(String, Vec<RangeInclusive<u16>>)> {
    let masters = listed.lines().filter_map(|line| {
        let words: Vec<_> = line.split(' ').collect();
        let flags = words.get(2)?;
        let healthy = flags.split(',').any(|flag| flag == "master") && !flags.contains("fail");
        let slots: Vec<_> = words.get(8..)?.iter().filter_map(|range| slot_range(range)).collect();
        let address = words.get(1)?.split('@').next()?.to_owned();
        (healthy && !slots.is_empty()).then_some((address, slots))
    });
    let mut masters: Vec<_> = masters.collect();
    masters.sort_by(|(one, _), (other, _)| one.cmp(other));
    masters
}

/// `5` or `5-9`; a slot on its way to another node stands in brackets and is left out.
fn slot_range(text: &str) -> Option<RangeInclusive<u16>> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    Some(first.parse().ok()?..=last.parse().ok()?)
}

/// The same URL with another host and port.
fn with_address(url: &str, address: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("redis", url));
    let login = rest.rsplit_once('@').map_or(String::new(), |(login, _)| format!("{login}@"));
    format!("{scheme}://{login}{address}")
}

impl Node {
    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// The index's name on this master.
    pub(super) fn own(&self, index: &str) -> String {
        format!("{index}:{{{}}}", self.tag)
    }

    async fn find_tag(&mut self, slots: &[RangeInclusive<u16>]) -> Result<String, SchemaError> {
        for tag in (0..TAGS).map(|number| number.to_string()) {
            let slot: u16 = self.ask(cmd("CLUSTER").arg("KEYSLOT").arg(&tag), "find a hash tag").await?;
            if slots.iter().any(|range| range.contains(&slot)) {
                return Ok(tag);
            }
        }
        Err(refused(Store::Redis, format!("find a hash tag on {}", self.address))("the node holds too few slots"))
    }

    async fn ask<T: FromRedisValue>(&mut self, command: &Cmd, doing: &str) -> Result<T, SchemaError> {
        let answer = command.query_async(&mut self.connection).await;
        answer.map_err(|error| refused(Store::Redis, format!("{doing} on {}", self.address))(error))
    }

    /// A setting of the node.
    pub(super) async fn setting(&mut self, name: &str) -> Result<String, SchemaError> {
        let pairs: Vec<String> = self.ask(cmd("CONFIG").arg("GET").arg(name), "read a setting").await?;
        Ok(pairs.into_iter().nth(1).unwrap_or_default())
    }

    /// Prefix and fields of a search index; `None` where there is none.
    pub(super) async fn index(&mut self, index: &str) -> Result<Option<Facts>, SchemaError> {
        let index = self.own(index);
        if !self.indices().await?.contains(&index) {
            return Ok(None);
        }
        let info: Value = self.ask(cmd("FT.INFO").arg(index), "read a search index").await?;
        Ok(Some(index_facts(&info)))
    }

    /// Names of all search indices of this master.
    pub(super) async fn indices(&mut self) -> Result<Vec<String>, SchemaError> {
        self.ask(&cmd("FT._LIST"), "list the search indices").await
    }

    pub(super) async fn create_index(&mut self, index: &str, words: &[String]) -> Result<(), SchemaError> {
        self.ask(cmd("FT.CREATE").arg(self.own(index)).arg(words), "create a search index").await
    }

    pub(super) async fn drop_index(&mut self, index: &str) -> Result<(), SchemaError> {
        self.drop_named(&self.own(index)).await
    }

    /// Drops an index by the whole of its name.
    pub(super) async fn drop_named(&mut self, index: &str) -> Result<(), SchemaError> {
        self.ask(cmd("FT.DROPINDEX").arg(index), "drop a search index").await
    }

    /// One page of the keys that start with `prefix`, and where the next begins; 0 when this was the last.
    pub(super) async fn keys(&mut self, prefix: &str, cursor: u64) -> Result<(u64, Vec<Vec<u8>>), SchemaError> {
        let mut scan = cmd("SCAN");
        scan.arg(cursor).arg("MATCH").arg(format!("{prefix}*")).arg("COUNT").arg(PAGE);
        self.ask(&scan, "list keys").await
    }

    /// Deletes every key that starts with `prefix`.
    pub(super) async fn delete_keys(&mut self, prefix: &str) -> Result<(), SchemaError> {
        let mut cursor = 0_u64;
        loop {
            let (next, keys) = self.keys(prefix, cursor).await?;
            if !keys.is_empty() {
                self.unlink(&keys).await?;
            }
            if next == 0 {
                return Ok(());
            }
            cursor = next;
        }
    }

    /// Keys of several slots may not share a command, so each has its own, all in one pipeline.
    async fn unlink(&mut self, keys: &[Vec<u8>]) -> Result<(), SchemaError> {
        let mut pipeline = redis::pipe();
        for key in keys {
            pipeline.cmd("UNLINK").arg(key).ignore();
        }
        let done: Result<(), _> = pipeline.query_async(&mut self.connection).await;
        done.map_err(|error| refused(Store::Redis, format!("delete keys on {}", self.address))(error))
    }
}

/// Reads the answer to `FT.INFO`, a list of names and values that are lists themselves.
fn index_facts(info: &Value) -> Facts {
    let mut facts = Facts::new();
    if let Some(definition) = named(info, "index_definition") {
        let prefixes = named(definition, "prefixes").map(items).unwrap_or_default();
        facts.insert("prefixes".to_owned(), prefixes.iter().map(text).collect::<Vec<_>>().join(" "));
    }
    for field in named(info, "attributes").map(items).unwrap_or_default() {
        let part = |name| named(field, name).map(text).unwrap_or_default();
        facts.insert(format!("field {}", part("attribute")), format!("{} {}", part("identifier"), part("type")));
    }
    facts
}

fn items(value: &Value) -> &[Value] {
    match value {
        Value::Array(items) => items,
        _ => &[],
    }
}

fn named<'a>(list: &'a Value, name: &str) -> Option<&'a Value> {
    items(list).windows(2).step_by(2).find(|pair| text(&pair[0]) == name).map(|pair| &pair[1])
}

fn text(value: &Value) -> String {
    String::from_redis_value_ref(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_healthy_masters_with_slots_count() {
        let listed = "a 127.0.0.1:7000@17000 myself,master - 0 1 1 connected 0-5460\n\
                      b 127.0.0.1:7001@17001 master - 0 1 2 connected 5461-10920 10922 [10921->-x]\n\
                      c 127.0.0.1:7002@17002 master,fail - 0 1 3 connected 10923-16383\n\
                      d 127.0.0.1:7003@17003 slave a 0 1 1 connected\n\
                      e 127.0.0.1:7004@17004 master - 0 1 4 connected\n";
        let found = listed_masters(listed);
        assert_eq!(found[0], ("127.0.0.1:7000".to_owned(), vec![0..=5460]));
        assert_eq!(found[1], ("127.0.0.1:7001".to_owned(), vec![5461..=10920, 10922..=10922]));
        assert_eq!(found.len(), 2);
    }

    #[test]
    fn a_masters_url_keeps_the_settings_scheme_and_login() {
        assert_eq!(with_address("rediss://u:p@h:1", "k:2"), "rediss://u:p@k:2");
        assert_eq!(with_address("redis://h:1", "k:2"), "redis://k:2");
    }
}
