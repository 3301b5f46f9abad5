//! What to do about a mistake in a scenario: remedies for the parser's messages, and names that were probably meant. It finds no
//! mistake.

/// Similarity, 0 to 1, from which on a name may be a misspelling of another.
const MIN_SIMILARITY: f64 = 0.8;

/// The TOML parser's message with a remedy.
pub(super) fn explain(message: &str) -> String {
    let message = message.lines().next().unwrap_or_default();
    let advice = if message.starts_with("duplicate key") {
        "write each key once"
    } else {
        "see scenarios/smoke.toml for a valid file"
    };
    format!("{message}; {advice}")
}

/// The name that another one is probably a misspelling of.
pub(super) fn most_similar<'a>(unknown: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let similarity = |name: &str| strsim::jaro_winkler(name, unknown);
    known.filter(|name| similarity(name) >= MIN_SIMILARITY).max_by(|a, b| similarity(a).total_cmp(&similarity(b)))
}
