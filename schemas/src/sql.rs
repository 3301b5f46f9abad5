//! Quotes identifiers and string literals, for statements that cannot take parameters. The only place that writes each
//! database's escapes. No statement is sent here.

/// PostgreSQL.
pub mod postgres {
    /// A quoted identifier.
    pub fn identifier(name: &str) -> String {
        format!("\"{}\"", name.replace('"', "\"\""))
    }

    /// A string literal, safe under every value of `standard_conforming_strings`.
    pub fn literal(text: &str) -> String {
        format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
    }
}

/// ClickHouse.
pub mod clickhouse {
    /// A quoted identifier.
    pub fn identifier(name: &str) -> String {
        quoted(name, '`')
    }

    /// A string literal.
    pub fn literal(text: &str) -> String {
        quoted(text, '\'')
    }

    fn quoted(text: &str, quote: char) -> String {
        let mut quoted = String::with_capacity(text.len() + 2);
        quoted.push(quote);
        for character in text.chars() {
            match character {
                '\0' => quoted.push_str("\\0"),
                '\n' => quoted.push_str("\\n"),
                '\r' => quoted.push_str("\\r"),
                '\t' => quoted.push_str("\\t"),
                '\\' => quoted.push_str("\\\\"),
                character if character == quote => quoted.extend(['\\', quote]),
                character => quoted.push(character),
            }
        }
        quoted.push(quote);
        quoted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_escapes_its_quotes() {
        assert_eq!(postgres::identifier("a\"b"), "\"a\"\"b\"");
        assert_eq!(postgres::literal("a'b\\"), "E'a''b\\\\'");
        assert_eq!(clickhouse::identifier("a`b\\"), "`a\\`b\\\\`");
        assert_eq!(clickhouse::literal("a'b\\\n"), "'a\\'b\\\\\\n'");
    }
}
