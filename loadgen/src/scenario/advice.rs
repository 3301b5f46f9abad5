//! What to do about a mistake in a scenario: remedies for the parser's messages, and names that were probably meant. It finds no
//! mistake.

/// Similarity, 0 to 1, from which on a name may be a misspelling of another.
const MIN_SIMILARITY: f64 = 0.8;

/// The TOML parser's message about a text, with a remedy. `is_file`: whether it is that of a file, and not a value that is set.
pub(super) fn explain(error: &toml::de::Error, text: &str, is_file: bool) -> String {
    let message = error.message().lines().next().unwrap_or_default();
    let span = error.span().filter(|_| message.starts_with("duplicate key"));
    match span.and_then(|span| Some((text.get(span.clone())?, span.start))) {
        Some((key, at)) => duplicate(key, text, at),
        None if is_file => format!("{message}; see scenarios/smoke.toml for a valid file"),
        None => format!("{message}; the form is KEY=VALUE"),
    }
}

/// The mistake of a key or a table that is written again at a position.
fn duplicate(key: &str, text: &str, at: usize) -> String {
    let start = text[..at].rfind('\n').map_or(0, |end| end + 1);
    let line = text[start..].lines().next().unwrap_or_default().trim();
    let Some(header) = line.strip_prefix('[') else { return format!("duplicate key `{key}`; write each key once") };
    let table = header.trim_start_matches('[').split(']').next().unwrap_or_default();
    let several = format!("[[{table}]]");
    let is_several = text.lines().any(|line| line.trim().starts_with(&several));
    let advice = if is_several {
        format!("write each one as {several}")
    } else {
        "write each table once, with all its keys".to_owned()
    };
    format!("duplicate table `{table}`; {advice}")
}

/// The name that another one is probably a misspelling of.
pub(super) fn most_similar<'a>(unknown: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let similarity = |name: &str| strsim::jaro_winkler(name, unknown);
    known.filter(|name| similarity(name) >= MIN_SIMILARITY).max_by(|a, b| similarity(a).total_cmp(&similarity(b)))
}
