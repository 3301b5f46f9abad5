//! Numbered migration files: their text goes in, the text for this environment and a fingerprint come out.
//! Never runs one; the stores' modules do.

use sha2::{Digest, Sha256};

/// A numbered file, embedded in the binary.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Migration {
    /// File name, such as `0002_tables.sql`.
    pub(crate) file: &'static str,
    /// Its text, placeholders included.
    pub(crate) text: &'static str,
}

/// Embeds files of a folder beside `src`, in the order they are applied.
macro_rules! migrations {
    ($folder:literal: $($file:literal),+ $(,)?) => {
        &[$($crate::migration::Migration {
            file: $file,
            text: include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/", $folder, "/", $file)),
        }),+]
    };
}
pub(crate) use migrations;

impl Migration {
    /// SHA-256 of the text as it stands in the file, in hex: names and passwords of an environment don't change it.
    pub(crate) fn sha256(&self) -> String {
        Sha256::digest(self.text.as_bytes()).iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"))
    }

    /// Whether the file says `-- run as: WHO`.
    pub(crate) fn runs_as(&self, who: &str) -> bool {
        self.text.lines().any(|line| line.strip_prefix("-- run as: ") == Some(who))
    }

    /// The statements of a file for a store that takes one at a time: they end with a semicolon at the end of a line.
    pub(crate) fn statements(&self) -> impl Iterator<Item = &'static str> {
        self.text.split(";\n").map(str::trim).filter(|statement| !statement.is_empty())
    }
}

/// Replaces each `${name}` by its value; the values are quoted by the caller.
pub(crate) fn render(text: &str, values: &[(&str, String)]) -> String {
    values.iter().fold(text.to_owned(), |text, (name, value)| text.replace(&format!("${{{name}}}"), value))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: Migration =
        Migration { file: "0001_x.sql", text: "-- first\n-- run as: owner\nSELECT 1;\n\nSELECT ${n};\n" };

    #[test]
    fn a_file_is_cut_at_the_ends_of_its_statements() {
        let statements: Vec<_> = TWO.statements().collect();
        assert_eq!(statements, ["-- first\n-- run as: owner\nSELECT 1", "SELECT ${n}"]);
    }

    #[test]
    fn placeholders_are_filled_and_do_not_change_the_fingerprint() {
        assert_eq!(render("SELECT ${n}, ${m}", &[("n", "1".into()), ("m", "2".into())]), "SELECT 1, 2");
        assert_eq!(TWO.sha256().len(), 64);
        assert!(TWO.runs_as("owner") && !TWO.runs_as("admin"));
    }
}
