//! Parses a record of the dead-letter topic as a [`Letter`]: the facts about it and, on request, its contents. A record
//! that no worker wrote is not a letter.
//!
//! A worker's own headers come last, starting with the reason. All headers before them are the record's own, whatever
//! their names.

use std::sync::Arc;

use sluice_schemas::records::dead_letter_header as header;
use uuid::Uuid;

use crate::kafka::headers::Headers;

/// The topic partition that a record came from.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Source {
    /// Topic with its namespace.
    pub topic: String,
    /// ID of the topic; older letters do not state it.
    pub topic_id: Option<Uuid>,
    /// Partition.
    pub partition: i32,
}

/// The position of a letter in the dead-letter topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Partition.
    pub partition: i32,
    /// Offset.
    pub offset: i64,
}

/// Whether a letter has its record's payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Payload {
    /// The record had no payload.
    None,
    /// The letter contains a payload of this size.
    Included(usize),
    /// The payload, of this size, was too large for the dead-letter topic.
    Omitted(usize),
}

impl Payload {
    /// Size of the payload in bytes.
    pub const fn bytes(self) -> usize {
        match self {
            Self::None => 0,
            Self::Included(bytes) | Self::Omitted(bytes) => bytes,
        }
    }
}

/// A record that could not land. With its source, the offset is its identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    /// The origin of the record.
    pub source: Arc<Source>,
    /// Offset of the record.
    pub offset: i64,
    /// Position of the letter.
    pub position: Position,
    /// When it became a dead letter, in milliseconds since 1970.
    pub at_ms: i64,
    /// Why it could not land.
    pub reason: String,
    /// The stage that rejected it.
    pub stage: String,
    /// The record's tenant, if readable.
    pub tenant: Option<Uuid>,
    /// Number of attempts to land it.
    pub attempts: u32,
    /// Whether the letter contains the record's payload.
    pub payload: Payload,
    /// The letter's contents, if requested.
    pub contents: Option<Contents>,
}

/// The contents of a letter, which are personal data.
#[derive(Clone, PartialEq, Eq)]
pub struct Contents {
    /// The record's key.
    pub key: Option<Vec<u8>>,
    /// The record's payload.
    pub payload: Option<Vec<u8>>,
    /// The record's own headers, then the worker's.
    pub headers: Headers,
}

impl std::fmt::Debug for Contents {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Contents").finish_non_exhaustive()
    }
}

/// A raw record of the dead-letter topic.
#[derive(Debug)]
pub struct Raw<'a> {
    /// Position in the topic.
    pub position: Position,
    /// Timestamp, in milliseconds since 1970.
    pub at_ms: i64,
    /// Key.
    pub key: Option<&'a [u8]>,
    /// Payload.
    pub payload: Option<&'a [u8]>,
    /// Headers.
    pub headers: Headers,
}

impl Letter {
    /// Parses a record of the dead-letter topic; `with_contents` keeps its contents. `None` if no worker wrote it.
    pub fn read(raw: Raw<'_>, with_contents: bool) -> Option<Self> {
        let first = raw.headers.iter().rposition(|(name, _)| name == header::REASON)?;
        let (record_headers, worker_headers) = raw.headers.split_at(first);
        let text = |name| text(worker_headers.iter().find(|(key, _)| key == name)?);
        let source = Source {
            topic: text(header::TOPIC)?.to_owned(),
            topic_id: text(header::TOPIC_ID).and_then(|id| id.parse().ok()),
            partition: text(header::PARTITION)?.parse().ok()?,
        };
        Some(Self {
            source: Arc::new(source),
            offset: text(header::OFFSET)?.parse().ok()?,
            position: raw.position,
            at_ms: raw.at_ms,
            reason: text(header::REASON)?.to_owned(),
            stage: text(header::STAGE)?.to_owned(),
            tenant: text(header::TENANT).and_then(|id| id.parse().ok()),
            attempts: text(header::ATTEMPTS)?.parse().ok()?,
            payload: payload(raw.payload, record_headers),
            contents: with_contents.then(|| Contents {
                key: raw.key.map(<[u8]>::to_vec),
                payload: raw.payload.map(<[u8]>::to_vec),
                headers: raw.headers,
            }),
        })
    }
}

fn text((_, value): &(String, Option<Vec<u8>>)) -> Option<&str> {
    std::str::from_utf8(value.as_deref()?).ok()
}

