//! Kafka in a run's namespace. The marker is a topic whose name ends with the mark, and its records are the inventory:
//! a topic is recorded before it is created and again afterwards; a group is recorded before the run begins. Deletes
//! only what the inventory lists. A topic of which only the intent is recorded is deleted only if it is empty: another
//! program may have created it after the run was killed.

mod inventory;

use std::collections::{BTreeMap, BTreeSet};

use self::inventory::{EntryState, Inventory};
use super::cluster::Cluster;
use super::topic::{Topic, topics};
use crate::error::SchemaError;
use crate::names::{Mark, Names};
use crate::stores::Stores;

/// Prefix of the marker's name, before the mark.
const MARKER: &str = "sluice-run.";

fn topic_entry(topic: &str) -> String {
    format!("topic {topic}")
}

fn group_entry(group: &str) -> String {
    format!("group {group}")
}

/// The marker's topic; `None` if the names have no mark.
fn marker(names: &Names) -> Option<String> {
    names.mark().map(|mark| names.topic(&format!("{MARKER}{}", mark.as_str())))
}

/// The marks of all marker topics of the namespace.
pub(crate) async fn marks(stores: &Stores, names: &Names) -> Result<BTreeSet<Mark>, SchemaError> {
    let prefix = names.topic(MARKER);
    let topics = Cluster::connect(stores).await?.topics_with(&prefix).await?;
    Ok(topics.iter().filter_map(|topic| Mark::parse(topic.strip_prefix(&prefix)?)).collect())
}

/// Foreign objects that make this namespace unusable for a run: without the marker every topic and group, with it those
/// that occupy a name that the run needs and are not in the inventory.
pub(crate) async fn foreign(
    stores: &Stores,
    names: &Names,
    is_marked: bool,
    groups: &[String],
) -> Result<Vec<String>, SchemaError> {
    let cluster = Cluster::connect(stores).await?;
    let prefix = names.topic("");
    let topics_found = cluster.topics_with(&prefix).await?.into_iter().map(|topic| topic_entry(&topic));
    let existing: Vec<String> =
        topics_found.chain(cluster.groups_with(&prefix).await?.iter().map(|group| group_entry(group))).collect();
    if !is_marked {
        return Ok(existing);
    }
    let inventory = read(stores, names).await?;
    let needed: BTreeSet<String> = topics(names)?
        .iter()
        .map(|topic| topic_entry(&topic.name))
        .chain(groups.iter().map(|group| group_entry(group)))
        .collect();
    let mut foreign: Vec<String> =
        existing.into_iter().filter(|entry| needed.contains(entry) && !inventory.contains_key(entry)).collect();
    for topic in unconfirmed(&inventory) {
        if cluster.holds_records(topic).await? {
            foreign.push(format!("{} with records, which no run is known to have created", topic_entry(topic)));
        }
    }
    Ok(foreign)
}

/// Topics of which only the intent is recorded.
fn unconfirmed(inventory: &BTreeMap<String, EntryState>) -> impl Iterator<Item = &str> {
    let intended = inventory.iter().filter(|(_, state)| **state == EntryState::Intended);
    intended.filter_map(|(entry, _)| entry.strip_prefix("topic "))
}

async fn read(stores: &Stores, names: &Names) -> Result<BTreeMap<String, EntryState>, SchemaError> {
    match marker(names) {
        Some(topic) => Inventory::new(stores, &topic).read().await,
        None => Ok(BTreeMap::new()),
    }
}

/// Creates the marker's topic; its name alone is the marker.
pub(crate) async fn create_marker(stores: &Stores, names: &Names) -> Result<(), SchemaError> {
    let Some(topic) = marker(names) else { return Ok(()) };
    let cluster = Cluster::connect(stores).await?;
    if cluster.state(&topic).await?.is_some() {
        return Ok(());
    }
    let config = BTreeMap::from([("cleanup.policy", "delete".to_owned()), ("retention.ms", "-1".to_owned())]);
    cluster.create(&Topic::marker(topic), &config).await
}

/// Records the groups that the run will create.
pub(crate) async fn record_groups(stores: &Stores, names: &Names, groups: &[String]) -> Result<(), SchemaError> {
    let entries: Vec<String> = groups.iter().map(|group| group_entry(group)).collect();
    record(stores, names, &entries, Some(EntryState::Created)).await
}

/// Records topics that are about to be created. Does nothing if the names have no mark.
pub(super) async fn record_intended(stores: &Stores, names: &Names, topics: &[String]) -> Result<(), SchemaError> {
    record_topics(stores, names, topics, EntryState::Intended).await
}

/// Records topics that were created. Does nothing if the names have no mark.
pub(super) async fn record_created(stores: &Stores, names: &Names, topics: &[String]) -> Result<(), SchemaError> {
    record_topics(stores, names, topics, EntryState::Created).await
}

async fn record_topics(
    stores: &Stores,
    names: &Names,
    topics: &[String],
    state: EntryState,
) -> Result<(), SchemaError> {
    let entries: Vec<String> = topics.iter().map(|topic| topic_entry(topic)).collect();
    record(stores, names, &entries, Some(state)).await
}

async fn record(
    stores: &Stores,
    names: &Names,
    entries: &[String],
    state: Option<EntryState>,
) -> Result<(), SchemaError> {
    match marker(names) {
        Some(topic) => Inventory::new(stores, &topic).write(entries, state).await,
        None => Ok(()),
    }
}

/// Deletes the topics and groups of the inventory, then removes them from it.
pub(crate) async fn clear(stores: &Stores, names: &Names) -> Result<(), SchemaError> {
    let inventory = read(stores, names).await?;
    let cluster = Cluster::connect(stores).await?;
    let entries =
        |kind: &str| inventory.keys().filter_map(|entry| entry.strip_prefix(kind).map(str::to_owned)).collect();
    let (topics, groups): (Vec<String>, Vec<String>) = (entries("topic "), entries("group "));
    cluster.delete_topics(&topics).await?;
    cluster.delete_groups(&groups).await?;
    let deleted: Vec<String> = inventory.into_keys().collect();
    record(stores, names, &deleted, None).await
}
