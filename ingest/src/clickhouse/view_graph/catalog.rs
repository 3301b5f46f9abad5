//! Reads the rows of a table, its materialized views, their targets, and so on from `system.tables`, as far as this
//! user may see them. It judges nothing.

use std::collections::HashMap;

use serde::Deserialize;

use crate::clickhouse::client::ClickHouse;
use crate::clickhouse::engine::{Defaults, Replication};
use crate::clickhouse::name::TableName;
use crate::clickhouse::quoting::{leading_identifier, quote_string};
use crate::failure::Failure;

/// Rows of `system.tables`, by name.
pub(super) type Rows = HashMap<TableName, Row>;

/// A row of `system.tables`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Row {
    pub(super) database: String,
    pub(super) name: String,
    pub(super) uuid: String,
    pub(super) engine: String,
    pub(super) engine_full: String,
    pub(super) partition_key: String,
    pub(super) as_select: String,
    pub(super) create_table_query: String,
    pub(super) dependencies_database: Vec<String>,
    pub(super) dependencies_table: Vec<String>,
    /// Older releases lack these two columns.
    pub(super) target_database: Option<String>,
    pub(super) target_table: Option<String>,
    /// Seconds since the definition was changed, by ClickHouse's clock.
    pub(super) unchanged_for: i64,
}

/// The columns of [`Row`] that the server has.
const COLUMNS: &str = "COLUMNS('^(database|name|uuid|engine|engine_full|partition_key|as_select|create_table_query|\
                       dependencies_database|dependencies_table|target_database|target_table)$')";

impl Row {
    /// Whether it is a materialized view, which INSERTs into its sources trigger.
    pub(super) fn is_view(&self) -> bool {
        self.engine == "MaterializedView"
    }

    /// The views that an INSERT into the table triggers.
    pub(super) fn dependent_views(&self) -> impl Iterator<Item = TableName> + '_ {
        let names = self.dependencies_database.iter().zip(&self.dependencies_table);
        names.map(|(database, name)| TableName::new(database, name))
    }

    /// The table that a materialized view writes to.
    pub(super) fn target(&self) -> TableName {
        match (&self.target_database, &self.target_table) {
            (Some(database), Some(table)) if !table.is_empty() => TableName::new(database, table),
            _ => target_in(&self.create_table_query).unwrap_or_else(|| self.inner_table()),
        }
    }

    /// The inner table of a view that was created without `TO`.
    fn inner_table(&self) -> TableName {
        let has_id = self.uuid.chars().any(|c| !matches!(c, '0' | '-'));
        let name = if has_id { format!(".inner_id.{}", self.uuid) } else { format!(".inner.{}", self.name) };
        TableName::new(&self.database, name)
    }
}

/// The table at the end of a chain of views. The rows contain no cycle.
pub(super) fn resolve(rows: &Rows, mut name: TableName) -> TableName {
    while let Some(row) = rows.get(&name).filter(|row| row.is_view()) {
        name = row.target();
    }
    name
}

/// Reads a table and everything that its INSERTs may reach: the table and all `known` names first, then one level after
/// another. The result may contain rows that INSERTs no longer reach.
pub(super) async fn read<'a>(
    clickhouse: &ClickHouse,
    base: &'a TableName,
    known: impl Iterator<Item = &'a TableName>,
) -> Result<Rows, Failure> {
    let mut pending: Vec<_> = std::iter::once(base).chain(known.filter(|name| *name != base)).cloned().collect();
    let (mut rows, mut requested) = (Rows::new(), pending.clone());
    while !pending.is_empty() {
        let pair =
            |TableName { database, name }: &TableName| format!("({}, {})", quote_string(database), quote_string(name));
        let names = pending.iter().map(pair).collect::<Vec<_>>().join(", ");
        let query = format!(
            "SELECT {COLUMNS}, toInt32(least(now() - metadata_modification_time, 2147483647)) AS unchanged_for \
             FROM system.tables WHERE (database, name) IN ({names}) FORMAT JSON"
        );
        pending.clear();
        for row in clickhouse.select::<Row>(&query, "").await? {
            for name in row.dependent_views().chain(row.is_view().then(|| row.target())) {
                if !requested.contains(&name) {
                    requested.push(name.clone());
                    pending.push(name);
                }
            }
            rows.insert(TableName::new(&row.database, &row.name), row);
        }
    }
    Ok(rows)
}

