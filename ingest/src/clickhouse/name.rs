//! The qualified name of a table or view. It never checks that the table exists.

use super::quoting::quote_identifier;

/// A table or view with its database.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TableName {
    /// Database.
    pub database: String,
    /// Name of the table or view.
    pub name: String,
}

impl TableName {
    /// Name of a table or view in a database.
    pub fn new(database: impl Into<String>, name: impl Into<String>) -> Self {
        Self { database: database.into(), name: name.into() }
    }
}

/// As SQL reads it, quoted if necessary.
impl std::fmt::Display for TableName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let is_plain = |name: &str| {
            name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
                && !name.starts_with(|c: char| c.is_ascii_digit())
        };
        let text = |name: &str| if is_plain(name) { name.to_owned() } else { quote_identifier(name) };
        write!(f, "{}.{}", text(&self.database), text(&self.name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted_if_sql_requires_it() {
        assert_eq!(TableName::new("d", "t_1").to_string(), "d.t_1");
        assert_eq!(TableName::new("a-b", ".inner.v").to_string(), "`a-b`.`.inner.v`");
        assert_eq!(TableName::new("d", "a`b").to_string(), "d.`a\\`b`");
    }
}
