//! The text of a question: its parameters, and whether it only reads. Stores enforce the latter as well; this check names the
//! line before anything runs. A text that it can't be sure of is refused.

use std::collections::BTreeSet;

use crate::question::Store;

/// A text in pieces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// The pieces in order.
    pub pieces: Vec<Piece>,
}

/// A piece of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Text that is sent as it is.
    Text(String),
    /// A parameter, by its name.
    Parameter(String),
}

/// Why a text can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StatementError {
    /// The text does something else than reading.
    #[error("{word} is not a read, and a question never writes; {advice}")]
    Writes {
        /// The word that says so.
        word: String,
        /// What to write.
        advice: &'static str,
    },
    /// The text chooses how ClickHouse writes its answer.
    #[error("FORMAT is not for a question, which chooses the format of its answer; remove it")]
    HasFormat,
    /// The text has several statements.
    #[error("it has more than one statement; write one question for each")]
    Several,
    /// The text has no statement.
    #[error("it is empty; write what to ask")]
    Empty,
    /// The text is not JSON.
    #[error("it is not the JSON of a search: {0}")]
    NotJson(String),
    /// A quote or a comment does not end.
    #[error("a quote or a comment does not end; close it")]
    Unclosed,
    /// A backslash in quotes.
    #[error("it has a backslash in quotes, which not every store reads alike; use a parameter instead")]
    Backslash,
    /// A comment within a comment.
    #[error("it has a comment that begins within a comment, which not every store reads alike; write it without")]
    NestedComment,
    /// A name or a text with escaped characters.
    #[error("it has a name or a text that begins with U&; write its characters themselves")]
    Escapes,
    /// A parameter by its number.
    #[error("it has a parameter by its number; write one by its name, such as $customer")]
    Numbered,
    /// Text between dollar signs.
    #[error("it has a text in dollar signs; write it in single quotes, and the name of a parameter in ASCII")]
    DollarQuote,
}

const READ_SQL: &str = "ask with SELECT or WITH";
const READ_POSTGRES: &str = "ask with SELECT, WITH, TABLE or VALUES";
const WITHOUT: &str = "ask without it";
const NAME: &str = "ask without it, or put it in double quotes if it is a name";
/// Words that change something, anywhere in a statement. In double quotes they are names.
const WRITE_WORDS: [&str; 13] = [
    "INSERT", "UPDATE", "DELETE", "MERGE", "INTO", "TRUNCATE", "CREATE", "ALTER", "DROP", "GRANT", "REVOKE", "COPY",
    "CALL",
];
/// Functions that make the later transactions of a session write, that run a text as SQL, which could, or that change something
/// although the transaction is read-only, in some version of PostgreSQL: a transaction number is a write as well. They are refused
/// in quotes as well, since these don't keep them from being called.
const UNSAFE_FUNCTIONS: [&str; 24] = [
    "SET_CONFIG",
    "TS_STAT",
    "TS_REWRITE",
    "CONNECTBY",
    "XPATH_TABLE",
    "LO_CREAT",
    "LO_CREATE",
    "LO_FROM_BYTEA",
    "LO_PUT",
    "LO_UNLINK",
    "LO_IMPORT",
    "LO_EXPORT",
    "LO_TRUNCATE",
    "LO_TRUNCATE64",
    "LOWRITE",
    "PG_NOTIFY",
    "TXID_CURRENT",
    "PG_CURRENT_XACT_ID",
    "PG_EXPORT_SNAPSHOT",
    "PG_PROMOTE",
    "SETVAL",
    "NEXTVAL",
    "GIN_CLEAN_PENDING_LIST",
    "PG_PREWARM",
];
/// What the names of other such functions begin with.
const UNSAFE_FAMILIES: [&str; 19] = [
    "QUERY_TO_XML",
    "CURSOR_TO_XML",
    "DBLINK",
    "CROSSTAB",
    "PG_ADVISORY_",
    "PG_TRY_ADVISORY_",
    "PG_LOGICAL_",
    "PG_REPLICATION_",
    "PG_CREATE_",
    "PG_COPY_",
    "PG_DROP_",
    "PG_STAT_RESET",
    "PG_SWITCH_",
    "PG_RELOAD_",
    "PG_ROTATE_",
    "PG_CANCEL_",
    "PG_TERMINATE_",
    "BRIN_SUMMARIZE_",
    "BRIN_DESUMMARIZE_",
];
/// The word with which ClickHouse's answer would change its form; the client chooses it.
const FORMAT: &str = "FORMAT";

