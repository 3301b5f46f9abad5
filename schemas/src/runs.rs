//! Namespaces of runs. [`claim`] marks a namespace in each store and empties it of what earlier runs created, ready for
//! [`crate::apply`]. Nothing is dropped in a store without the marker, and no object without the mark.

use std::collections::BTreeSet;

use crate::error::{ForeignObjects, SchemaError};
use crate::lock;
use crate::names::{Mark, Names};
use crate::schema::{self, in_each, in_store};
use crate::store::Store;
use crate::stores::Stores;

/// A store and the marks that it holds for the namespace: one, or none if the namespace is new.
type StoreMarks = (Store, BTreeSet<Mark>);

/// Claims the namespace for a run: checks every store first, then marks the namespace if it is new, then drops exactly
/// what earlier runs created in it, except in the stores of `keep`. `groups` are the consumer groups that the run will
/// create.
///
/// # Errors
/// - [`SchemaError::PlatformNamespace`] if the namespace is the platform's own.
/// - [`SchemaError::MarkersDiffer`] if the stores hold different marks.
/// - [`SchemaError::NamespaceOccupied`] if a store has no marker but holds objects of the namespace, or if a foreign
///   object occupies a name that the run needs.
///
/// In these cases nothing is changed.
pub async fn claim(
    stores: &Stores,
    names: &Names,
    which: &[Store],
    keep: &[Store],
    groups: &[String],
) -> Result<Names, SchemaError> {
    if names.namespace().is_empty() {
        return Err(SchemaError::PlatformNamespace);
    }
    let lock = lock::acquire(stores, names, which).await?;
    let claimed = claim_locked(stores, names, (which, keep), groups).await;
    lock.release().await;
    claimed
}

async fn claim_locked(
    stores: &Stores,
    names: &Names,
    (which, keep): (&[Store], &[Store]),
    groups: &[String],
) -> Result<Names, SchemaError> {
    let marks = marks(stores, names, which).await?;
    let names = &names.with_mark(agreed_mark(names, &marks)?.unwrap_or_else(Mark::new));
    refuse_foreign(stores, names, &marks, groups).await?;
    let mark = |store| async move { in_store!(store, run::create_marker(stores, names)) };
    in_each(which, "mark the namespace", mark).await?;
    let cleared: Vec<Store> = which.iter().copied().filter(|store| !keep.contains(store)).collect();
    clear(stores, names, &cleared).await?;
    if which.contains(&Store::Kafka) {
        schema::kafka::run::record_groups(stores, names, groups).await?;
    }
    Ok(names.clone())
}

/// PostgreSQL first: it alone can still refuse, if a foreign object depends on one of the run's.
async fn clear(stores: &Stores, names: &Names, which: &[Store]) -> Result<(), SchemaError> {
    let (postgres, others): (Vec<Store>, Vec<Store>) = which.iter().partition(|store| **store == Store::Postgres);
    for batch in [postgres, others] {
        let clear = |store| async move { in_store!(store, run::clear(stores, names)) };
        in_each(&batch, "drop what earlier runs created", clear).await?;
    }
    Ok(())
}

/// The comment that marks a PostgreSQL or ClickHouse object of that name as created by a run of the namespace, so that
/// [`claim`] drops it; `None` if the names have no mark.
pub fn label(names: &Names, object: &str) -> Option<String> {
    schema::marker::label(names, object)
}

/// The names in effect: with the mark if the stores are marked as created for runs.
pub async fn resolve_names(stores: &Stores, names: &Names, which: &[Store]) -> Result<Names, SchemaError> {
    if names.namespace().is_empty() {
        return Ok(names.clone());
    }
    let mark = agreed_mark(names, &marks(stores, names, which).await?)?;
    Ok(mark.map_or_else(|| names.clone(), |mark| names.with_mark(mark)))
}

async fn marks(stores: &Stores, names: &Names, which: &[Store]) -> Result<Vec<StoreMarks>, SchemaError> {
    let read = |store| async move { Ok((store, in_store!(store, run::marks(stores, names))?)) };
    in_each(which, "read the run marker", read).await
}

