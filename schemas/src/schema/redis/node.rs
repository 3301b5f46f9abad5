//! One master of a Redis cluster: its settings, its search indices and its keys.
//! It discovers the masters through any reachable node and never changes a setting.

use std::ops::RangeInclusive;

use redis::aio::MultiplexedConnection;
use redis::{Cmd, FromRedisValue, Value, cmd};

use crate::connect::{self, ConnectError};
use crate::error::{SchemaError, refused};
use crate::schema::facts::Facts;
use crate::store::Store;

/// Maximum number of keys that one SCAN visits and one pipeline of UNLINK deletes.
const PAGE: usize = 1_000;
/// Number of tags that are tried to find one in a master's slots.
const TAGS: u32 = 10_000;

/// A master.
pub(super) struct Node {
    address: String,
    /// A hash tag in one of this master's slots. The cluster routes a search command by the index's name, so a name
    /// with this tag in braces is routed here.
    tag: String,
    connection: MultiplexedConnection,
}

/// The masters of the cluster of `nodes`.
pub(super) async fn masters(cluster: &'static str, nodes: &[String]) -> Result<Vec<Node>, SchemaError> {
    let mut any = first_reachable(cluster, nodes).await?;
    let listed: String = any.query(cmd("CLUSTER").arg("NODES"), "list the nodes").await?;
    let mut masters = Vec::new();
    for (address, slots) in listed_masters(&listed) {
        // Scheme and credentials come from the settings, host and port from the cluster.
        let url = with_address(nodes.first().map_or("", String::as_str), &address);
        let connection = connect::redis_node(cluster, &url).await?;
        let mut master = Node { address, tag: String::new(), connection };
        master.tag = master.find_tag(&slots).await?;
        masters.push(master);
    }
    Ok(masters)
}

async fn first_reachable(cluster: &'static str, nodes: &[String]) -> Result<Node, ConnectError> {
    let mut failure = None;
    for url in nodes {
        match connect::redis_node(cluster, url).await {
            Ok(connection) => return Ok(Node { address: url.clone(), tag: String::new(), connection }),
            Err(error) => failure = Some(error),
        }
    }
    Err(failure.unwrap_or_else(|| {
        ConnectError::because(cluster, "redis", "no address".to_owned(), "the settings list no node".to_owned())
    }))
}

/// `host:port` and slots of each healthy master, from the output of `CLUSTER NODES`.
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

/// `5` or `5-9`; a migrating slot is in brackets and is ignored.
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
    pub(super) fn index_name(&self, index: &str) -> String {
        format!("{index}:{{{}}}", self.tag)
    }

    async fn find_tag(&mut self, slots: &[RangeInclusive<u16>]) -> Result<String, SchemaError> {
        for tag in (0..TAGS).map(|number| number.to_string()) {
            let slot: u16 = self.query(cmd("CLUSTER").arg("KEYSLOT").arg(&tag), "find a hash tag").await?;
            if slots.iter().any(|range| range.contains(&slot)) {
                return Ok(tag);
            }
        }
        Err(refused(Store::Redis, format!("find a hash tag on {}", self.address))("the node holds too few slots"))
    }

    async fn query<T: FromRedisValue>(&mut self, command: &Cmd, doing: &str) -> Result<T, SchemaError> {
        let result = command.query_async(&mut self.connection).await;
        result.map_err(|error| refused(Store::Redis, format!("{doing} on {}", self.address))(error))
    }

    /// A setting of the node.
    pub(super) async fn setting(&mut self, name: &str) -> Result<String, SchemaError> {
        let pairs: Vec<String> = self.query(cmd("CONFIG").arg("GET").arg(name), "read a setting").await?;
        Ok(pairs.into_iter().nth(1).unwrap_or_default())
    }

    /// Prefix and fields of a search index; `None` if it does not exist.
    pub(super) async fn index(&mut self, index: &str) -> Result<Option<Facts>, SchemaError> {
        let index = self.index_name(index);
        if !self.indices().await?.contains(&index) {
            return Ok(None);
        }
        let info: Value = self.query(cmd("FT.INFO").arg(index), "read a search index").await?;
        Ok(Some(index_facts(&info)))
    }

    /// Names of all search indices of this master.
    pub(super) async fn indices(&mut self) -> Result<Vec<String>, SchemaError> {
        self.query(&cmd("FT._LIST"), "list the search indices").await
    }

    pub(super) async fn create_index(&mut self, index: &str, arguments: &[String]) -> Result<(), SchemaError> {
        self.query(cmd("FT.CREATE").arg(self.index_name(index)).arg(arguments), "create a search index").await
    }

    pub(super) async fn drop_index(&mut self, index: &str) -> Result<(), SchemaError> {
        self.drop_index_by_full_name(&self.index_name(index)).await
    }

    /// Drops an index by its full name, tag included.
    pub(super) async fn drop_index_by_full_name(&mut self, index: &str) -> Result<(), SchemaError> {
        self.query(cmd("FT.DROPINDEX").arg(index), "drop a search index").await
    }

    /// The next cursor and one page of the keys that start with `prefix`; cursor 0 means that this was the last page.
    pub(super) async fn keys(&mut self, prefix: &str, cursor: u64) -> Result<(u64, Vec<Vec<u8>>), SchemaError> {
        let mut scan = cmd("SCAN");
        scan.arg(cursor).arg("MATCH").arg(format!("{prefix}*")).arg("COUNT").arg(PAGE);
        self.query(&scan, "list keys").await
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

    /// One command cannot have keys of several slots, so each key has its own command, all in one pipeline.
    async fn unlink(&mut self, keys: &[Vec<u8>]) -> Result<(), SchemaError> {
        let mut pipeline = redis::pipe();
        for key in keys {
            pipeline.cmd("UNLINK").arg(key).ignore();
        }
        let result: Result<(), _> = pipeline.query_async(&mut self.connection).await;
        result.map_err(|error| refused(Store::Redis, format!("delete keys on {}", self.address))(error))
    }
}

/// Parses the output of `FT.INFO`: a list of alternating names and values, nested the same way.
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