impl Statement {
    /// Reads the text of a question to a store.
    pub fn parse(store: Store, text: &str) -> Result<Self, StatementError> {
        if text.trim().is_empty() {
            return Err(StatementError::Empty);
        }
        match store {
            Store::Postgres => sql(text, &["SELECT", "WITH", "TABLE", "VALUES"], READ_POSTGRES, true),
            Store::Clickhouse => sql(text, &["SELECT", "WITH"], READ_SQL, false),
            Store::Redis => words(text).map(|_| Self { pieces: dollars(text) }),
            Store::Elasticsearch => match serde_json::from_str::<serde_json::Map<_, _>>(text) {
                Ok(_) => Ok(Self { pieces: dollars(text) }),
                Err(error) => Err(StatementError::NotJson(error.to_string())),
            },
        }
    }

    /// The names of all parameters.
    pub fn parameters(&self) -> BTreeSet<&str> {
        let pieces = self.pieces.iter();
        pieces
            .filter_map(|piece| match piece {
                Piece::Parameter(name) => Some(name.as_str()),
                Piece::Text(_) => None,
            })
            .collect()
    }
}

/// The words of a command of Redis, separated by blanks; those in single quotes contain them.
pub fn words(text: &str) -> Result<Vec<String>, StatementError> {
    let (mut words, mut rest) = (Vec::new(), text.trim());
    while !rest.is_empty() {
        let (word, after) = match rest.strip_prefix('\'') {
            Some(quoted) => quoted.split_once('\'').ok_or(StatementError::Unclosed)?,
            None => rest.split_at(rest.find(char::is_whitespace).unwrap_or(rest.len())),
        };
        words.push(word.to_owned());
        rest = after.trim_start();
    }
    Ok(words)
}

/// Splits at `$name`.
fn dollars(text: &str) -> Vec<Piece> {
    let mut pieces = Pieces::default();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        pieces.text(&rest[..at]);
        let length = name_length(&rest[at + 1..]);
        match length {
            0 => pieces.text("$"),
            _ => pieces.parameter(&rest[at + 1..=at + length]),
        }
        rest = &rest[at + 1 + length..];
    }
    pieces.text(rest);
    pieces.0
}

/// Length of the name at the start of a text; 0 if there is none.
fn name_length(text: &str) -> usize {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if text.starts_with(|c: char| c.is_ascii_digit()) { 0 } else { text.find(|c| !is_part(c)).unwrap_or(text.len()) }
}

/// Splits SQL at its parameters, `$name` or `{name:Type}`, outside of quotes and comments, and checks its words.
fn sql(text: &str, starts: &[&str], advice: &'static str, is_postgres: bool) -> Result<Statement, StatementError> {
    let text = text.trim().trim_end_matches(';').trim_end();
    let (mut pieces, mut rest, mut words) = (Pieces::default(), text, Vec::new());
    while !rest.is_empty() {
        let (token, after) = token(rest, is_postgres)?;
        let read = &rest[..rest.len() - after.len()];
        let name = read.trim_matches('"').to_ascii_uppercase();
        let is_of_family = UNSAFE_FAMILIES.iter().any(|family| name.starts_with(family));
        if is_of_family || UNSAFE_FUNCTIONS.contains(&name.as_str()) {
            return Err(StatementError::Writes { word: name, advice: WITHOUT });
        }
        if name == "U" && (after.starts_with("&\"") || after.starts_with("&'")) {
            return Err(StatementError::Escapes);
        }
        match token {
            Token::Parameter(name) => pieces.parameter(name),
            Token::Word => words.push(read.to_ascii_uppercase()),
            Token::Other => {}
        }
        // ClickHouse itself puts values in the place of its parameters.
        if !(is_postgres && matches!(token, Token::Parameter(_))) {
            pieces.text(read);
        }
        rest = after;
    }
    let first = words.first().ok_or(StatementError::Empty)?;
    if !starts.contains(&first.as_str()) {
        return Err(StatementError::Writes { word: first.clone(), advice });
    }
    let is_write = |word: &&String| WRITE_WORDS.contains(&word.as_str());
    match words.iter().find(is_write) {
        None if !is_postgres && words.iter().any(|word| word == FORMAT) => Err(StatementError::HasFormat),
        Some(word) => Err(StatementError::Writes { word: word.clone(), advice: NAME }),
        None => Ok(Statement { pieces: pieces.0 }),
    }
}

