//! Namespaces of runs: settings, names and the names of groups go in; the namespace comes out, emptied of what earlier
//! runs made in it and ready for [`crate::apply`]. Each store holds a marker that says the namespace was made for runs.
//! Nothing is dropped where the marker is missing, and nothing is dropped that does not carry the mark of the namespace.

use std::collections::BTreeSet;

use futures::future::join_all;

use crate::error::{SchemaError, in_time};
use crate::lock;
use crate::names::{Mark, Names};
use crate::schema;
use crate::store::Store;
use crate::stores::Stores;

/// How many objects of somebody else's a message names.
const SHOWN: usize = 5;

/// What keeps a run out of a namespace, store by store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Foreign {
    /// The store.
    pub store: Store,
    /// Whether the store has the namespace's marker.
    pub is_marked: bool,
    /// Objects that no run made.
    pub objects: Vec<String>,
}

impl std::fmt::Display for Foreign {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let lack = if self.is_marked { "" } else { " has no marker of a run, but " };
        let verb = if self.is_marked { " has, under names that a run needs, " } else { "" };
        let shown = self.objects.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
        let more = self.objects.len().saturating_sub(SHOWN);
        let more = if more == 0 { String::new() } else { format!(" and {more} more") };
        write!(f, "{}{lack}{verb}{shown}{more}", self.store)
    }
}

/// Takes the namespace for a run: it is looked at in every store first, then marked where it is new, then emptied of
/// exactly what earlier runs made in it. `groups` are the consumer groups that the run will make.
///
/// # Errors
/// [`SchemaError::NotARuns`] where a store holds the namespace without the marker, or an object of somebody else's under
/// a name that the run needs. Nothing was changed then.
pub async fn renew(stores: &Stores, names: &Names, which: &[Store], groups: &[String]) -> Result<Names, SchemaError> {
    if names.namespace().is_empty() {
        return Err(SchemaError::OwnNamespace);
    }
    let held = lock::acquire(stores, names, which).await?;
    let renewed = renew_locked(stores, names, which, groups).await;
    held.release().await;
    renewed
}

async fn renew_locked(
    stores: &Stores,
    names: &Names,
    which: &[Store],
    groups: &[String],
) -> Result<Names, SchemaError> {
    let marks = marks(stores, names, which).await?;
    let mark = the_one(names, &marks)?.unwrap_or_else(Mark::new);
    let names = names.marked(mark);
    let foreign =
        join_all(marks.iter().map(|(store, marks)| foreign(stores, &names, *store, !marks.is_empty(), groups)));
    let foreign: Vec<Option<Foreign>> = foreign.await.into_iter().collect::<Result<_, _>>()?;
    let foreign: Vec<Foreign> = foreign.into_iter().flatten().collect();
    if !foreign.is_empty() {
        return Err(SchemaError::NotARuns { namespace: names.namespace().to_owned(), foreign });
    }
    let made = join_all(which.iter().map(|store| make_marker(stores, &names, *store))).await;
    made.into_iter().collect::<Result<(), _>>()?;
    clear(stores, &names, which).await?;
    if which.contains(&Store::Kafka) {
        schema::kafka::run::expect_groups(stores, &names, groups).await?;
    }
    Ok(names)
}

/// PostgreSQL first: it alone can refuse at this point, where an object of somebody else's depends on one of ours.
async fn clear(stores: &Stores, names: &Names, which: &[Store]) -> Result<(), SchemaError> {
    let (first, others): (Vec<Store>, Vec<Store>) = which.iter().partition(|store| **store == Store::Postgres);
    for some in [first, others] {
        let cleared = join_all(some.iter().map(|store| clear_in(stores, names, *store))).await;
        cleared.into_iter().collect::<Result<(), _>>()?;
    }
    Ok(())
}

/// The names in force: those of a run where the chosen stores say that the namespace was made for runs.
pub async fn names(stores: &Stores, names: &Names, which: &[Store]) -> Result<Names, SchemaError> {
    if names.namespace().is_empty() {
        return Ok(names.clone());
    }
    let mark = the_one(names, &marks(stores, names, which).await?)?;
    Ok(mark.map_or_else(|| names.clone(), |mark| names.marked(mark)))
}

async fn marks(stores: &Stores, names: &Names, which: &[Store]) -> Result<Vec<(Store, BTreeSet<Mark>)>, SchemaError> {
    let read = join_all(which.iter().map(|store| async move {
        let marks = in_time(*store, "look for the marker of a run", Box::pin(marks_in(stores, names, *store))).await?;
        Ok((*store, marks))
    }));
    read.await.into_iter().collect()
}

/// The mark that all stores agree on; a store without one has no say.
fn the_one(names: &Names, marks: &[(Store, BTreeSet<Mark>)]) -> Result<Option<Mark>, SchemaError> {
    let all: BTreeSet<&Mark> = marks.iter().flat_map(|(_, marks)| marks).collect();
    if all.len() > 1 {
        let said =
            marks.iter().flat_map(|(store, marks)| marks.iter().map(move |mark| format!("{store} {}", mark.as_str())));
        let marks = said.collect::<Vec<_>>().join(", ");
        return Err(SchemaError::MarkersDiffer { namespace: names.namespace().to_owned(), marks });
    }
    Ok(all.into_iter().next().cloned())
}

