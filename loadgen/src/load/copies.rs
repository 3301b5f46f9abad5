//! Copies of ClickHouse's tables during and after a load: hard links to their parts, which take no time and, until parts are
//! merged, no space. A later session takes the tables back to the copy, with the aggregates of views. It never copies rows.

use clickhouse::Client;
use serde::{Deserialize, Serialize};
use sluice_schemas::names::Names;
use sluice_schemas::runs;
use sluice_schemas::sql::clickhouse::literal;

use super::error::LoadError;

/// The tables that a load and a drive write to, directly or through a view.
const TABLES: [&str; 4] = ["communication_events", "customer_interactions", "agent_metrics", "campaign_performance"];
/// Between a table's name and the generation of its copy.
const INFIX: &str = "__loaded_";
/// Settings of a copy: merging its parts would only cost time and space.
const UNMERGED: &str = "max_bytes_to_merge_at_min_space_in_pool = 1, max_bytes_to_merge_at_max_space_in_pool = 1";

/// A copy, and how far the load was.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(super) struct Copied<T> {
    pub(super) position: T,
    /// 0 without a copy.
    pub(super) generation: u32,
}

fn name(table: &str, generation: u32) -> String {
    format!("{table}{INFIX}{generation}")
}

/// Copies all tables.
pub(super) async fn create(client: &Client, names: &Names, generation: u32) -> Result<(), LoadError> {
    for table in TABLES {
        let copy = name(table, generation);
        let label = literal(&runs::label(names, &copy).unwrap_or_default());
        for statement in [
            format!("DROP TABLE IF EXISTS {copy} SYNC"),
            format!("CREATE TABLE {copy} AS {table} COMMENT {label}"),
            format!("ALTER TABLE {copy} MODIFY SETTING {UNMERGED}"),
            format!("ALTER TABLE {copy} ATTACH PARTITION ALL FROM {table}"),
        ] {
            client.query(&statement).execute().await?;
        }
    }
    Ok(())
}

/// Replaces the contents of all tables by those of the copy; generation 0 empties them.
pub(super) async fn restore(client: &Client, names: &Names, generation: u32) -> Result<(), LoadError> {
    let copies = list(client, names).await?;
    for table in TABLES {
        client.query(&format!("TRUNCATE TABLE {table}")).execute().await?;
        let copy = name(table, generation);
        if copies.contains(&copy) {
            client.query(&format!("ALTER TABLE {table} ATTACH PARTITION ALL FROM {copy}")).execute().await?;
        }
    }
    Ok(())
}

/// Drops the copies of other generations.
pub(super) async fn drop_all_but(client: &Client, names: &Names, generation: u32) -> Result<(), LoadError> {
    for copy in list(client, names).await? {
        if !copy.ends_with(&format!("{INFIX}{generation}")) {
            client.query(&format!("DROP TABLE IF EXISTS {copy} SYNC")).execute().await?;
        }
    }
    Ok(())
}

/// The copies of this namespace's runs.
async fn list(client: &Client, names: &Names) -> Result<Vec<String>, LoadError> {
    let query = "SELECT name, comment FROM system.tables WHERE database = currentDatabase() AND position(name, ?) > 0";
    let tables: Vec<(String, String)> = client.query(query).bind(INFIX).fetch_all().await?;
    let is_own = |(name, comment): &(String, String)| runs::label(names, name).unwrap_or_default() == *comment;
    Ok(tables.into_iter().filter(is_own).map(|(name, _)| name).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_has_the_name_of_its_table_and_generation() {
        assert_eq!(name("agent_metrics", 3), "agent_metrics__loaded_3");
        let copied: Copied<u64> = serde_json::from_str(r#"{"position":7,"generation":2}"#).unwrap();
        assert_eq!((copied.position, copied.generation), (7, 2));
    }
}
