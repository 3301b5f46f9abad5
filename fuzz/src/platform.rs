//! Decodes each input with all default pipelines, as a record of the platform's topics for their tables.

use std::cell::RefCell;

use sluice_ingest::config::Settings;
use sluice_schemas::names::topic;

use crate::table::{Described, Table};

const EVENTS: &[Described<'_>] = &[
    ("event_id", "UUID", ""),
    ("tenant_id", "UUID", ""),
    ("customer_id", "UUID", ""),
    ("campaign_id", "UUID", ""),
    ("agent_id", "String", ""),
    ("channel", "LowCardinality(String)", ""),
    ("event_type", "LowCardinality(String)", ""),
    ("timestamp", "DateTime64(3, 'UTC')", ""),
    ("duration_ms", "UInt32", ""),
    ("success", "Bool", ""),
    ("error_code", "LowCardinality(String)", ""),
    ("metadata", "String", ""),
];

const METRICS: &[Described<'_>] = &[
    ("tenant_id", "UUID", ""),
    ("agent_id", "String", ""),
    ("agent_type", "LowCardinality(String)", ""),
    ("metric_name", "LowCardinality(String)", ""),
    ("metric_value", "Float64", ""),
    ("timestamp", "DateTime64(3, 'UTC')", ""),
];

const INTERACTIONS: &[Described<'_>] = &[
    ("interaction_id", "UUID", ""),
    ("tenant_id", "UUID", ""),
    ("customer_id", "UUID", ""),
    ("campaign_id", "UUID", ""),
    ("communication_id", "UUID", ""),
    ("channel", "LowCardinality(String)", ""),
    ("interaction_type", "LowCardinality(String)", ""),
    ("timestamp", "DateTime64(3, 'UTC')", ""),
    ("duration_ms", "UInt32", ""),
    ("sentiment", "LowCardinality(String)", ""),
    ("amount_minor", "Int64", ""),
    ("currency", "LowCardinality(String)", ""),
];

thread_local! {
    static TABLES: RefCell<[Table; 3]> = RefCell::new(tables());
}

fn tables() -> [Table; 3] {
    let settings = Settings::default();
    let topics = [
        (topic::COMMUNICATION_EVENTS, EVENTS),
        (topic::AGENT_METRICS, METRICS),
        (topic::CUSTOMER_INTERACTIONS, INTERACTIONS),
    ];
    topics.map(|(topic, columns)| {
        Table::new(&settings.pipelines[topic], columns, "timestamp").expect("a table of the platform")
    })
}

/// Checks one input.
///
/// # Panics
/// If a promise is broken.
pub fn check(input: &[u8]) {
    TABLES.with_borrow_mut(|tables| tables.iter_mut().for_each(|table| table.check(input)));
}