async fn marks_in(stores: &Stores, names: &Names, which: Store) -> Result<BTreeSet<Mark>, SchemaError> {
    match which {
        Store::Postgres => schema::postgres::run::marks(stores, names).await,
        Store::Kafka => schema::kafka::run::marks(stores, names).await,
        Store::ClickHouse => schema::clickhouse::run::marks(stores, names).await,
        Store::Elasticsearch => schema::elasticsearch::run::marks(stores, names).await,
        Store::Redis => schema::redis::run::marks(stores, names).await,
        Store::S3 => schema::s3::run::marks(stores, names).await,
    }
}

/// What is in the way of a run: in an unmarked store everything under the namespace, in a marked one what stands under a
/// name that the run needs and does not carry the mark.
async fn foreign(
    stores: &Stores,
    names: &Names,
    which: Store,
    is_marked: bool,
    groups: &[String],
) -> Result<Option<Foreign>, SchemaError> {
    let objects = async {
        match which {
            Store::Postgres => schema::postgres::run::foreign(stores, names).await,
            Store::Kafka => schema::kafka::run::foreign(stores, names, is_marked, groups).await,
            Store::ClickHouse => schema::clickhouse::run::foreign(stores, names).await,
            // Their names carry the mark, so that nothing of anybody else's can be in the way.
            Store::Elasticsearch | Store::Redis | Store::S3 if is_marked => Ok(Vec::new()),
            Store::Elasticsearch => schema::elasticsearch::run::foreign(stores, names).await,
            Store::Redis => schema::redis::run::foreign(stores, names).await,
            Store::S3 => schema::s3::run::foreign(stores, names).await,
        }
    };
    let objects = in_time(which, "look for objects of somebody else's", Box::pin(objects)).await?;
    Ok((!objects.is_empty()).then_some(Foreign { store: which, is_marked, objects }))
}

async fn make_marker(stores: &Stores, names: &Names, which: Store) -> Result<(), SchemaError> {
    let making = async {
        match which {
            Store::Postgres => schema::postgres::run::make_marker(stores, names).await,
            Store::Kafka => schema::kafka::run::make_marker(stores, names).await,
            Store::ClickHouse => schema::clickhouse::run::make_marker(stores, names).await,
            Store::Elasticsearch => schema::elasticsearch::run::make_marker(stores, names).await,
            Store::Redis => schema::redis::run::make_marker(stores, names).await,
            Store::S3 => schema::s3::run::make_marker(stores, names).await,
        }
    };
    in_time(which, "mark the namespace", Box::pin(making)).await
}

async fn clear_in(stores: &Stores, names: &Names, which: Store) -> Result<(), SchemaError> {
    let clearing = async {
        match which {
            Store::Postgres => schema::postgres::run::clear(stores, names).await,
            Store::Kafka => schema::kafka::run::clear(stores, names).await,
            Store::ClickHouse => schema::clickhouse::run::clear(stores, names).await,
            Store::Elasticsearch => schema::elasticsearch::run::clear(stores, names).await,
            Store::Redis => schema::redis::run::clear(stores, names).await,
            Store::S3 => schema::s3::run::clear(stores, names).await,
        }
    };
    in_time(which, "drop what earlier runs made", Box::pin(clearing)).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_platforms_own_namespace_is_never_a_runs() {
        let refused = renew(&Stores::local(1), &Names::new("").unwrap(), Store::ALL, &[]).await;
        assert!(matches!(refused, Err(SchemaError::OwnNamespace)));
    }

    #[test]
    fn markers_that_differ_are_named_and_one_store_without_a_marker_has_no_say() {
        let names = Names::new("t").unwrap();
        let mark = |digit: char| Mark::parse(&digit.to_string().repeat(12)).unwrap();
        let marks = |kafka: &[char]| {
            vec![
                (Store::Postgres, BTreeSet::from([mark('1')])),
                (Store::Kafka, kafka.iter().map(|digit| mark(*digit)).collect()),
            ]
        };
        assert_eq!(the_one(&names, &marks(&[])).unwrap(), Some(mark('1')));
        assert_eq!(the_one(&names, &marks(&['1'])).unwrap(), Some(mark('1')));
        let differ = the_one(&names, &marks(&['2'])).unwrap_err().to_string();
        assert!(differ.contains("PostgreSQL 111111111111, Kafka 222222222222"), "{differ}");
    }

    #[test]
    fn what_is_in_the_way_is_said_with_its_store() {
        let objects: Vec<String> = (0..7).map(|n| format!("topic t.{n}")).collect();
        let mut foreign = Foreign { store: Store::Kafka, is_marked: false, objects };
        let expected =
            "Kafka has no marker of a run, but topic t.0, topic t.1, topic t.2, topic t.3, topic t.4 and 2 more";
        assert_eq!(foreign.to_string(), expected);
        foreign = Foreign { is_marked: true, objects: vec!["topic t.x".to_owned()], ..foreign };
        assert_eq!(foreign.to_string(), "Kafka has, under names that a run needs, topic t.x");
    }
}
