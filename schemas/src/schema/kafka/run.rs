//! Kafka in a run's namespace. The marker is a topic whose name ends with the mark, and its records are the inventory: a
//! topic is written down before it is made and again when it is there; a group is written down before the run begins.
//! Deletes what the inventory names and nothing else, and a topic of which only the intent is written down only if it is
//! empty: somebody else may have made it after the run was killed.

mod inventory;

use std::collections::{BTreeMap, BTreeSet};

use self::inventory::Inventory;
pub(super) use self::inventory::State;
use super::cluster::Cluster;
use super::{Topic, topics};
use crate::error::SchemaError;
use crate::names::{Mark, Names};
use crate::stores::Stores;

/// The marker's topic, before the mark.
const MARKER: &str = "sluice-run.";

fn topic_entry(topic: &str) -> String {
    format!("topic {topic}")
}

fn group_entry(group: &str) -> String {
    format!("group {group}")
}

/// The marker's topic; `None` where the names are not a run's.
fn marker(names: &Names) -> Option<String> {
    names.mark().map(|mark| names.topic(&format!("{MARKER}{}", mark.as_str())))
}

/// The marks of all marker topics of the namespace.
pub(crate) async fn marks(stores: &Stores, names: &Names) -> Result<BTreeSet<Mark>, SchemaError> {
    let prefix = names.topic(MARKER);
    let topics = Cluster::connect(stores).await?.topics_with(&prefix).await?;
    Ok(topics.iter().filter_map(|topic| Mark::parse(topic.strip_prefix(&prefix)?)).collect())
}

/// What stands in the way of a run: without the marker every topic and group of the namespace, with it those under a name
/// that the run needs and that is not in the inventory.
pub(crate) async fn foreign(
    stores: &Stores,
    names: &Names,
    is_marked: bool,
    groups: &[String],
) -> Result<Vec<String>, SchemaError> {
    let cluster = Cluster::connect(stores).await?;
    let prefix = names.topic("");
    let there = cluster.topics_with(&prefix).await?.into_iter().map(|topic| topic_entry(&topic));
    let there: Vec<String> =
        there.chain(cluster.groups_with(&prefix).await?.iter().map(|group| group_entry(group))).collect();
    if !is_marked {
        return Ok(there);
    }
    let inventory = read(stores, names).await?;
    let needed: BTreeSet<String> = topics(names)?
        .iter()
        .map(|topic| topic_entry(&topic.name))
        .chain(groups.iter().map(|group| group_entry(group)))
        .collect();
    let mut foreign: Vec<String> =
        there.into_iter().filter(|entry| needed.contains(entry) && !inventory.contains_key(entry)).collect();
    for topic in unconfirmed(&inventory) {
        if cluster.holds_records(topic).await? {
            foreign.push(format!("{} with records, which no run is known to have made", topic_entry(topic)));
        }
    }
    Ok(foreign)
}

/// Topics of which only the intent is written down.
fn unconfirmed(inventory: &BTreeMap<String, State>) -> impl Iterator<Item = &str> {
    let intended = inventory.iter().filter(|(_, state)| **state == State::Intended);
    intended.filter_map(|(entry, _)| entry.strip_prefix("topic "))
}

async fn read(stores: &Stores, names: &Names) -> Result<BTreeMap<String, State>, SchemaError> {
    match marker(names) {
        Some(topic) => Inventory::new(stores, &topic).read().await,
        None => Ok(BTreeMap::new()),
    }
}

/// Makes the marker's topic; its name is all that a marker has to say.
pub(crate) async fn make_marker(stores: &Stores, names: &Names) -> Result<(), SchemaError> {
    let Some(topic) = marker(names) else { return Ok(()) };
    let cluster = Cluster::connect(stores).await?;
    if cluster.state(&topic).await?.is_some() {
        return Ok(());
    }
    let config = BTreeMap::from([("cleanup.policy", "delete".to_owned()), ("retention.ms", "-1".to_owned())]);
    cluster.create(&Topic::marker(topic), &config).await
}

/// Writes down the groups that the run will make.
pub(crate) async fn expect_groups(stores: &Stores, names: &Names, groups: &[String]) -> Result<(), SchemaError> {
    let entries: Vec<String> = groups.iter().map(|group| group_entry(group)).collect();
    note(stores, names, &entries, Some(State::Made)).await
}

/// Writes down what becomes of topics. Does nothing where the names are not a run's.
pub(super) async fn note_topics(
    stores: &Stores,
    names: &Names,
    topics: &[String],
    state: State,
) -> Result<(), SchemaError> {
    let entries: Vec<String> = topics.iter().map(|topic| topic_entry(topic)).collect();
    note(stores, names, &entries, Some(state)).await
}

async fn note(stores: &Stores, names: &Names, entries: &[String], state: Option<State>) -> Result<(), SchemaError> {
    match marker(names) {
        Some(topic) => Inventory::new(stores, &topic).write(entries, state).await,
        None => Ok(()),
    }
}

/// Deletes the topics and groups of the inventory and then takes them out of it.
pub(crate) async fn clear(stores: &Stores, names: &Names) -> Result<(), SchemaError> {
    let inventory = read(stores, names).await?;
    let cluster = Cluster::connect(stores).await?;
    let entries =
        |kind: &str| inventory.keys().filter_map(|entry| entry.strip_prefix(kind).map(str::to_owned)).collect();
    let (topics, groups): (Vec<String>, Vec<String>) = (entries("topic "), entries("group "));
    cluster.delete_topics(&topics).await?;
    cluster.delete_groups(&groups).await?;
    let gone: Vec<String> = inventory.into_keys().collect();
    note(stores, names, &gone, None).await
}
