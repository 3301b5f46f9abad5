//! Redis: the search indexes of cached customers and recent communications, on every master of the cache cluster, since an index covers one shard.
//! Each master's index has a name that hashes to it; a search queries all of them and merges the results.
//! Eviction, persistence and memory limits belong to the nodes' configuration: they are compared and never set.

mod node;
pub(crate) mod run;

use self::node::Node;
use crate::error::SchemaError;
use crate::names::{Names, search_index};
use crate::schema::drift::{ABSENT, Drift};
use crate::schema::facts::{self, Facts};
use crate::schema::outcome::{AppliedObject, Outcome};
use crate::store::Store;
use crate::stores::Stores;

/// A search index: its name, the prefix of its keys, and the arguments of `FT.CREATE` after the name.
struct Index {
    name: &'static str,
    prefix: &'static str,
    arguments: &'static str,
}

const INDEXES: [Index; 2] = [
    Index {
        name: search_index::CUSTOMERS,
        prefix: "ctx:",
        arguments: include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/redis/search_customers.txt")),
    },
    Index {
        name: search_index::COMMUNICATIONS,
        prefix: "recent:",
        arguments: include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/redis/search_communications.txt")),
    },
];
const CACHE: &str = "Redis (cache)";
const STATE: &str = "Redis (state)";

impl Index {
    fn arguments(&self, names: &Names) -> Vec<String> {
        self.arguments.replace("${prefix}", &names.key(self.prefix)).split_whitespace().map(str::to_owned).collect()
    }

    /// The expected output of `FT.INFO`: the prefix, and each field with its path and type.
    fn facts(&self, names: &Names) -> Facts {
        let arguments = self.arguments(names);
        let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
        // A field is a path, AS, its name and its type; options may follow.
        let fields = words.windows(4).filter(|words| words[1] == "AS");
        let fields = fields.map(|words| (format!("field {}", words[2]), format!("{} {}", words[0], words[3])));
        fields.chain([("prefixes".to_owned(), names.key(self.prefix))]).collect()
    }
}

/// Applies the search indexes; see [`crate::apply::apply`].
pub(crate) async fn apply(stores: &Stores, names: &Names) -> Result<Vec<AppliedObject>, SchemaError> {
    let mut masters = node::masters(CACHE, &stores.redis.cache).await?;
    let mut applied = Vec::new();
    for index in &INDEXES {
        let outcome = apply_index(index, &mut masters, names).await?;
        applied.push(AppliedObject::new(Store::Redis, format!("search index {}", names.key(index.name)), outcome));
    }
    Ok(applied)
}

async fn apply_index(index: &Index, masters: &mut [Node], names: &Names) -> Result<Outcome, SchemaError> {
    let (name, expected) = (names.key(index.name), index.facts(names));
    let mut outcome = Outcome::Unchanged;
    for master in masters {
        match master.index(&name).await? {
            Some(found) if found == expected => continue,
            Some(_) => {
                master.drop_index(&name).await?;
                outcome = Outcome::Updated;
            }
            None if outcome == Outcome::Unchanged => outcome = Outcome::Created,
            None => {}
        }
        master.create_index(&name, &index.arguments(names)).await?;
    }
    Ok(outcome)
}

/// The full names of a search index, one for each master of the cache.
pub(crate) async fn index_names(stores: &Stores, names: &Names, index: &str) -> Result<Vec<String>, SchemaError> {
    let masters = node::masters(CACHE, &stores.redis.cache).await?;
    Ok(masters.iter().map(|master| master.index_name(&names.key(index))).collect())
}

/// Compares; see [`crate::check::check`].
pub(crate) async fn check(stores: &Stores, names: &Names) -> Result<Vec<Drift>, SchemaError> {
    let mut drift = Vec::new();
    for mut master in node::masters(CACHE, &stores.redis.cache).await? {
        for index in &INDEXES {
            let name = names.key(index.name);
            let found = master.index(&name).await?.unwrap_or_default();
            let differing = facts::compare(Store::Redis, &index.facts(names), &found);
            let object = format!("search index {name} on {}", master.address());
            drift.extend(
                differing.into_iter().map(|found| Drift { object: format!("{object}: {}", found.object), ..found }),
            );
        }
        drift.extend(compare_config(&mut master, "allkeys-lru").await?);
    }
    for mut master in node::masters(STATE, &stores.redis.state).await? {
        drift.extend(compare_config(&mut master, "noeviction").await?);
    }
    Ok(drift)
}

/// Requires the cluster's eviction policy, a memory limit, and both kinds of persistence.
async fn compare_config(master: &mut Node, eviction: &str) -> Result<Vec<Drift>, SchemaError> {
    let rules =
        [("maxmemory-policy", eviction), ("maxmemory", "a limit"), ("appendonly", "yes"), ("save", "a schedule")];
    let mut drift = Vec::new();
    for (setting, expected) in rules {
        let found = master.setting(setting).await?;
        let fits = match setting {
            "maxmemory" => found != "0",
            "save" => !found.is_empty(),
            _ => found == expected,
        };
        if !fits {
            let object = format!("{setting} of {}", master.address());
            let found = if found.is_empty() { ABSENT } else { &found };
            drift.push(Drift::new(Store::Redis, object, expected, found));
        }
    }
    Ok(drift)
}

/// Deletes the namespace's index and keys on every master of both clusters.
pub(crate) async fn drop_namespace(stores: &Stores, names: &Names) -> Result<(), SchemaError> {
    for mut master in node::masters(CACHE, &stores.redis.cache).await? {
        for index in master.indices().await?.into_iter().filter(|index| index.starts_with(&names.key(""))) {
            master.drop_index_by_full_name(&index).await?;
        }
        master.delete_keys(&names.key("")).await?;
    }
    for mut master in node::masters(STATE, &stores.redis.state).await? {
        master.delete_keys(&names.key("")).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_indexes_cover_the_namespaces_contexts_and_recent_communications() {
        let names = Names::new("t").unwrap();
        let [customers, communications] = INDEXES.map(|index| index.facts(&names));
        assert_eq!(customers["prefixes"], "t:ctx:");
        assert_eq!(customers["field tenant_id"], "$.tenant_id TAG");
        assert_eq!(customers["field company_name"], "$.company_name TEXT");
        assert_eq!(customers["field is_active"], "$.is_active TAG");
        assert_eq!(customers.len(), 9);
        assert_eq!(communications["prefixes"], "t:recent:");
        assert_eq!(communications["field body"], "$.body TEXT");
        assert_eq!(communications["field created_ms"], "$.created_ms NUMERIC");
        assert_eq!(communications.len(), 6);
    }
}
