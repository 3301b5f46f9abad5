//! The operator's additional settings of the Kafka clients: which are allowed, which are reserved, which are secrets.
//! An error contains the first invalid name, never a value.

use std::collections::BTreeMap;

use rdkafka::ClientConfig;

use super::error::SettingsError;

/// Substrings of librdkafka settings whose values are secrets.
const SECRET_PARTS: [&str; 6] = ["password", "secret", "jaas", "token", "key.pem", "oauthbearer.config"];

pub(super) fn without_secrets<S: serde::Serializer>(
    kafka: &BTreeMap<String, String>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let is_secret = |key: &str| SECRET_PARTS.iter().any(|part| key.contains(part));
    serializer.collect_map(kafka.iter().map(|(key, value)| (key, if is_secret(key) { "***" } else { value.as_str() })))
}

/// Kafka settings that the operator must not change, by name or by prefix (`queued.`, `fetch.`).
const RESERVED: [&str; 16] = [
    "bootstrap.servers",
    "group.id",
    "group.protocol",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "enable.idempotence",
    "enable.partition.eof",
    "partition.assignment.strategy",
    "auto.offset.reset",
    "isolation.level",
    "acks",
    "request.required.acks",
    "message.max.bytes",
    "transactional.id",
    "queued.",
    "fetch.",
];

/// Checks that no setting is reserved and that librdkafka accepts each of them.
pub(super) fn check(kafka: &BTreeMap<String, String>) -> Result<(), SettingsError> {
    if let Some(name) = kafka.keys().find(|key| RESERVED.iter().any(|prefix| key.starts_with(prefix))) {
        return Err(SettingsError::Reserved(name.clone()));
    }
    if let Some((name, _)) = kafka.iter().find(|(name, value)| !is_accepted(name, value)) {
        return Err(SettingsError::Unknown(name.clone()));
    }
    // The lease is derived from it. librdkafka also reads numbers in other bases, which must not count as unset here.
    match kafka.get("session.timeout.ms") {
        Some(value) if value.parse::<u32>().is_err() => Err(SettingsError::NoNumber("session.timeout.ms".to_owned())),
        _ => Ok(()),
    }
}

/// Whether librdkafka accepts a setting.
fn is_accepted(name: &str, value: &str) -> bool {
    ClientConfig::new().set(name, value).create_native_config().is_ok()
}