/// A part of SQL that is read at once.
enum Token<'a> {
    /// A parameter, by its name.
    Parameter(&'a str),
    /// A keyword or a name without quotes.
    Word,
    /// Anything else: a text in quotes, a comment, a sign.
    Other,
}

/// The first token of SQL, and what follows it. What one of the two stores might read as code is never skipped.
fn token(text: &str, is_postgres: bool) -> Result<(Token<'_>, &str), StatementError> {
    let other = |length: usize| Ok((Token::Other, &text[length..]));
    let name = |start: usize| &text[start..start + name_length(&text[start..])];
    match text.chars().next() {
        Some(quote @ ('\'' | '"')) => other(quoted(text, quote)?),
        Some('`') if !is_postgres => other(quoted(text, '`')?),
        Some('-') if text.starts_with("--") => other(text.find(['\n', '\r']).unwrap_or(text.len())),
        Some('/') if text.starts_with("/*") => other(comment(text)?),
        Some(';') => Err(StatementError::Several),
        Some('$') if is_postgres => match (name(1), &text[1 + name(1).len()..]) {
            // The tag of such a text may have letters that a parameter's name has not.
            (_, after) if after.starts_with(|c: char| c == '$' || !c.is_ascii()) => Err(StatementError::DollarQuote),
            ("", after) if after.starts_with(|c: char| c.is_ascii_digit()) => Err(StatementError::Numbered),
            ("", _) => other(1),
            (name, after) => Ok((Token::Parameter(name), after)),
        },
        Some('{') if !is_postgres && !name(1).is_empty() && text[1 + name(1).len()..].starts_with(':') => {
            let end = text.find('}').ok_or(StatementError::Unclosed)?;
            Ok((Token::Parameter(name(1)), &text[end + 1..]))
        }
        _ if !name(0).is_empty() => Ok((Token::Word, &text[name(0).len()..])),
        first => other(first.map_or(0, char::len_utf8)),
    }
}

/// Length of a comment. PostgreSQL nests comments and ClickHouse does not, so one that may be nested is refused.
fn comment(text: &str) -> Result<usize, StatementError> {
    let body = &text[2..];
    let end = body.find("*/").ok_or(StatementError::Unclosed)?;
    if body[..end].contains("/*") { Err(StatementError::NestedComment) } else { Ok(end + 4) }
}

/// Length of a text in quotes. A doubled quote inside ends one text and begins the next, which comes to the same.
fn quoted(text: &str, quote: char) -> Result<usize, StatementError> {
    let body = &text[1..];
    let end = body.find(quote).ok_or(StatementError::Unclosed)?;
    if body[..end].contains('\\') {
        // Whether a backslash escapes the quote depends on the store and its settings.
        return Err(StatementError::Backslash);
    }
    Ok(end + 2)
}

#[derive(Default)]
struct Pieces(Vec<Piece>);

impl Pieces {
    fn text(&mut self, more: &str) {
        match self.0.last_mut() {
            _ if more.is_empty() => {}
            Some(Piece::Text(text)) => text.push_str(more),
            _ => self.0.push(Piece::Text(more.to_owned())),
        }
    }

