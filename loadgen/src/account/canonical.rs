//! The canonical text of a record: all of its columns, computed here from the record and in the store from the row.
//! Each record's text is next to the store's expression for it, so a wrong value in any column changes the digest.
//! This module never reads a store.

use std::fmt::Write as _;

use serde_json::Value;
use sha2::{Digest as _, Sha256};
use sluice_schemas::records::{
    AgentMetric, Campaign, Communication, CommunicationEvent, Customer, CustomerInteraction,
};
use xxhash_rust::xxh64::xxh64;

/// Separates columns; no record contains it.
const SEPARATOR: &str = "\u{1f}";

/// A record that can be compared with its row.
pub(crate) trait Canonical {
    /// The record's identity; a second row of it is a duplicate.
    fn identity(&self) -> String;
    /// The canonical text.
    fn text(&self) -> String;
}

/// ClickHouse's expressions over the columns of one table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Expressions {
    /// The table.
    pub table: &'static str,
    /// [`Canonical::identity`].
    pub identity: &'static str,
    /// [`Canonical::text`].
    pub text: &'static str,
}

/// Expressions for `communication_events`.
pub(crate) const COMMUNICATION_EVENTS: Expressions = Expressions {
    table: "communication_events",
    identity: "toString(event_id)",
    text: r"concatWithSeparator('\x1f', toString(event_id), toString(tenant_id), toString(customer_id),
        toString(campaign_id), agent_id, channel, event_type, toString(toUnixTimestamp64Milli(timestamp)),
        toString(duration_ms), if(success, '1', '0'), error_code, metadata)",
};

/// Expressions for `agent_metrics`. A measurement has no identifier: agent, metric and instant are its identity.
pub(crate) const AGENT_METRICS: Expressions = Expressions {
    table: "agent_metrics",
    identity: r"concatWithSeparator(' ', agent_id, metric_name, toString(toUnixTimestamp64Milli(timestamp)))",
    text: r"concatWithSeparator('\x1f', toString(tenant_id), agent_id, agent_type, metric_name,
        toString(reinterpretAsUInt64(metric_value)), toString(toUnixTimestamp64Milli(timestamp)))",
};

/// Expressions for `customer_interactions`.
pub(crate) const CUSTOMER_INTERACTIONS: Expressions = Expressions {
    table: "customer_interactions",
    identity: "toString(interaction_id)",
    text: r"concatWithSeparator('\x1f', toString(interaction_id), toString(tenant_id), toString(customer_id),
        toString(campaign_id), toString(communication_id), channel, interaction_type,
        toString(toUnixTimestamp64Milli(timestamp)), toString(duration_ms), sentiment, toString(amount_minor),
        currency)",
};

impl Canonical for CommunicationEvent {
    fn identity(&self) -> String {
        self.event_id.to_string()
    }

    fn text(&self) -> String {
        let metadata = serde_json::to_string(&self.metadata).expect("plain fields always serialize");
        join(&[
            &self.event_id.to_string(),
            &self.tenant_id.to_string(),
            &self.customer_id.to_string(),
            &self.campaign_id.to_string(),
            &self.agent_id,
            self.channel.as_str(),
            self.event_type.as_str(),
            &self.timestamp.timestamp_millis().to_string(),
            &self.duration_ms.to_string(),
            if self.success { "1" } else { "0" },
            &self.error_code,
            &metadata,
        ])
    }
}

impl Canonical for AgentMetric {
    fn identity(&self) -> String {
        format!("{} {} {}", self.agent_id, self.metric_name, self.timestamp.timestamp_millis())
    }

    fn text(&self) -> String {
        join(&[
            &self.tenant_id.to_string(),
            &self.agent_id,
            &self.agent_type,
            &self.metric_name,
            &self.metric_value.to_bits().to_string(),
            &self.timestamp.timestamp_millis().to_string(),
        ])
    }
}

impl Canonical for CustomerInteraction {
    fn identity(&self) -> String {
        self.interaction_id.to_string()
    }

    fn text(&self) -> String {
        join(&[
            &self.interaction_id.to_string(),
            &self.tenant_id.to_string(),
            &self.customer_id.to_string(),
            &self.campaign_id.to_string(),
            &self.communication_id.to_string(),
            self.channel.as_str(),
            self.interaction_type.as_str(),
            &self.timestamp.timestamp_millis().to_string(),
            &self.duration_ms.to_string(),
            &self.sentiment,
            &self.amount_minor.to_string(),
            &self.currency,
        ])
    }
}

/// PostgreSQL's expression for the text of a communication, over its columns.
pub(crate) const COMMUNICATION_TEXT: &str = r"concat_ws(E'\x1f', id::text, tenant_id::text, customer_id::text,
    coalesce(campaign_id::text, ''), channel, direction, content::text, metadata::text, status,
    (extract(epoch from created_at) * 1000)::bigint::text)";

/// PostgreSQL's expression for the text of a customer, over its columns.
pub(crate) const CUSTOMER_TEXT: &str = r"concat_ws(E'\x1f', id::text, tenant_id::text, email, coalesce(phone, ''),
    coalesce(company_name, ''), profile_data::text, payment_history::text, preferences::text,
    (extract(epoch from created_at) * 1000)::bigint::text, (extract(epoch from updated_at) * 1000)::bigint::text,
    is_active::text)";

