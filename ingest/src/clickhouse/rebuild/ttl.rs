//! Extracts the TTL expressions that remove rows or values from a table's definition in `system.tables`.
//! It ignores TTLs that only move or recompress parts, and conditions (`WHERE`) after an expression: callers need to
//! know which rows may have been removed. It sends no query.

/// Keywords that end an expression; they state what happens to the rows.
const ENDS: [&str; 7] = [" DELETE", " WHERE ", " GROUP BY ", " TO DISK ", " TO VOLUME ", " RECOMPRESS ", " SETTINGS "];
/// Keywords of clauses that keep rows and values unchanged.
const HARMLESS: [&str; 3] = [" TO DISK ", " TO VOLUME ", " RECOMPRESS "];

/// Returns the expressions of all TTLs that remove rows or values.
pub(super) fn expressions(definition: &str) -> Vec<String> {
    let mut expressions = Vec::new();
    for (at, depth) in outside_quotes(definition) {
        let Some(ttl) = definition[at..].strip_prefix(" TTL ") else { continue };
        let clauses = clauses(ttl);
        // Columns are also separated by commas: only the table's own TTL has several clauses.
        expressions.extend(clauses.into_iter().take(if depth > 0 { 1 } else { usize::MAX }).filter_map(expression));
    }
    expressions
}

/// The clauses of a TTL, up to the end of the last one.
fn clauses(text: &str) -> Vec<&str> {
    let (mut clauses, mut start) = (Vec::new(), 0);
    for (at, depth) in outside_quotes(text) {
        let is_end =
            depth < 0 || (depth == 0 && text[at..].starts_with(" SETTINGS ")) || text[at..].starts_with(" COMMENT ");
        if is_end {
            clauses.push(&text[start..at]);
            return clauses;
        }
        if depth == 0 && text[at..].starts_with(',') {
            clauses.push(&text[start..at]);
            start = at + 1;
        }
    }
    clauses.push(&text[start..]);
    clauses
}

/// The expression of a clause that removes rows or values; `None` for other clauses.
fn expression(clause: &str) -> Option<String> {
    let ends = || outside_quotes(clause).filter(|(_, depth)| *depth == 0).map(|(at, _)| at);
    let starts = |at: usize, words: &[&str]| words.iter().any(|word| clause[at..].starts_with(word));
    if ends().any(|at| starts(at, &HARMLESS)) {
        return None;
    }
    let end = ends().find(|at| starts(*at, &ENDS)).unwrap_or(clause.len());
    Some(clause[..end].trim().to_owned())
}

/// Each character outside quotes: its index, and the number of open parentheses; negative after the end of the
/// enclosing list.
fn outside_quotes(text: &str) -> impl Iterator<Item = (usize, i32)> + '_ {
    let (mut depth, mut quote, mut is_escaped) = (0, None, false);
    text.char_indices().filter_map(move |(at, c)| {
        if let Some(open) = quote {
            match c {
                _ if is_escaped => is_escaped = false,
                '\\' => is_escaped = true,
                c if c == open => quote = None,
                _ => {}
            }
            return None;
        }
        match c {
            '\'' | '`' | '"' => quote = Some(c),
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        quote.is_none().then_some((at, depth))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ttls_of_tables_and_columns_are_found() {
        let definition = "CREATE TABLE vx.ttl (`n` UInt64, `s` String CODEC(ZSTD(1)) TTL toDateTime(t) + toIntervalDay(1), \
             `t` DateTime64(3, 'UTC'), `x` String DEFAULT ' TTL (') ENGINE = MergeTree PARTITION BY toYYYYMM(t) ORDER BY n \
             TTL toDateTime(t) + toIntervalYear(7) WHERE n = 5, toDateTime(t) + toIntervalMonth(1) TO DISK 'default', \
             toDateTime(t) + toIntervalYear(3) SETTINGS non_replicated_deduplication_window = 100 COMMENT 'a TTL b'";
        assert_eq!(
            expressions(definition),
            [
                "toDateTime(t) + toIntervalDay(1)",
                "toDateTime(t) + toIntervalYear(7)",
                "toDateTime(t) + toIntervalYear(3)"
            ]
        );
    }

    #[test]
    fn a_table_without_a_deleting_ttl_loses_nothing() {
        let plain = "CREATE TABLE a.b (`n` UInt64, ` TTL x` Date) ENGINE = MergeTree ORDER BY n SETTINGS a = 1";
        assert_eq!(expressions(plain), Vec::<String>::new());
        let moved = "CREATE TABLE a.b (`d` Date) ENGINE = MergeTree ORDER BY d TTL d + toIntervalDay(1) TO VOLUME 'x'";
        assert_eq!(expressions(moved), Vec::<String>::new());
    }

    #[test]
    fn a_ttl_may_end_a_column_list_or_a_group_by() {
        let last = "CREATE TABLE a.b (`d` Date, `s` String TTL d + toIntervalDay(1)) ENGINE = MergeTree ORDER BY d";
        assert_eq!(expressions(last), ["d + toIntervalDay(1)"]);
        let grouped = "CREATE TABLE a.b (`d` Date) ENGINE = MergeTree ORDER BY d TTL d + toIntervalDay(1) GROUP BY d SET x = max(x), \
             if(d > 1, d + toIntervalDay(2), d) DELETE";
        assert_eq!(expressions(grouped)[0], "d + toIntervalDay(1)");
        assert_eq!(expressions(grouped).last().unwrap(), "if(d > 1, d + toIntervalDay(2), d)");
    }
}