    fn parameter(&mut self, name: &str) {
        self.0.push(Piece::Parameter(name.to_owned()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(store: Store, text: &str) -> Result<Vec<Piece>, StatementError> {
        Statement::parse(store, text).map(|statement| statement.pieces)
    }

    fn text(text: &str) -> Piece {
        Piece::Text(text.to_owned())
    }

    fn parameter(name: &str) -> Piece {
        Piece::Parameter(name.to_owned())
    }

    #[test]
    fn words_are_separated_by_blanks_outside_of_quotes() {
        let listed = |words: &[&str]| Ok(words.iter().map(|word| (*word).to_owned()).collect());
        assert_eq!(words(" GET  user:$id "), listed(&["GET", "user:$id"]));
        assert_eq!(words("FT.SEARCH idx '@name: $a b'"), listed(&["FT.SEARCH", "idx", "@name: $a b"]));
        let unclosed = StatementError::Unclosed;
        assert_eq!((words("GET 'a"), parse(Store::Redis, "GET 'a b")), (Err(unclosed.clone()), Err(unclosed)));
    }

    #[test]
    fn parameters_are_found_outside_of_quotes_and_comments() {
        let sql = "SELECT '$a', \"$b\" -- $c\n/* $d */ FROM t WHERE id = $id::uuid AND n > 1;";
        let expected =
            [text("SELECT '$a', \"$b\" -- $c\n/* $d */ FROM t WHERE id = "), parameter("id"), text("::uuid AND n > 1")];
        assert_eq!(parse(Store::Postgres, sql).unwrap(), expected);
        let pieces = parse(Store::Clickhouse, "SELECT {a:UInt64}, map{}").unwrap();
        assert_eq!(pieces, [text("SELECT "), parameter("a"), text("{a:UInt64}, map{}")]);
        let pieces = parse(Store::Redis, "JSON.GET ctx:$id $.name $").unwrap();
        assert_eq!(pieces, [text("JSON.GET ctx:"), parameter("id"), text(" $.name $")]);
    }

    #[test]
    fn everything_but_a_read_is_refused() {
        let postgres = |text| parse(Store::Postgres, text);
        for write in [
            "DELETE FROM t",
            "with gone as (delete from t returning 1) select * from gone",
            "SELECT * INTO copy FROM t",
            "EXPLAIN ANALYZE DELETE FROM t",
            "SET transaction_read_only = off",
            "COPY t TO '/x'",
            "/* SELECT */ UPDATE t SET a = 1",
            "SELECT 1; DELETE FROM t",
            "SELECT 'a\\'; DELETE FROM t; --'",
            "SELECT $$ $$",
            "SELECT $é$'$é$, set_config('default_transaction_read_only', 'off', false) --'",
            "SELECT $aé$'$aé$, set_config('default_transaction_read_only', 'off', false) --'",
            "SELECT * FROM connectby('t, (SELECT set_config(''default_transaction_read_only'', ''off'', false)) x', 'a', 'b', '1', 0)",
            "SELECT lo_from_bytea(0, 'x')",
            "SELECT pg_notify('orders', 'x')",
            "SELECT txid_current()",
            "SELECT pg_catalog.pg_current_xact_id()",
            "SELECT nextval('orders_id_seq')",
            "SELECT brin_summarize_new_values('orders_day')",
            "SELECT pg_logical_emit_message(false, 'a', 'b')",
            "SELECT pg_advisory_lock(1)",
            "SELECT 1 -- a\rDELETE FROM t",
            "SELECT 1 `; DELETE FROM t; SELECT `2",
            "SELECT set_config('default_transaction_read_only', 'off', false)",
            "SELECT pg_catalog.\"set_config\"('default_transaction_read_only', 'off', false)",
            "SELECT U&\"s!0065t_config\" UESCAPE '!' ('default_transaction_read_only', 'off', false)",
            "SELECT query_to_xml('SELECT set_config(''default_transaction_read_only'', ''off'', false)', true, false, '')",
            "SELECT 1 /*/ ' */; COMMIT; BEGIN READ WRITE; DELETE FROM t; COMMIT; --'",
            "SELECT 1 /* /* */ ' */ */; COMMIT; BEGIN READ WRITE; DELETE FROM t; COMMIT; --'",
            "SELECT 1 WHERE $1 = $id",
            "SELECT 'a",
            "-- nothing",
            "",
        ] {
            assert!(postgres(write).is_err(), "{write}");
        }
        for write in
            ["INSERT INTO t VALUES (1)", "SELECT 1 INTO OUTFILE 'x'", "OPTIMIZE TABLE t", "SELECT 1 FORMAT Null"]
        {
            assert!(parse(Store::Clickhouse, write).is_err(), "{write}");
        }
        assert!(parse(Store::Elasticsearch, "{\"query\": ").is_err() && parse(Store::Elasticsearch, "[]").is_err());
        let error = postgres("DELETE FROM t").unwrap_err().to_string();
        assert_eq!(error, "DELETE is not a read, and a question never writes; ask with SELECT, WITH, TABLE or VALUES");
    }

    #[test]
    fn words_of_writes_in_quotes_are_texts_and_names() {
        assert!(parse(Store::Postgres, "SELECT \"update\", 'delete; it''s' FROM t").is_ok());
        assert!(parse(Store::Postgres, "SELECT 1 FROM t WHERE name = 'set_config'").is_ok());
        assert!(parse(Store::Postgres, "SELECT lo_orderdate, pg_size_pretty(1) FROM t WHERE price = 5").is_ok());
        assert!(parse(Store::Postgres, "SELECT ts_status, u & 'b' /* a comment */ FROM t").is_ok());
        assert!(parse(Store::Postgres, "TABLE t").is_ok() && parse(Store::Postgres, "values (1)").is_ok());
    }
}
