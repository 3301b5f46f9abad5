//! A YAML file as values with their lines, read by key. It knows no key, and never reads a file.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{Error, Location, NonFiniteFloatPolicy, Spanned};

use super::advice::most_similar;

/// A mistake: its line, from 1, or 0 if it has none, and what it is.
pub(super) type Mistake = (usize, String);

/// A value with its line.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) line: usize,
    value: Value,
}

#[derive(Debug, Clone)]
enum Value {
    Null,
    Text(String),
    Number(f64),
    /// `true` or `false`.
    Truth,
    List(Vec<Node>),
    Map(Map),
}

/// A mapping with its line.
#[derive(Debug, Clone, Default)]
pub(super) struct Map {
    pub(super) line: usize,
    entries: Vec<(Spanned<String>, Node)>,
}

/// The mappings of a file: its documents, and the items of those that are lists.
pub(super) fn documents(text: &str) -> Result<Vec<Map>, Mistake> {
    // Numbers that are none are refused by those who read them, with their key.
    let options = serde_saphyr::options! {
        non_finite_float_policy: NonFiniteFloatPolicy::PassThrough,
        with_snippet: false,
    };
    let documents: Vec<Node> =
        serde_saphyr::from_multiple_with_options(text, options).map_err(|error| syntax(&error))?;
    let mut maps = Vec::new();
    for document in documents {
        let items = match document.value {
            Value::List(items) => items,
            _ => vec![document],
        };
        for item in items {
            let Value::Map(map) = item.value else {
                return Err((item.line, "it is no mapping; write keys with values".to_owned()));
            };
            maps.push(map);
        }
    }
    Ok(maps)
}

/// The mistake of a text that is not YAML.
fn syntax(error: &Error) -> Mistake {
    let line = error.location().map_or(0, |location| line(&location));
    if let Error::DuplicateMappingKey { key, .. } = error {
        return (line, format!("duplicate key `{}`; write each key once", key.as_deref().unwrap_or_default()));
    }
    if let Some(message) = refused(error) {
        return (line, message.to_owned());
    }
    let message = error.to_string();
    let message = message.lines().next().unwrap_or_default();
    let message = message.split_once(" at line ").map_or(message, |(message, _)| message);
    (line, format!("it is not YAML: {message}; correct this line"))
}

/// The mistake of a text that is YAML and is refused: one whose aliases would make it too large, or never end.
fn refused(error: &Error) -> Option<&'static str> {
    match error {
        Error::AliasError { error, .. } => refused(error),
        Error::Budget { .. } => Some("it is too large, or too deeply nested; an SLO needs a few dozen lines"),
        Error::AliasReplayCounterOverflow { .. }
        | Error::AliasReplayLimitExceeded { .. }
        | Error::AliasExpansionLimitExceeded { .. }
        | Error::AliasReplayStackDepthExceeded { .. }
        | Error::RecursiveReferencesRequireWeakTypes { .. } => {
            Some("it repeats a value by too many aliases (`*`), or within itself; write the value out")
        }
        _ => None,
    }
}

impl Map {
    /// The value of a key; `None` if there is none, or an empty one.
    pub(super) fn get(&self, key: &str) -> Option<&Node> {
        let (_, node) = self.entries.iter().find(|(name, _)| name.value == key)?;
        Some(node).filter(|node| !matches!(node.value, Value::Null))
    }

    /// A text with its line.
    pub(super) fn text(&self, key: &str) -> Result<Option<(usize, &str)>, Mistake> {
        self.get(key).map(|node| node.text(key)).transpose()
    }

    /// A text that must be there.
    pub(super) fn required_text(&self, key: &str) -> Result<(usize, &str), Mistake> {
        self.text(key)?.ok_or_else(|| self.missing(key))
    }

