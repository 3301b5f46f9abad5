//! Where the values of a parameter come from. Only CSV files are read here; what stores hold is sampled elsewhere.

use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};
use xxhash_rust::xxh64::Xxh64;

use crate::files;
use crate::number::counted;
use crate::question::Store;

/// Maximum number of values of a parameter.
const MAX_VALUES: usize = 1_000_000;

/// Where the values of a parameter come from. Parameters of one question with the same file, query or table come from the same
/// row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// The values themselves.
    Values(Vec<String>),
    /// A column of a CSV file with a header.
    Csv {
        /// The file, as the scenario's file finds it; a report has its name alone, since its folder differs between machines.
        #[serde(serialize_with = "name_of_file")]
        #[schemars(with = "String")]
        file: String,
        /// The name in the header.
        column: String,
        /// [`digest`] of the values: files of that name on two machines may differ.
        #[serde(default)]
        digest: String,
    },
    /// A column of a query's result.
    Query {
        /// PostgreSQL or ClickHouse.
        store: Store,
        /// The text.
        text: String,
        /// The name of the column.
        column: String,
    },
    /// A column of a table.
    Table {
        /// PostgreSQL or ClickHouse.
        store: Store,
        /// The table, with its schema or database if it is not the default one.
        table: String,
        /// The name of the column.
        column: String,
    },
}

fn name_of_file<S: Serializer>(file: &str, serializer: S) -> Result<S::Ok, S::Error> {
    let name = Path::new(file).file_name().map_or(file.into(), std::ffi::OsStr::to_string_lossy);
    serializer.serialize_str(&name)
}

impl Source {
    /// What rows the parameter of that name takes its values from: parameters with the same rows share them.
    pub fn rows(&self, name: &str) -> String {
        match self {
            Self::Values(_) => format!("values {name}"),
            Self::Csv { file, .. } => format!("csv {file}"),
            Self::Query { store, text, .. } => format!("query {} {text}", store.as_str()),
            Self::Table { store, table, .. } => format!("table {} {table}", store.as_str()),
        }
    }

    /// The column of those rows; `None` for values that are listed.
    pub fn column(&self) -> Option<&str> {
        match self {
            Self::Values(_) => None,
            Self::Csv { column, .. } | Self::Query { column, .. } | Self::Table { column, .. } => Some(column),
        }
    }
}

/// The values of one parameter.
pub type Values = Vec<String>;

/// A digest (XXH64) of values in their order.
pub fn digest(values: &[String]) -> String {
    let mut digest = Xxh64::new(0);
    for value in values {
        digest.update(&(value.len() as u64).to_le_bytes());
        digest.update(value.as_bytes());
    }
    format!("{:016x}", digest.digest())
}

/// The values of a column of a CSV file. The error fits after the name of the file.
pub fn read_csv(file: &Path, column: &str) -> Result<Values, String> {
    let broken = |error: csv::Error| broken_csv(&error);
    let mut reader = csv::Reader::from_reader(files::open(file).map_err(|error| broken(error.into()))?);
    let header = reader.headers().map_err(broken)?.clone();
    let mut named = header.iter().enumerate().filter(|(_, name)| *name == column).map(|(index, _)| index);
    let index = match (named.next(), named.next()) {
        (Some(index), None) => index,
        (Some(_), Some(_)) => {
            return Err(format!("its first line names column \"{column}\" twice; rename one of them"));
        }
        (None, _) if header.is_empty() => {
            return Err(
                "it is empty; its first line names the columns, and each other line has a value of each".to_owned()
            );
        }
        (None, _) => {
            let known: Vec<&str> = header.iter().collect();
            return Err(format!("it has no column \"{column}\"; its first line names {}", known.join(", ")));
        }
    };
    let mut values = Vec::new();
    for record in reader.records() {
        values.push(record.map_err(broken)?.get(index).unwrap_or_default().to_owned());
        if values.len() > MAX_VALUES {
            return Err(format!("it has more than {MAX_VALUES} rows; use fewer"));
        }
    }
    if values.is_empty() {
        return Err("it has no rows after its header; add at least one".to_owned());
    }
    Ok(values)
}

/// Why a file can't be read as CSV, and what to do.
fn broken_csv(error: &csv::Error) -> String {
    let at = |position: Option<&csv::Position>| position.map_or_else(String::new, |at| format!("line {}: ", at.line()));
    match error.kind() {
        csv::ErrorKind::Io(error) => files::why_unreadable(error),
        csv::ErrorKind::UnequalLengths { pos, expected_len, len } => format!(
            "{}it has {}, but the first line names {}; quote a value that contains a comma, and close each quote",
            at(pos.as_ref()),
            counted(*len, "value"),
            counted(*expected_len, "column")
        ),
        csv::ErrorKind::Utf8 { pos, .. } => format!("{}it is not text in UTF-8; save it as such", at(pos.as_ref())),
        _ => format!("it is not CSV: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_is_read_by_its_name_in_the_header() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("customers.csv");
        std::fs::write(&file, "id,name\n1,\"Ann, B.\"\n2,\"x\"\"y\"\n").unwrap();
        assert_eq!(read_csv(&file, "name").unwrap(), ["Ann, B.", "x\"y"]);
        assert_eq!(read_csv(&file, "nam").unwrap_err(), "it has no column \"nam\"; its first line names id, name");
        std::fs::write(&file, "id,name\n").unwrap();
        assert!(read_csv(&file, "id").unwrap_err().starts_with("it has no rows"));
        std::fs::write(&file, "id,name\n1\n").unwrap();
        insta::assert_snapshot!(read_csv(&file, "id").unwrap_err(), @"line 2: it has 1 value, but the first line names 2 columns; quote a value that contains a comma, and close each quote");
        std::fs::write(&file, b"id,name\n1,J\xf6rg\n").unwrap();
        insta::assert_snapshot!(read_csv(&file, "id").unwrap_err(), @"line 2: it is not text in UTF-8; save it as such");
        std::fs::write(&file, "id,id\n1,2\n").unwrap();
        insta::assert_snapshot!(read_csv(&file, "id").unwrap_err(), @r#"its first line names column "id" twice; rename one of them"#);
        std::fs::write(&file, "").unwrap();
        insta::assert_snapshot!(read_csv(&file, "id").unwrap_err(), @"it is empty; its first line names the columns, and each other line has a value of each");
        assert!(read_csv(&folder.path().join("none.csv"), "id").unwrap_err().ends_with("name an existing file"));
    }
}