/// The one mark that all stores with a marker hold; `None` if no store has one.
fn agreed_mark(names: &Names, marks: &[StoreMarks]) -> Result<Option<Mark>, SchemaError> {
    let distinct: BTreeSet<&Mark> = marks.iter().flat_map(|(_, marks)| marks).collect();
    if distinct.len() > 1 {
        let listed =
            marks.iter().flat_map(|(store, marks)| marks.iter().map(move |mark| format!("{store} {}", mark.as_str())));
        let marks = listed.collect::<Vec<_>>().join(", ");
        return Err(SchemaError::MarkersDiffer { namespace: names.namespace().to_owned(), marks });
    }
    Ok(distinct.into_iter().next().cloned())
}

/// Fails if any store holds foreign objects, which make the namespace unusable for a run.
async fn refuse_foreign(
    stores: &Stores,
    names: &Names,
    marks: &[StoreMarks],
    groups: &[String],
) -> Result<(), SchemaError> {
    let which: Vec<Store> = marks.iter().map(|(store, _)| *store).collect();
    let is_marked = |store| marks.iter().any(|(marked, marks)| *marked == store && !marks.is_empty());
    let list = |store| async move {
        let is_marked = is_marked(store);
        let objects = foreign_objects(stores, names, store, is_marked, groups).await?;
        Ok(ForeignObjects { store, is_marked, objects })
    };
    let mut foreign = in_each(&which, "list foreign objects", list).await?;
    foreign.retain(|foreign| !foreign.objects.is_empty());
    if foreign.is_empty() {
        return Ok(());
    }
    Err(SchemaError::NamespaceOccupied { namespace: names.namespace().to_owned(), foreign })
}

/// Lists foreign objects: in a marked store, those without the mark that occupy a name that the run needs; in any other
/// store, everything under the namespace's names.
async fn foreign_objects(
    stores: &Stores,
    names: &Names,
    store: Store,
    is_marked: bool,
    groups: &[String],
) -> Result<Vec<String>, SchemaError> {
    match store {
        Store::Postgres => schema::postgres::run::foreign(stores, names).await,
        Store::Kafka => schema::kafka::run::foreign(stores, names, is_marked, groups).await,
        Store::ClickHouse => schema::clickhouse::run::foreign(stores, names).await,
        // A run's names contain its mark here, so a foreign object cannot occupy one.
        Store::Elasticsearch | Store::Redis | Store::S3 if is_marked => Ok(Vec::new()),
        Store::Elasticsearch => schema::elasticsearch::run::foreign(stores, names).await,
        Store::Redis => schema::redis::run::foreign(stores, names).await,
        Store::S3 => schema::s3::run::foreign(stores, names).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_platform_namespace_is_never_claimed() {
        let refused = claim(&Stores::local(1), &Names::new("").unwrap(), Store::ALL, &[], &[]).await;
        assert!(matches!(refused, Err(SchemaError::PlatformNamespace)));
    }

    #[test]
    fn differing_marks_are_reported_and_a_store_without_a_marker_is_ignored() {
        let names = Names::new("t").unwrap();
        let mark = |digit: char| Mark::parse(&digit.to_string().repeat(12)).unwrap();
        let marks = |kafka: &[char]| {
            vec![
                (Store::Postgres, BTreeSet::from([mark('1')])),
                (Store::Kafka, kafka.iter().map(|digit| mark(*digit)).collect()),
            ]
        };
        assert_eq!(agreed_mark(&names, &marks(&[])).unwrap(), Some(mark('1')));
        assert_eq!(agreed_mark(&names, &marks(&['1'])).unwrap(), Some(mark('1')));
        let differ = agreed_mark(&names, &marks(&['2'])).unwrap_err().to_string();
        assert!(differ.contains("PostgreSQL 111111111111, Kafka 222222222222"), "{differ}");
    }
}
