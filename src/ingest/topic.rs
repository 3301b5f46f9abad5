//! Names of topics, with and without the namespace in effect.

use crate::{settings::Settings, table};

/// The topic with its namespace, whether or not it was given with it.
pub(super) fn full(settings: &Settings, topic: &str) -> String {
    let prefix = settings.names().topic("");
    if topic.starts_with(&prefix) { topic.to_owned() } else { format!("{prefix}{topic}") }
}

/// A topic without the namespace in effect.
pub(super) fn short<'a>(settings: &Settings, topic: &'a str) -> &'a str {
    table::short(topic, &settings.names().topic(""))
}
