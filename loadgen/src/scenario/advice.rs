//! What to do about a mistake in a scenario: the parser's messages in its terms, and names that were probably meant. It finds no mistake.

/// Similarity, 0 to 1, from which on a name may be a misspelling of another.
const MIN_SIMILARITY: f64 = 0.8;

/// The TOML parser's message in terms of a scenario, with a remedy.
pub(super) fn explain(message: &str) -> String {
    let message = message.lines().next().unwrap_or_default().replace("field", "key");
    let (message, is_count) = match message.strip_suffix(", expected u64") {
        Some(message) => (message.to_owned(), true),
        None => (message, false),
    };
    let advice = if message.starts_with("unknown key") {
        let suggestion = similar(&message).map_or_else(String::new, |name| format!("did you mean `{name}`? "));
        format!("; {suggestion}see docs/scenarios.md for every key")
    } else if message.starts_with("missing key") {
        "; see docs/scenarios.md for every key".to_owned()
    } else if message.contains("expected a string") {
        "; write it in quotes with its unit, such as \"60 s\", \"2x\", \"30/s\" or \"95 %\"".to_owned()
    } else if is_count {
        "; write a whole number, not negative and without quotes".to_owned()
    } else if message.starts_with("duplicate key") {
        "; write each key once".to_owned()
    } else {
        "; see scenarios/smoke.toml for a valid file".to_owned()
    };
    format!("{message}{advice}")
}

/// The known key that an unknown one may be a misspelling of: both are in backquotes, the unknown one first.
fn similar(message: &str) -> Option<&str> {
    let mut names = message.split('`').skip(1).step_by(2);
    let unknown = names.next()?;
    most_similar(unknown, names)
}

/// The name that another one is probably a misspelling of.
pub(super) fn most_similar<'a>(unknown: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let similarity = |name: &str| strsim::jaro_winkler(name, unknown);
    known.filter(|name| similarity(name) >= MIN_SIMILARITY).max_by(|a, b| similarity(a).total_cmp(&similarity(b)))
}
