//! Names of topics, with and without the namespace in effect. It never checks that a topic exists.

use crate::{settings::Settings, table};

/// The full name of a topic; adds the prefix of the namespace if `topic` lacks it.
pub(super) fn full(settings: &Settings, topic: &str) -> String {
    table::with_prefix(&settings.names().topic(""), topic)
}

/// A topic without the namespace in effect.
pub(super) fn short<'a>(settings: &Settings, topic: &'a str) -> &'a str {
    table::short(topic, &settings.names().topic(""))
}