/// All views that write to one of these tables, each with its target, as far as this user may see them.
pub async fn views_writing_to(
    clickhouse: &ClickHouse,
    targets: &[TableName],
) -> Result<Vec<(TableName, TableName)>, Failure> {
    let query = format!("SELECT {COLUMNS} FROM system.tables WHERE engine = 'MaterializedView' FORMAT JSON");
    let views = clickhouse.select::<Row>(&query, "").await?;
    let into = |row: Row| (TableName::new(&row.database, &row.name), row.target());
    Ok(views.into_iter().map(into).filter(|(_, target)| targets.contains(target)).collect())
}

/// The server's defaults for deduplication windows.
pub(super) async fn defaults(clickhouse: &ClickHouse, replication: Replication) -> Result<Defaults, Failure> {
    #[derive(Deserialize)]
    struct Setting {
        name: String,
        value: String,
    }
    let prefix = if replication == Replication::Single { "" } else { "replicated_" };
    let query = format!(
        "SELECT name, value FROM system.{prefix}merge_tree_settings WHERE name LIKE '%deduplication_window%' FORMAT JSON"
    );
    let settings: Vec<Setting> = clickhouse.select(&query, "").await?;
    Ok(settings.into_iter().map(|Setting { name, value }| (name, value)).collect())
}

/// The table after `TO` in the definition of a materialized view.
fn target_in(definition: &str) -> Option<TableName> {
    let (_, rest) = qualified(definition.strip_prefix("CREATE MATERIALIZED VIEW ")?)?;
    let (mut name, _) = qualified(rest.strip_prefix(" TO ")?)?;
    (name.len() == 2).then(|| TableName::new(name.remove(0), name.remove(0)))
}

/// The dot-separated parts of a name at the start of a text, and what follows it.
fn qualified(mut text: &str) -> Option<(Vec<String>, &str)> {
    let mut parts = Vec::new();
    loop {
        let (part, rest) = leading_identifier(text)?;
        parts.push(part);
        let Some(next) = rest.strip_prefix('.') else { return Some((parts, rest)) };
        text = next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_read_from_the_definition_if_not_listed() {
        let target = |definition: &str| {
            let id = "ca2d43c2-06a9-4b4a-958b-2e6be7e5af63".to_owned();
            let (database, name) = ("d".to_owned(), "v".to_owned());
            Row { database, name, uuid: id, create_table_query: definition.to_owned(), ..Row::default() }.target()
        };
        let plain = "CREATE MATERIALIZED VIEW d.v TO other.t (`n` UInt64) AS SELECT n FROM d.base";
        assert_eq!(target(plain), TableName::new("other", "t"));
        let quoted = "CREATE MATERIALIZED VIEW `v c.d`.`a b.c` TO `v c.d`.`t.x \\`y` (`n` UInt64) AS SELECT 1";
        assert_eq!(target(quoted), TableName::new("v c.d", "t.x `y"));
        let inner_table = "CREATE MATERIALIZED VIEW d.v (`n` UInt64) ENGINE = MergeTree AS SELECT ' TO a.b'";
        assert_eq!(target(inner_table), TableName::new("d", ".inner_id.ca2d43c2-06a9-4b4a-958b-2e6be7e5af63"));
        let old = Row { database: "d".into(), name: "v".into(), ..Row::default() };
        assert_eq!(old.target(), TableName::new("d", ".inner.v"));
    }
}
