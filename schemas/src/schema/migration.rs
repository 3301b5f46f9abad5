//! Numbered migration files: their text for an environment, their fingerprint, and whether they have been applied.
//! This module never runs one; the modules in [`crate::schema`] do.

use sha2::{Digest, Sha256};

use crate::error::SchemaError;
use crate::schema::drift::Drift;
use crate::schema::facts;
use crate::store::Store;

/// A numbered file, embedded in the binary.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Migration {
    /// File name, such as `0002_tables.sql`.
    pub(crate) file: &'static str,
    /// Text of the file, placeholders included.
    pub(crate) text: &'static str,
}

/// Embeds files of a folder next to `src`, in the order in which they are applied.
macro_rules! migrations {
    ($folder:literal: $($file:literal),+ $(,)?) => {
        &[$($crate::schema::migration::Migration {
            file: $file,
            text: include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/", $folder, "/", $file)),
        }),+]
    };
}
pub(crate) use migrations;

impl Migration {
    /// SHA-256 of the file in hex, placeholders included, so that an environment's names and passwords don't change it.
    pub(crate) fn sha256(&self) -> String {
        Sha256::digest(self.text.as_bytes()).iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"))
    }

    /// Whether the file contains `-- run as: ROLE`.
    pub(crate) fn runs_as(&self, role: &str) -> bool {
        self.text.lines().any(|line| line.strip_prefix("-- run as: ") == Some(role))
    }

    /// The statements of the file, for a store that takes one at a time: each ends with a semicolon at the end of a
    /// line.
    pub(crate) fn statements(&self) -> impl Iterator<Item = &'static str> {
        self.text.split(";\n").map(str::trim).filter(|statement| !statement.is_empty())
    }

    /// Whether the file has been applied, given the recorded fingerprint; an error if it was changed since.
    pub(crate) fn is_applied(&self, store: Store, recorded: Option<&str>) -> Result<bool, SchemaError> {
        match recorded {
            None => Ok(false),
            Some(sha256) if sha256 == self.sha256() => Ok(true),
            Some(_) => Err(SchemaError::MigrationChanged { store, file: self.file.to_owned() }),
        }
    }
}

/// Compares the recorded files and fingerprints with the migrations.
pub(crate) fn compare(
    store: Store,
    migrations: &[Migration],
    recorded: impl IntoIterator<Item = (String, String)>,
) -> Vec<Drift> {
    let fact = |(file, sha256): (String, String)| (format!("migration {file}"), sha256);
    let expected = migrations.iter().map(|file| fact((file.file.to_owned(), file.sha256()))).collect();
    facts::compare(store, &expected, &recorded.into_iter().map(fact).collect())
}

/// Replaces each `${name}` by its value; the caller quotes the values.
pub(crate) fn render<N: AsRef<str>>(text: &str, values: &[(N, String)]) -> String {
    let replace = |text: String, (name, value): &(N, String)| text.replace(&format!("${{{}}}", name.as_ref()), value);
    values.iter().fold(text.to_owned(), replace)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: Migration =
        Migration { file: "0001_x.sql", text: "-- first\n-- run as: owner\nSELECT 1;\n\nSELECT ${n};\n" };

    #[test]
    fn a_file_is_split_into_its_statements() {
        let statements: Vec<_> = TWO.statements().collect();
        assert_eq!(statements, ["-- first\n-- run as: owner\nSELECT 1", "SELECT ${n}"]);
    }

    #[test]
    fn placeholders_are_replaced_and_do_not_change_the_fingerprint() {
        assert_eq!(render("SELECT ${n}, ${m}", &[("n", "1".into()), ("m", "2".into())]), "SELECT 1, 2");
        assert_eq!(TWO.sha256().len(), 64);
        assert!(TWO.runs_as("owner") && !TWO.runs_as("admin"));
    }
}
