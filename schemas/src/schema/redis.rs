//! Redis: the search index of cached customers, on every master of the cache cluster, since an index covers one shard.
//! Each master's index has a name that hashes to it; a search queries all of them and merges the results.
//! Eviction, persistence and memory limits belong to the nodes' configuration: they are compared and never set.

mod node;
pub(crate) mod run;

use self::node::Node;
use crate::error::SchemaError;
use crate::names::Names;
use crate::schema::drift::{ABSENT, Drift};
use crate::schema::facts::{self, Facts};
use crate::schema::outcome::{AppliedObject, Outcome};
use crate::store::Store;
use crate::stores::Stores;

/// Name of the index, and the arguments of `FT.CREATE` after it.
const INDEX: &str = "idx:customers";
const SEARCH: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/redis/search_customers.txt"));
const CACHE: &str = "Redis (cache)";
const STATE: &str = "Redis (state)";

fn index_arguments(names: &Names) -> Vec<String> {
    SEARCH.replace("${prefix}", &names.key("ctx:")).split_whitespace().map(str::to_owned).collect()
}

/// Applies the search index; see [`crate::apply::apply`].
pub(crate) async fn apply(stores: &Stores, names: &Names) -> Result<Vec<AppliedObject>, SchemaError> {
    let index = names.key(INDEX);
    let expected = index_facts(names);
    let mut outcome = Outcome::Unchanged;
    for mut master in node::masters(CACHE, &stores.redis.cache).await? {
        match master.index(&index).await? {
            Some(found) if found == expected => continue,
            Some(_) => {
                master.drop_index(&index).await?;
                outcome = Outcome::Updated;
            }
            None if outcome == Outcome::Unchanged => outcome = Outcome::Created,
            None => {}
        }
        master.create_index(&index, &index_arguments(names)).await?;
    }
    Ok(vec![AppliedObject::new(Store::Redis, format!("search index {index}"), outcome)])
}

/// The expected output of `FT.INFO`: the prefix, and each field with its path and type.
fn index_facts(names: &Names) -> Facts {
    let arguments = index_arguments(names);
    let schema = arguments.iter().position(|argument| argument == "SCHEMA");
    let fields = schema.map_or(&[][..], |at| &arguments[at + 1..]);
    let fields =
        fields.chunks_exact(4).map(|field| (format!("field {}", field[2]), format!("{} {}", field[0], field[3])));
    fields.chain([("prefixes".to_owned(), names.key("ctx:"))]).collect()
}

/// Compares; see [`crate::check::check`].
pub(crate) async fn check(stores: &Stores, names: &Names) -> Result<Vec<Drift>, SchemaError> {
    let index = names.key(INDEX);
    let mut drift = Vec::new();
    for mut master in node::masters(CACHE, &stores.redis.cache).await? {
        let found = master.index(&index).await?.unwrap_or_default();
        let differing = facts::compare(Store::Redis, &index_facts(names), &found);
        let object = format!("search index {index} on {}", master.address());
        drift.extend(
            differing.into_iter().map(|found| Drift { object: format!("{object}: {}", found.object), ..found }),
        );
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
    fn the_index_covers_the_namespaces_contexts() {
        let names = Names::new("t").unwrap();
        let facts = index_facts(&names);
        assert_eq!(facts["prefixes"], "t:ctx:");
        assert_eq!(facts["field tenant_id"], "$.tenant_id TAG");
        assert_eq!(facts["field company_name"], "$.company_name TEXT");
        assert_eq!(facts.len(), 6);
    }
}
