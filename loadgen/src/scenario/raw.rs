//! A scenario as it is written in its file: every value with its position, units unparsed. [`super::check`] checks it.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Deserialize;
use toml::Spanned;

pub(super) type Text = Spanned<String>;
pub(super) type Count = Spanned<u64>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Raw {
    pub name: Text,
    #[serde(default)]
    pub description: String,
    pub seeds: Seeds,
    pub time: Time,
    pub population: Population,
    pub past: Past,
    pub drive: Drive,
    pub probes: BTreeMap<Text, Text>,
    #[serde(default)]
    pub slo: Vec<Slo>,
    pub availability: Option<Availability>,
    #[serde(default)]
    pub time_outs: BTreeMap<Text, Text>,
    #[serde(default)]
    pub connections: Connections,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Connections {
    pub postgres: Option<Count>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Seeds {
    pub data: u64,
    pub keys: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Time {
    pub start: Spanned<Instant>,
    pub span: Text,
    pub replayed_in: Text,
    pub warm_up: Option<Text>,
    pub settle: Option<Text>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Population {
    pub tenants: Count,
    pub customers: Count,
    pub skew: Option<Spanned<f64>>,
    pub customers_per_campaign: Option<Count>,
    pub customers_per_agent: Option<Count>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Past {
    pub communications: Count,
    pub span: Text,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Drive {
    pub communications: Count,
    pub metric_interval: Option<Text>,
    pub arrivals: Option<Text>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Slo {
    pub name: Text,
    pub questions: Spanned<Vec<Text>>,
    pub objective: Text,
    pub within: Text,
    pub alpha: Option<Text>,
    pub longest_stall: Option<Text>,
    pub tenants: Option<Text>,
    pub in_every: Option<Text>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Availability {
    pub objective: Option<Text>,
    pub first_attempts: Option<Text>,
    pub undecided: Option<Text>,
}

/// An instant, written with or without quotes.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum Instant {
    Toml(toml::value::Datetime),
    Text(String),
}

impl Instant {
    pub(super) fn parse(&self) -> Result<DateTime<Utc>, String> {
        let text = match self {
            Self::Toml(datetime) => datetime.to_string(),
            Self::Text(text) => text.clone(),
        };
        DateTime::parse_from_rfc3339(&text).map(|instant| instant.to_utc()).map_err(|_| {
            format!("\"{text}\" is not an instant; write date, time and zone, such as 2026-11-16T00:00:00Z")
        })
    }
}

/// The TOML parser's message in terms of a scenario, with a remedy.
pub(super) fn explain(message: &str) -> String {
    let message = message.lines().next().unwrap_or_default().replace("field", "key");
    let (message, is_count) = match message.strip_suffix(", expected u64") {
        Some(message) => (message.to_owned(), true),
        None => (message, false),
    };
    let advice = if message.starts_with("unknown key") || message.starts_with("missing key") {
        "; see scenarios/smoke.toml for every key"
    } else if message.contains("expected a string") {
        "; write it in quotes with its unit, such as \"60 s\", \"30/s\" or \"95 %\""
    } else if is_count {
        "; write a whole number, not negative and without quotes"
    } else if message.starts_with("duplicate key") {
        "; write each key once"
    } else {
        "; see scenarios/smoke.toml for a valid file"
    };
    format!("{message}{advice}")
}