/// A letter that omits the payload has its size in the header directly before the reason.
fn payload(payload: Option<&[u8]>, record_headers: &[(String, Option<Vec<u8>>)]) -> Payload {
    let omitted_bytes = || text(record_headers.last().filter(|(name, _)| name == header::PAYLOAD_BYTES)?)?.parse().ok();
    match payload {
        Some(payload) => Payload::Included(payload.len()),
        None => omitted_bytes().map_or(Payload::None, Payload::Omitted),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Headers as a worker writes them.
    pub(crate) fn worker_headers(changes: &[(&str, &str)]) -> Headers {
        let defaults = [
            (header::REASON, "wrong_type"),
            (header::STAGE, "decode"),
            (header::ERROR_CLASS, "row"),
            (header::TOPIC, "ns.events"),
            (header::TOPIC_ID, "00000000-0000-0000-0000-000000000007"),
            (header::PARTITION, "3"),
            (header::OFFSET, "17"),
            (header::TIMESTAMP, "1000"),
            (header::ATTEMPTS, "1"),
            (header::TENANT, "00000000-0000-0000-0000-000000000001"),
        ];
        let change = |name: &str| changes.iter().find(|(changed, _)| *changed == name).map(|(_, value)| *value);
        let headers = defaults.iter().filter_map(|(name, value)| {
            let value = change(name).unwrap_or(value);
            (!value.is_empty()).then(|| ((*name).to_owned(), Some(value.as_bytes().to_vec())))
        });
        headers.collect()
    }

    pub(crate) fn letter(changes: &[(&str, &str)]) -> Option<Letter> {
        read(worker_headers(changes), Some(b"{}"))
    }

    fn read(headers: Headers, payload: Option<&[u8]>) -> Option<Letter> {
        let position = Position { partition: 1, offset: 5 };
        Letter::read(Raw { position, at_ms: 2000, key: None, payload, headers }, false)
    }

    fn with_first(name: &str, value: &str) -> Headers {
        let mut headers = vec![(name.to_owned(), Some(value.as_bytes().to_vec()))];
        headers.extend(worker_headers(&[(header::TOPIC_ID, ""), (header::TENANT, "")]));
        headers
    }

    #[test]
    fn a_workers_headers_are_read() {
        let letter = letter(&[]).unwrap();
        let Source { topic, topic_id, partition } = &*letter.source;
        assert_eq!(
            (topic.as_str(), *topic_id, *partition, letter.offset),
            ("ns.events", Some(Uuid::from_u128(7)), 3, 17)
        );
        assert_eq!((letter.reason.as_str(), letter.stage.as_str(), letter.attempts), ("wrong_type", "decode", 1));
        assert_eq!((letter.tenant, letter.payload), (Some(Uuid::from_u128(1)), Payload::Included(2)));
    }

    #[test]
    fn a_records_own_headers_are_never_read_as_a_workers() {
        let spoofed = with_first(header::TENANT, "00000000-0000-0000-0000-000000000009");
        assert_eq!(read(spoofed, Some(b"{}")).unwrap().tenant, None);
        let spoofed = with_first(header::TOPIC_ID, "00000000-0000-0000-0000-000000000009");
        assert_eq!(read(spoofed, Some(b"{}")).unwrap().source.topic_id, None);
        let twice = [worker_headers(&[(header::REASON, "own"), (header::OFFSET, "1")]), worker_headers(&[])].concat();
        let letter = read(twice, Some(b"{}")).unwrap();
        assert_eq!((letter.reason.as_str(), letter.offset), ("wrong_type", 17));
    }

    #[test]
    fn an_omitted_payload_differs_from_a_missing_one() {
        assert_eq!(read(worker_headers(&[]), None).unwrap().payload, Payload::None);
        assert_eq!(read(with_first(header::PAYLOAD_BYTES, "99"), None).unwrap().payload, Payload::Omitted(99));
        assert_eq!(read(with_first(header::PAYLOAD_BYTES, "99"), Some(b"x")).unwrap().payload, Payload::Included(1));
    }

    #[test]
    fn records_of_other_programs_are_not_letters() {
        assert_eq!(read(Vec::new(), Some(b"hello")), None);
        for missing in [header::TOPIC, header::PARTITION, header::OFFSET, header::STAGE] {
            assert_eq!(letter(&[(missing, "")]), None, "{missing}");
        }
        assert_eq!(letter(&[(header::OFFSET, "many")]), None);
    }
}
