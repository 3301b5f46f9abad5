//! The operator's further settings of the Kafka clients: which are taken, which are ingest's own, which are secrets.
//! Names and values go in, a verdict comes out; a value never does.

use std::collections::BTreeMap;

use rdkafka::ClientConfig;

use super::error::SettingsError;

/// Parts of the names of librdkafka's settings whose values are secrets.
const SECRET: [&str; 6] = ["password", "secret", "jaas", "token", "key.pem", "oauthbearer.config"];

pub(super) fn without_secrets<S: serde::Serializer>(
    kafka: &BTreeMap<String, String>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let is_secret = |key: &str| SECRET.iter().any(|part| key.contains(part));
    serializer.collect_map(kafka.iter().map(|(key, value)| (key, if is_secret(key) { "***" } else { value.as_str() })))
}

/// Kafka settings that are not the operator's to change, by name or by prefix (`queued.`, `fetch.`).
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

/// Checks every setting: it is not ingest's own, and librdkafka takes it.
pub(super) fn check(kafka: &BTreeMap<String, String>) -> Result<(), SettingsError> {
    if let Some(name) = kafka.keys().find(|key| RESERVED.iter().any(|prefix| key.starts_with(prefix))) {
        return Err(SettingsError::Reserved(name.clone()));
    }
    if let Some((name, _)) = kafka.iter().find(|(name, value)| !is_taken(name, value)) {
        return Err(SettingsError::Unknown(name.clone()));
    }
    // The lease follows from it. librdkafka reads numbers in other bases as well, which must not be taken for none here.
    match kafka.get("session.timeout.ms") {
        Some(value) if value.parse::<u32>().is_err() => Err(SettingsError::NoNumber("session.timeout.ms".to_owned())),
        _ => Ok(()),
    }
}

/// Whether librdkafka takes a setting.
fn is_taken(name: &str, value: &str) -> bool {
    ClientConfig::new().set(name, value).create_native_config().is_ok()
}
