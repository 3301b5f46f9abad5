//! Checks the keys and the types of the values of a scenario against its JSON schema: every mistake at once, each named by the
//! whole path of its key. It never looks at what a value means.

use std::ops::Range;

use serde_json::Value;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::advice::most_similar;
use super::raw::Raw;
use super::source::Source;
use crate::number::separated;

/// The keys and the types that a scenario may have.
pub(super) struct Structure(Value);

impl Structure {
    /// That of every scenario.
    pub(super) fn new() -> Self {
        Self(schemars::schema_for!(Raw).into())
    }

    /// Keeps a mistake for each unknown key, each missing key and each value of a wrong type. Removes unknown keys. Returns
    /// whether the rest can be read: nothing is missing, and no type is wrong.
    pub(super) fn fits(&self, table: &mut DeTable<'_>, whole: Range<usize>, source: &Source) -> bool {
        Walk { schema: &self.0, source }.table(table, whole, "", &self.0)
    }

    /// Keeps a mistake for each unknown key of the whole scenario, and removes it.
    pub(super) fn known(&self, table: &mut DeTable<'_>, source: &Source) {
        Walk { schema: &self.0, source }.unknown(table, "", &self.0);
    }
}

struct Walk<'a> {
    schema: &'a Value,
    source: &'a Source,
}

impl<'a> Walk<'a> {
    /// The schema that one refers to; for one of an optional value, that of the value.
    fn resolved(&self, schema: &'a Value) -> &'a Value {
        if let Some(target) = schema["$ref"].as_str().and_then(|target| target.strip_prefix('#')) {
            return self.schema.pointer(target).unwrap_or(schema);
        }
        let choices = schema["anyOf"].as_array().filter(|_| schema["type"].is_null());
        choices.and_then(|choices| choices.first()).map_or(schema, |first| self.resolved(first))
    }

    fn table(&self, table: &mut DeTable<'_>, at: Range<usize>, path: &str, schema: &'a Value) -> bool {
        if schema["additionalProperties"] == Value::Bool(false) {
            self.unknown(table, path, schema);
        }
        let is_complete = self.has_required(table, at.clone(), path, schema);
        let fits = table.iter_mut().fold(true, |fits, (key, value)| {
            let key = key.get_ref().as_ref();
            let schema = schema["properties"].get(key).unwrap_or(&schema["additionalProperties"]);
            // A table of which a file has nothing is missing in the file.
            let only_set = self.source.is_set(&value.span()) && !self.source.is_set(&at);
            let lacks_at = if only_set { at.clone() } else { value.span() };
            self.value(value, lacks_at, &joined(path, key), self.resolved(schema)) && fits
        });
        is_complete && fits
    }

    /// Removes the unknown keys. A value whose key is probably misspelled is that of the key that was meant, so that what follows
    /// is no second mistake.
    fn unknown(&self, table: &mut DeTable<'_>, path: &str, schema: &'a Value) {
        let known: Vec<&str> = schema["properties"].as_object().into_iter().flatten().map(|(key, _)| &**key).collect();
        let unknown: Vec<String> = table.keys().map(|key| key.get_ref().to_string()).collect();
        for key in unknown.iter().filter(|key| !known.contains(&key.as_str())) {
            let Some((at, value)) = table.remove_entry(key.as_str()) else { continue };
            let meant = most_similar(key, known.iter().copied());
            let suggestion = meant.map_or_else(String::new, |name| format!("did you mean `{name}`? "));
            let message = format!("unknown key `{}`; {suggestion}use {}", joined(path, key), known.join(", "));
            self.source.keep_all([self.source.error(at.span(), message)]);
            // One that is missing otherwise was meant, whatever its value is.
            let is_required = |meant: &str| required(schema).any(|key| key == meant);
            let fits = |meant: &&str| {
                is_required(meant) || has_type(value.get_ref(), self.resolved(&schema["properties"][*meant]))
            };
            if let Some(meant) = meant.filter(|meant| !table.contains_key(*meant)).filter(fits) {
                table.insert(Spanned::new(at.span(), meant.to_owned().into()), value);
            }
        }
    }

    /// Whether no key is missing.
    fn has_required(&self, table: &DeTable<'_>, at: Range<usize>, path: &str, schema: &'a Value) -> bool {
        let missing: Vec<&str> = required(schema).filter(|key| !table.contains_key(*key)).collect();
        for key in &missing {
            let whole = joined(path, key);
            let expected = expected(self.resolved(&schema["properties"][*key]), &whole);
            let message = format!("missing key `{whole}`; write {expected}");
            self.source.keep_all([self.source.error(at.clone(), message)]);
        }
        missing.is_empty()
    }

    /// Whether a value, and what is in it, has the type of its schema. `lacks_at` is where the keys that it lacks are missing.
    fn value(&self, value: &mut Spanned<DeValue<'_>>, lacks_at: Range<usize>, path: &str, schema: &'a Value) -> bool {
        if !has_type(value.get_ref(), schema) {
            return self.refuse(value, path, &expected(schema, path));
        }
        match value.get_mut() {
            DeValue::Table(table) => self.table(table, lacks_at, path, schema),
            DeValue::Array(items) => {
                let schema = self.resolved(&schema["items"]);
                // Each one, so that every mistake is found.
                items.iter_mut().map(|item| self.item(item, path, schema)).filter(|fits| !fits).count() == 0
            }
            DeValue::Integer(number) => {
                let digits = number.as_str().replace('_', "");
                let (is_possible, (low, high)) = match type_of(schema) {
                    "integer" => (u64::from_str_radix(&digits, number.radix()).is_ok(), bounds(schema)),
                    _ => (i64::from_str_radix(&digits, number.radix()).is_ok(), number_bounds(schema)),
                };
                let message = format!("{} is out of range; write {low} to {high}", number.as_str());
                self.source.keep_all((!is_possible).then(|| self.source.wrong(value, path, message))).is_some()
            }
            _ => true,
        }
    }

    /// Whether an item of a list has the type of its schema.
    fn item(&self, item: &mut Spanned<DeValue<'_>>, path: &str, schema: &'a Value) -> bool {
        if type_of(schema) == "object" && !has_type(item.get_ref(), schema) {
            return self.refuse(item, path, &format!("it as a table [[{path}]], or as one in braces"));
        }
        self.value(item, item.span(), path, schema)
    }

    /// Keeps the mistake of a value of a wrong type.
    fn refuse(&self, value: &Spanned<DeValue<'_>>, path: &str, expected: &str) -> bool {
        let message = format!("it is {}; write {expected}", found(value.get_ref()));
        self.source.keep_all([self.source.wrong(value, path, message)]).is_some()
    }
}

/// The keys that a table must have.
fn required(schema: &Value) -> impl Iterator<Item = &str> {
    schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str)
}

