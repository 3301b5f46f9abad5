//! The names in a scenario: of what it defines, and of questions and stores that it refers to. It checks no other
//! value.

use super::advice::most_similar;
use super::error::ScenarioError;
use super::raw::Text;
use super::source::Source;
use crate::question::Question;
use crate::question::custom::CustomQuestion;

/// Longest name, in bytes.
pub(super) const MAX_NAME: usize = 40;

/// Whether a name may be part of a file's.
pub(super) fn is_name(name: &str) -> bool {
    (1..=MAX_NAME).contains(&name.len())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_')
}

/// A name that may be part of a file's.
pub(super) fn name(at: &Text, key: &str, source: &Source) -> Result<String, ScenarioError> {
    let name = at.as_ref();
    if is_name(name) {
        return Ok(name.clone());
    }
    let message = format!(
        "\"{name}\" is not a valid name; use 1 to {MAX_NAME} lowercase letters, digits, hyphens or underscores"
    );
    Err(source.wrong(at, key, message))
}

/// The question of a name: one of Sluice's own, or of the scenario's.
pub(super) fn question(
    at: &Text,
    key: &str,
    own: &[CustomQuestion],
    source: &Source,
) -> Result<Question, ScenarioError> {
    let own = || own.iter().map(|question| Question::Custom(question.question));
    let found = Question::from_name(at.as_ref()).or_else(|| own().find(|question| question.as_str() == at.as_ref()));
    found.ok_or_else(|| {
        let known = own().chain(Question::ALL.iter().copied()).map(Question::as_str);
        unknown(at, key, "question", known, source)
    })
}

/// The error for a name that nothing has.
pub(super) fn unknown<'a>(
    at: &Text,
    key: &str,
    kind: &str,
    known: impl Iterator<Item = &'a str>,
    source: &Source,
) -> ScenarioError {
    let known: Vec<&str> = known.collect();
    let suggestion = most_similar(at.as_ref(), known.iter().copied());
    let suggestion = suggestion.map_or_else(String::new, |name| format!("did you mean {name}? "));
    source.wrong(at, key, format!("unknown {kind} \"{}\"; {suggestion}use {}", at.as_ref(), known.join(", ")))
}