    /// A number with its line.
    pub(super) fn number(&self, key: &str) -> Result<Option<(usize, f64)>, Mistake> {
        let Some(node) = self.get(key) else { return Ok(None) };
        match node.value {
            Value::Number(number) => Ok(Some((node.line, number))),
            _ => Err(node.is_not(key, "a number")),
        }
    }

    /// A mapping.
    pub(super) fn map(&self, key: &str) -> Result<Option<&Map>, Mistake> {
        let Some(node) = self.get(key) else { return Ok(None) };
        match &node.value {
            Value::Map(map) => Ok(Some(map)),
            _ => Err(node.is_not(key, "a mapping")),
        }
    }

    /// A mapping that must be there.
    pub(super) fn required_map(&self, key: &str) -> Result<&Map, Mistake> {
        self.map(key)?.ok_or_else(|| self.missing(key))
    }

    /// A list of mappings; empty if there is none.
    pub(super) fn maps(&self, key: &str) -> Result<Vec<&Map>, Mistake> {
        let map = |node: &Node| match &node.value {
            Value::Map(_) => Ok(()),
            _ => Err(node.is_not(key, "a list of mappings")),
        };
        let nodes = self.list(key)?.map_or(&[][..], |(_, nodes)| nodes);
        nodes.iter().try_for_each(map)?;
        Ok(nodes.iter().filter_map(|node| if let Value::Map(map) = &node.value { Some(map) } else { None }).collect())
    }

    /// A list with its line.
    pub(super) fn list(&self, key: &str) -> Result<Option<(usize, &[Node])>, Mistake> {
        let Some(node) = self.get(key) else { return Ok(None) };
        match &node.value {
            Value::List(nodes) => Ok(Some((node.line, nodes))),
            _ => Err(node.is_not(key, "a list")),
        }
    }

    /// Refuses keys other than these.
    pub(super) fn has_only(&self, known: &[&str]) -> Result<(), Mistake> {
        let Some((key, _)) = self.entries.iter().find(|(key, _)| !known.contains(&key.value.as_str())) else {
            return Ok(());
        };
        let suggestion = most_similar(&key.value, known.iter().copied());
        let suggestion = suggestion.map_or_else(String::new, |name| format!("did you mean `{name}`? "));
        let message = format!("unknown key `{}`; {suggestion}use {}", key.value, known.join(", "));
        Err((line(&key.referenced), message))
    }

    /// The mistake of a key that must be there.
    pub(super) fn missing(&self, key: &str) -> Mistake {
        (self.line, format!("missing key `{key}`; docs/scenarios.md has an example"))
    }
}

impl Node {
    /// A text with its line.
    pub(super) fn text(&self, key: &str) -> Result<(usize, &str), Mistake> {
        match &self.value {
            Value::Text(text) => Ok((self.line, text)),
            _ => Err(self.is_not(key, "text")),
        }
    }

    fn is_not(&self, key: &str, expected: &str) -> Mistake {
        let found = match &self.value {
            Value::Null => "empty",
            Value::Text(_) => "text",
            Value::Number(_) => "a number",
            Value::Truth => "true or false",
            Value::List(_) => "a list",
            Value::Map(_) => "a mapping",
        };
        (self.line, format!("`{key}`: it is {found}; write {expected}"))
    }
}

fn line(location: &Location) -> usize {
    location.line() as usize
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Spanned { value, referenced, .. } = Spanned::<Value>::deserialize(deserializer)?;
        let line = line(&referenced);
        let value = match value {
            Value::Map(map) => Value::Map(Map { line, ..map }),
            other => other,
        };
        Ok(Self { line, value })
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyValue)
    }
}

struct AnyValue;

impl<'de> Visitor<'de> for AnyValue {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        Value::deserialize(deserializer)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Value, E> {
        Ok(Value::Truth)
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(Value::Number(number as f64))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(Value::Number(number as f64))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
        Ok(Value::Number(number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut map = Map::default();
        while let Some(entry) = access.next_entry()? {
            map.entries.push(entry);
        }
        Ok(Value::Map(map))
    }
}
