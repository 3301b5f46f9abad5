//! ClickHouse in a run's namespace. The marker is the comment of the database, and each table and view has a label as
//! its comment, both from the moment they are created. A database is never dropped: foreign tables in it stay.

use std::collections::BTreeSet;

use super::client::{execute, failed};
use crate::connect;
use crate::error::SchemaError;
use crate::names::{Mark, Names};
use crate::schema::marker::{Marker, label};
use crate::sql::clickhouse::{identifier, literal};
use crate::stores::Stores;

/// Tables and views of the migrations.
const NAMES: [&str; 7] = [
    "communication_events",
    "agent_metrics",
    "customer_interactions",
    "campaign_performance",
    "campaign_performance_mv",
    "campaign_performance_hourly",
    "schema_migrations",
];
/// Suffix of the table that a killed rebuild leaves next to its target, with the target's comment.
const REBUILD: &str = "__rebuild";
const OBJECTS: &str = "SELECT name, engine LIKE '%View', comment FROM system.tables WHERE database = ?";

/// Name, whether it is a view, and comment.
type Object = (String, u8, String);

/// The mark of the database.
pub(crate) async fn marks(stores: &Stores, names: &Names) -> Result<BTreeSet<Mark>, SchemaError> {
    let comment = comment(stores, names).await?;
    Ok(comment.iter().filter_map(|comment| Marker::decode(comment, names)).collect())
}

/// The comment of the database; `None` if the database does not exist.
async fn comment(stores: &Stores, names: &Names) -> Result<Option<String>, SchemaError> {
    let query = connect::clickhouse_server(stores).query("SELECT comment FROM system.databases WHERE name = ?");
    query.bind(names.database()).fetch_optional().await.map_err(failed(stores, "read the run marker"))
}

/// Foreign objects that make this namespace unusable for a run.
pub(crate) async fn foreign(stores: &Stores, names: &Names) -> Result<Vec<String>, SchemaError> {
    let Some(comment) = comment(stores, names).await? else { return Ok(Vec::new()) };
    if Marker::decode(&comment, names).as_ref() != names.mark() {
        return Ok(vec![format!("database {}", names.database())]);
    }
    let foreign = objects(stores, names).await?.into_iter().filter(|object| !is_own(names, object));
    let conflicting = foreign.map(|(name, ..)| name).filter(|name| NAMES.contains(&name.as_str()));
    Ok(conflicting.map(|name| format!("table {}.{name}", names.database())).collect())
}

async fn objects(stores: &Stores, names: &Names) -> Result<Vec<Object>, SchemaError> {
    let query = connect::clickhouse_server(stores).query(OBJECTS).bind(names.database());
    query.fetch_all().await.map_err(failed(stores, "list tables"))
}

fn is_own(names: &Names, (name, _, comment): &Object) -> bool {
    let labeled = name.split_once(REBUILD).map_or(name.as_str(), |(target, _)| target);
    label(names, labeled).is_some_and(|label| label == *comment)
}

/// Creates the database together with its marker.
pub(crate) async fn create_marker(stores: &Stores, names: &Names) -> Result<(), SchemaError> {
    if comment(stores, names).await?.is_some() {
        return Ok(());
    }
    let text = Marker::encode(names).unwrap_or_default();
    let sql = format!("CREATE DATABASE {} COMMENT {}", names.database(), literal(&text));
    let created = execute(connect::clickhouse_server(stores).query_raw(&sql)).await;
    created.map_err(failed(stores, format!("create database {}", names.database())))
}

/// A statement of a migration, with a label if it creates something for a run.
pub(super) fn with_label(statement: &str, names: &Names) -> String {
    let created = statement.split("IF NOT EXISTS ").nth(1).and_then(|rest| rest.split_whitespace().next());
    match created.and_then(|name| label(names, name)) {
        Some(label) => format!("{statement}\nCOMMENT {}", literal(&label)),
        None => statement.to_owned(),
    }
}

/// Drops the tables and views that carry this namespace's labels; views first, since they read the tables.
pub(crate) async fn clear(stores: &Stores, names: &Names) -> Result<(), SchemaError> {
    let mut labeled: Vec<Object> = objects(stores, names).await?;
    labeled.retain(|object| is_own(names, object));
    labeled.sort_by_key(|(_, is_view, _)| *is_view == 0);
    for (name, ..) in labeled {
        let sql = format!("DROP TABLE IF EXISTS {}.{} SYNC", names.database(), identifier(&name));
        let dropped = execute(connect::clickhouse_server(stores).query_raw(&sql)).await;
        dropped.map_err(failed(stores, format!("drop table {}.{name}", names.database())))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::{HISTORY, MIGRATIONS, Migration};
    use super::*;

    fn marked() -> Names {
        Names::new("t").unwrap().with_mark(Mark::new())
    }

    #[test]
    fn every_statement_of_the_migrations_creates_and_labels_a_listed_table() {
        let names = marked();
        let statements: Vec<_> = MIGRATIONS.iter().flat_map(Migration::statements).chain([HISTORY]).collect();
        assert_eq!(statements.len(), NAMES.len());
        for statement in statements {
            let labeled = with_label(statement, &names);
            let table = NAMES
                .iter()
                .find(|name| labeled.ends_with(&format!("COMMENT {}", literal(&label(&names, name).unwrap()))));
            assert!(table.is_some(), "{labeled}");
            assert_eq!(with_label(statement, &Names::new("t").unwrap()), statement);
        }
    }

    #[test]
    fn a_copied_or_renamed_table_is_not_the_runs() {
        let names = marked();
        let label = label(&names, "agent_metrics").unwrap();
        let is_own = |name: &str, comment: &str| super::is_own(&names, &(name.to_owned(), 0, comment.to_owned()));
        assert!(is_own("agent_metrics", &label));
        assert!(is_own("agent_metrics__rebuild_1", &label));
        assert!(!is_own("kept", &label), "CREATE TABLE ... AS copies the comment");
        assert!(!is_own("agent_metrics", ""));
    }
}
