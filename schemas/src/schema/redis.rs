//! Redis: the search index of cached customers, on every master of the cache cluster, since an index covers one shard.
//! Each master's index has a name that hashes to it; a search asks all of them and merges the answers.
//! Eviction, persistence and memory belong to the nodes' own configuration: they are compared and never set.

mod node;
pub(crate) mod run;

use self::node::Node;
use crate::apply::{Applied, Outcome};
use crate::check::Drift;
use crate::error::SchemaError;
use crate::facts::{self, Facts};
use crate::names::Names;
use crate::store::Store;
use crate::stores::Stores;

/// The index, and the words of `FT.CREATE` after its name.
const INDEX: &str = "idx:customers";
const SEARCH: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/redis/search_customers.txt"));
const CACHE: &str = "Redis (cache)";
const STATE: &str = "Redis (state)";

fn search_words(names: &Names) -> Vec<String> {
    SEARCH.replace("${prefix}", &names.key("ctx:")).split_whitespace().map(str::to_owned).collect()
}

/// Applies the search index; see [`crate::apply::apply`].
pub(crate) async fn apply(stores: &Stores, names: &Names) -> Result<Vec<Applied>, SchemaError> {
    let index = names.key(INDEX);
    let expected = search_facts(names);
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
        master.create_index(&index, &search_words(names)).await?;
    }
    Ok(vec![Applied::new(Store::Redis, format!("search index {index}"), outcome)])
}

/// What `FT.INFO` should say: the prefix, and each field with its path and type.
fn search_facts(names: &Names) -> Facts {
    let words = search_words(names);
    let fields = words.iter().position(|word| word == "SCHEMA").map_or(&[][..], |at| &words[at + 1..]);
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
        let differing = facts::compare(Store::Redis, &search_facts(names), &found);
        let place = format!("search index {index} on {}", master.address());
        drift
            .extend(differing.into_iter().map(|found| Drift { object: format!("{place}: {}", found.object), ..found }));
        drift.extend(compare_config(&mut master, "allkeys-lru").await?);
    }
    for mut master in node::masters(STATE, &stores.redis.state).await? {
        drift.extend(compare_config(&mut master, "noeviction").await?);
    }
    Ok(drift)
}

/// Eviction as the cluster's purpose demands, memory stated, and both kinds of persistence on.
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
            let found = if found.is_empty() { "nothing".to_owned() } else { found };
            drift.push(Drift { store: Store::Redis, object, expected: expected.to_owned(), found });
        }
    }
    Ok(drift)
}

/// Deletes the namespace's index and keys on every master of both clusters.
pub(crate) async fn drop_namespace(stores: &Stores, names: &Names) -> Result<(), SchemaError> {
    for mut master in node::masters(CACHE, &stores.redis.cache).await? {
        for index in master.indices().await?.into_iter().filter(|index| index.starts_with(&names.key(""))) {
            master.drop_named(&index).await?;
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
        let facts = search_facts(&names);
        assert_eq!(facts["prefixes"], "t:ctx:");
        assert_eq!(facts["field tenant_id"], "$.tenant_id TAG");
        assert_eq!(facts["field company_name"], "$.company_name TEXT");
        assert_eq!(facts.len(), 6);
    }
}