/// PostgreSQL's expression for the text of a campaign, over its columns.
pub(crate) const CAMPAIGN_TEXT: &str = r"concat_ws(E'\x1f', id::text, tenant_id::text, name, configuration::text,
    escalation_rules::text, status, (extract(epoch from created_at) * 1000)::bigint::text,
    (extract(epoch from updated_at) * 1000)::bigint::text)";

impl Canonical for Communication {
    fn identity(&self) -> String {
        self.id.to_string()
    }

    fn text(&self) -> String {
        let content = serde_json::to_value(&self.content).expect("plain fields always serialize");
        join(&[
            &self.id.to_string(),
            &self.tenant_id.to_string(),
            &self.customer_id.to_string(),
            &self.campaign_id.map(|id| id.to_string()).unwrap_or_default(),
            self.channel.as_str(),
            self.direction.as_str(),
            &jsonb_text(&content),
            &jsonb_text(&self.metadata),
            self.status.as_str(),
            &self.created_at.timestamp_millis().to_string(),
        ])
    }
}

impl Canonical for Customer {
    fn identity(&self) -> String {
        self.id.to_string()
    }

    fn text(&self) -> String {
        join(&[
            &self.id.to_string(),
            &self.tenant_id.to_string(),
            &self.email,
            self.phone.as_deref().unwrap_or_default(),
            self.company_name.as_deref().unwrap_or_default(),
            &jsonb_text(&self.profile_data),
            &jsonb_text(&self.payment_history),
            &jsonb_text(&self.preferences),
            &self.created_at.timestamp_millis().to_string(),
            &self.updated_at.timestamp_millis().to_string(),
            if self.is_active { "true" } else { "false" },
        ])
    }
}

impl Canonical for Campaign {
    fn identity(&self) -> String {
        self.id.to_string()
    }

    fn text(&self) -> String {
        join(&[
            &self.id.to_string(),
            &self.tenant_id.to_string(),
            &self.name,
            &jsonb_text(&self.configuration),
            &jsonb_text(&self.escalation_rules),
            &self.status,
            &self.created_at.timestamp_millis().to_string(),
            &self.updated_at.timestamp_millis().to_string(),
        ])
    }
}

/// ClickHouse's digest of a text: `xxHash64(text)`.
pub(crate) fn clickhouse_digest(text: &str) -> u64 {
    xxh64(text.as_bytes(), 0)
}

/// PostgreSQL's expression for the digest of a text: the first eight bytes of its SHA-256.
pub(crate) fn postgres_digest_expression(text: &str) -> String {
    format!("('x' || encode(substring(sha256(convert_to({text}, 'UTF8')) from 1 for 8), 'hex'))::bit(64)::bigint")
}

/// The digest of [`postgres_digest_expression`], as the bits of PostgreSQL's signed number.
pub(crate) fn postgres_digest(text: &str) -> u64 {
    let hash = Sha256::digest(text.as_bytes());
    hash.iter().take(8).fold(0, |bits, byte| (bits << 8) | u64::from(*byte))
}

fn join(columns: &[&str]) -> String {
    columns.join(SEPARATOR)
}

/// A JSON value as PostgreSQL prints its `jsonb`: keys by length, then by bytes; `": "` and `", "` between.
fn jsonb_text(value: &Value) -> String {
    let mut text = String::new();
    write_jsonb(value, &mut text);
    text
}

fn write_jsonb(value: &Value, text: &mut String) {
    match value {
        Value::Array(items) => {
            text.push('[');
            for (i, item) in items.iter().enumerate() {
                text.push_str(if i == 0 { "" } else { ", " });
                write_jsonb(item, text);
            }
            text.push(']');
        }
        Value::Object(fields) => {
            let mut keys: Vec<&String> = fields.keys().collect();
            keys.sort_by_key(|key| (key.len(), key.as_bytes()));
            text.push('{');
            for (i, key) in keys.into_iter().enumerate() {
                text.push_str(if i == 0 { "" } else { ", " });
                write!(text, "{}: ", Value::String(key.clone())).expect("a String takes every write");
                write_jsonb(&fields[key], text);
            }
            text.push('}');
        }
        scalar => write!(text, "{scalar}").expect("a String takes every write"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jsonb_text_orders_keys_as_postgresql_does() {
        let value = serde_json::json!({"bb": 1, "a": [true, null, "x\n"], "aa": {"z": 1.5, "b": {}}});
        assert_eq!(jsonb_text(&value), r#"{"a": [true, null, "x\n"], "aa": {"b": {}, "z": 1.5}, "bb": 1}"#);
    }

    #[test]
    fn digests_are_those_that_the_stores_compute() {
        // SELECT xxHash64('abc') in ClickHouse.
        assert_eq!(clickhouse_digest("abc"), 0x44BC_2CF5_AD77_0999);
        // The first eight bytes of the published SHA-256 of "abc".
        assert_eq!(postgres_digest("abc"), 0xBA78_16BF_8F01_CFEA);
    }
}
