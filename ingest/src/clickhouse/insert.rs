//! The INSERT of a pipeline's rows: its statement, and the header with the types of the rows.
//! It performs no I/O.
//!
//! Rows in RowBinary do not describe themselves: a column whose type was changed after the worker read the table would
//! be misread, along with the bytes of neighboring columns. So a body begins with the names and types that its rows
//! were encoded for (`RowBinaryWithNamesAndTypes`), and ClickHouse refuses it if they do not match. No such format
//! exists for rows that leave fields to the column's default; for those, the table is read before each INSERT, which
//! leaves a short gap unchecked.

use bytes::Bytes;

use super::quoting::quote_identifier;
use super::row_binary::{push_length, push_string};
use super::shape::Column;

/// The INSERT of a pipeline's rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Insert {
    /// The table.
    pub table: String,
    /// `INSERT INTO table (columns) FORMAT ...`
    pub statement: String,
    /// Precedes the rows in every body.
    pub head: Bytes,
    /// Names and types of the columns, in order.
    pub columns: Vec<(String, String)>,
}

impl Insert {
    /// An INSERT of rows with these columns; `settings` ends with a space or is empty.
    pub fn new(table: &str, columns: Vec<(String, String)>, settings: &str, with_defaults: bool) -> Self {
        let names: Vec<_> = columns.iter().map(|(name, _)| quote_identifier(name)).collect();
        let format = if with_defaults { "RowBinaryWithDefaults" } else { "RowBinaryWithNamesAndTypes" };
        let statement =
            format!("INSERT INTO {} ({}) {settings}FORMAT {format}", quote_identifier(table), names.join(", "));
        let head = if with_defaults { Bytes::new() } else { head(&columns) };
        Self { table: table.to_owned(), statement, head, columns }
    }

    /// Returns the same statement for another table with the same columns.
    pub(crate) fn statement_for(&self, table: &str) -> String {
        let prefix = format!("INSERT INTO {} ", quote_identifier(&self.table));
        let suffix = self.statement.strip_prefix(&prefix).expect("every statement begins with its table");
        format!("INSERT INTO {} {suffix}", quote_identifier(table))
    }

    /// Whether its bodies state the types of their rows.
    pub fn is_typed(&self) -> bool {
        !self.head.is_empty()
    }

    /// Whether the columns still have the same types among `current`, all columns of the table.
    pub fn fits(&self, current: &[Column]) -> bool {
        let is_unchanged = |(name, column_type): &(String, String)| {
            current.iter().any(|column| column.name == *name && column.type_text == *column_type)
        };
        self.columns.iter().all(is_unchanged)
    }
}

/// Number of columns, their names, their types.
fn head(columns: &[(String, String)]) -> Bytes {
    let mut head = Vec::new();
    push_length(columns.len(), &mut head);
    let (names, types) = (columns.iter().map(|column| &column.0), columns.iter().map(|column| &column.1));
    for text in names.chain(types) {
        push_string(text.as_bytes(), &mut head);
    }
    head.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns() -> Vec<(String, String)> {
        [("a", "UInt8"), ("b", &"x".repeat(200))]
            .map(|(name, column_type)| (name.to_owned(), column_type.to_owned()))
            .into()
    }

    #[test]
    fn a_body_begins_with_the_names_and_types_of_its_columns() {
        let insert = Insert::new("t", columns(), "", false);
        assert_eq!(insert.head[..12], *b"\x02\x01a\x01b\x05UInt8\xc8");
        assert_eq!((insert.head[12], insert.head.len()), (1, 213));
        assert!(insert.is_typed() && !Insert::new("t", columns(), "", true).is_typed());
    }

    #[test]
    fn the_same_rows_can_be_sent_to_another_table() {
        let insert = Insert::new("a`b", vec![("n.x".to_owned(), "Array(UInt8)".to_owned())], "SETTINGS x = 1 ", true);
        assert_eq!(insert.statement_for("t"), "INSERT INTO `t` (`n.x`) SETTINGS x = 1 FORMAT RowBinaryWithDefaults");
    }

    #[test]
    fn a_changed_type_is_detected_and_additional_columns_are_ignored() {
        let insert = Insert::new("t", vec![("a".to_owned(), "UInt8".to_owned())], "", true);
        let now = |columns: &[(&str, &str)]| {
            let column = |(name, column_type): &(&str, &str)| Column {
                name: (*name).to_owned(),
                type_text: (*column_type).to_owned(),
                default_kind: String::new(),
            };
            columns.iter().map(column).collect::<Vec<_>>()
        };
        assert!(insert.fits(&now(&[("z", "String"), ("a", "UInt8")])));
        assert!(!insert.fits(&now(&[("a", "UInt16")])) && !insert.fits(&now(&[("z", "UInt8")])));
    }
}
