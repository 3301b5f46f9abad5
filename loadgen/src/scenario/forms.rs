//! The form of each value of a scenario that is written as text with a unit, for the JSON schema, and the highest counts. Nothing
//! is parsed here.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::question::{Question, Store};

/// Highest number of tenants.
pub(super) const MAX_TENANTS: u64 = 1_000;
/// Highest number of records of one kind.
pub(crate) const MAX_RECORDS: u64 = 100_000_000;
/// Highest exponent of the tenants' sizes.
pub(super) const MAX_SKEW: u32 = 3;
/// Highest number of users of a group.
pub(super) const MAX_USERS: u64 = 10_000;
/// Highest part of a question in the questions of a group.
pub(super) const MAX_PART: u64 = 1_000_000;
/// Highest number of connections of one kind.
pub(super) const MAX_CONNECTIONS: u64 = 10_000;

/// A type whose only purpose is its schema.
macro_rules! form {
    ($(#[$doc:meta])* $name:ident, |$generator:pat_param| $schema:expr) => {
        $(#[$doc])*
        pub(super) struct $name;

        impl JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema($generator: &mut SchemaGenerator) -> Schema {
                $schema
            }
        }
    };
}

/// A text of a form, with examples.
macro_rules! text {
    ($name:ident, $pattern:expr, $examples:expr) => {
        form!($name, |_| json_schema!({ "type": "string", "pattern": $pattern, "examples": $examples }));
    };
}

/// One of a few words.
macro_rules! words {
    ($name:ident, $words:expr) => {
        form!($name, |_| json_schema!({ "type": "string", "enum": $words }));
    };
}

const FACTOR: &str = r"[0-9]+(\.[0-9]+)? ?x";

text!(Duration, r"^([0-9]+ ?[a-z]+ ?)+$", ["60 s", "10 min", "1 day"]);
text!(Percent, r"^[0-9]+(\.[0-9]+)? ?%$", ["95 %", "99.99 %"]);
text!(Rate, r"^[0-9_]+(\.[0-9]+)? ?/ ?(s|min|h)( by calendar)?$", ["30/s", "12/min", "30/s by calendar"]);
text!(PlainRate, r"^[0-9_]+(\.[0-9]+)? ?/ ?(s|min|h)$", ["10000/s"]);
text!(OneFactor, format!("^{FACTOR}$"), ["2x", "0.5x"]);
text!(Factor, format!("^{FACTOR}( to {FACTOR})?$"), ["10x", "1x to 10x"]);
words!(Pace, ["calendar", "steady"]);
words!(Arrivals, ["poisson", "constant"]);
words!(TenantClass, ["large", "middle", "small"]);
words!(Operation, ["questions", "commits", "events"]);
words!(Undecided, ["block", "allow"]);
text!(Rows, "^(at least )?[0-9]+$", ["1", "at least 1"]);
words!(StoreName, Store::ALL.iter().map(|store| store.as_str()).collect::<Vec<_>>());

form!(
    /// The name of a question: one of Sluice's own, or of a table `question`.
    QuestionName,
    |_| json_schema!({
        "type": "string",
        "anyOf": [{ "enum": questions().collect::<Vec<_>>() }, { "pattern": "^[a-z0-9_-]{1,40}$" }],
    })
);

/// A table with a value for each of a few names.
fn table_of<'a, T: JsonSchema>(names: impl Iterator<Item = &'a str>, generator: &mut SchemaGenerator) -> Schema {
    let value = T::json_schema(generator);
    let properties: serde_json::Map<_, _> = names.map(|name| (name.to_owned(), value.clone().into())).collect();
    json_schema!({ "type": "object", "properties": properties, "additionalProperties": false })
}

/// A table with a value for each question, Sluice's own and others.
fn table_of_questions<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    let mut schema = table_of::<T>(questions(), generator);
    schema.insert("additionalProperties".to_owned(), T::json_schema(generator).into());
    schema
}

fn questions() -> impl Iterator<Item = &'static str> {
    Question::ALL.iter().map(|question| question.as_str())
}

form!(
    /// The table `probes`.
    Probes,
    |generator| {
        let mut schema = table_of_questions::<Rate>(generator);
        if let Some(properties) = schema.get_mut("properties").and_then(serde_json::Value::as_object_mut) {
            let follow = serde_json::json!({
                "description": "\"calendar\": all questions are asked more often in office hours, like the writes.",
                "type": "string",
                "enum": ["calendar", "nothing"],
            });
            properties.insert("follow".to_owned(), follow);
        }
        schema
    }
);

form!(
    /// The part of a question in those of users.
    Part,
    |_| json_schema!({ "type": "integer", "minimum": 1, "maximum": MAX_PART })
);

form!(
    /// The table `users.questions`.
    Mix,
    |generator| table_of_questions::<Part>(generator)
);

form!(
    /// The table `time_outs`.
    TimeOuts,
    |generator| table_of::<Duration>(Store::ALL.iter().map(|store| store.as_str()), generator)
);