/// Whether a value itself has the type of a schema.
fn has_type(value: &DeValue<'_>, schema: &Value) -> bool {
    let wanted = type_of(schema);
    match value {
        DeValue::String(_) => wanted == "string",
        DeValue::Integer(_) => wanted == "integer" || wanted == "number",
        DeValue::Float(_) => wanted == "number",
        DeValue::Boolean(_) => wanted == "boolean",
        DeValue::Datetime(_) => schema["format"] == "date-time",
        DeValue::Array(_) => wanted == "array",
        DeValue::Table(_) => wanted == "object",
    }
}

fn joined(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

/// The type of a schema: the first one, since the others are for a value that is missing.
fn type_of(schema: &Value) -> &str {
    schema["type"].as_str().or_else(|| schema["type"][0].as_str()).unwrap_or_default()
}

/// The lowest and the highest whole number of a schema, as text.
fn bounds(schema: &Value) -> (String, String) {
    let (low, high) = (schema["minimum"].as_u64().unwrap_or(0), schema["maximum"].as_u64().unwrap_or(u64::MAX));
    (separated(low), separated(high))
}

/// Those of a number with a fraction.
fn number_bounds(schema: &Value) -> (String, String) {
    (schema["minimum"].to_string(), schema["maximum"].to_string())
}

/// A value of a wrong type, in words.
fn found(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => format!("the text \"{}\"", text.escape_debug()),
        DeValue::Integer(number) => format!("the number {}", number.as_str()),
        DeValue::Float(number) => format!("the number {}", number.as_str()),
        DeValue::Boolean(value) => format!("the value {value}"),
        DeValue::Datetime(instant) => format!("the date {instant}"),
        DeValue::Array(_) => "a list".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
    }
}

/// What to write in its place.
fn expected(schema: &Value, path: &str) -> String {
    match type_of(schema) {
        "string" => match schema["enum"].as_array() {
            Some(words) => {
                let words: Vec<String> = words.iter().filter(|word| word.is_string()).map(Value::to_string).collect();
                words.join(" or ")
            }
            None => schema["examples"]
                .get(0)
                .map_or_else(|| "text in quotes".to_owned(), |example| format!("text in quotes, such as {example}")),
        },
        "integer" => {
            let (low, high) = bounds(schema);
            format!("a whole number from {low} to {high}, without quotes")
        }
        "number" => {
            let (low, high) = number_bounds(schema);
            format!("a number from {low} to {high}, without quotes")
        }
        "boolean" => "true or false, without quotes".to_owned(),
        "array" if schema["items"]["$ref"].is_string() => format!("it as tables [[{path}]]"),
        "array" => "a list in square brackets".to_owned(),
        _ => format!("it as a table [{path}], with a key on each line"),
    }
}
