//! Text tables without borders, and the names and numbers in them. It never prints.

use comfy_table::{CellAlignment, Table, presets};

/// An empty table; the columns in `numbers` are right-aligned.
pub(crate) fn table(header: &[&str], numbers: &[usize]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_header(header.iter().copied());
    for column in numbers {
        if let Some(column) = table.column_mut(*column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

/// The table as text, without trailing blanks.
pub(crate) fn text(table: &Table) -> String {
    table.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}

/// The value, or a dash if it is unknown.
pub(crate) fn or_dash<T: ToString>(number: Option<T>) -> String {
    number.map_or_else(|| "-".to_owned(), |number| number.to_string())
}

/// The topic with `prefix`, which is that of the namespace, whether or not it was given with it.
pub(crate) fn with_prefix(prefix: &str, topic: &str) -> String {
    if topic.starts_with(prefix) { topic.to_owned() } else { format!("{prefix}{topic}") }
}

/// The topic without `prefix`, which is that of the namespace.
pub(crate) fn short<'a>(topic: &'a str, prefix: &str) -> &'a str {
    topic.strip_prefix(prefix).unwrap_or(topic)
}
