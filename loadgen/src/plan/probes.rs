//! Probes: which question is asked of which tenant about which key, and when.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sluice_schemas::records::Channel;

use crate::scenario::Question;

/// One question to ask.
#[derive(Debug, Clone, PartialEq)]
pub struct Probe {
    /// Intended start, since the start of the drive.
    pub at: Duration,
    /// The question.
    pub question: Question,
    /// Index of the tenant that asks.
    pub tenant: usize,
    /// What it asks about.
    pub key: Key,
}

/// What a probe asks about. All windows lie in the loaded past, so the drive never changes a right answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Key {
    /// Customer of that index: the three lookups, and the timeline before the scenario's start.
    Customer(u64),
    /// Campaign of that index: `campaign_status` before the scenario's start.
    Campaign(u64),
    /// The document that `profile_data` must contain.
    Profile(serde_json::Value),
    /// The document that `content` must contain, in communications before the scenario's start.
    Content(serde_json::Value),
    /// Full text.
    Search {
        /// A word of the body.
        word: &'static str,
        /// Language, ISO 639-1.
        language: &'static str,
        /// Channel.
        channel: Channel,
        /// First instant of `created_at`.
        from: DateTime<Utc>,
        /// One past the last instant of `created_at`.
        to: DateTime<Utc>,
    },
    /// The dashboards: events, metrics, interactions or campaigns with a time in the window.
    Window {
        /// First instant.
        from: DateTime<Utc>,
        /// One past the last instant.
        to: DateTime<Utc>,
    },
}
