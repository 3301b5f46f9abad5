//! Reads a record of the dead-letter topic as a [`Letter`]: the facts about it and, on request, its contents.
//! Key, payload and headers go in; a record that no worker wrote is skipped. Pure.
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
pub struct Place {
    /// Partition.
    pub partition: i32,
    /// Offset.
    pub offset: i64,
}

/// Whether a letter has its record's payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Payload {
    /// The record had none.
    None,
    /// The letter contains it; its size.
    Here(usize),
    /// It was too large for the dead-letter topic; its size.
    LeftOut(usize),
}

impl Payload {
    /// Its size in bytes.
    pub const fn bytes(self) -> usize {
        match self {
            Self::None => 0,
            Self::Here(bytes) | Self::LeftOut(bytes) => bytes,
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
    pub place: Place,
    /// When it became a dead letter, in milliseconds since 1970.
    pub at_ms: i64,
    /// Why it could not land.
    pub reason: String,
    /// The stage that rejected it.
    pub stage: String,
    /// Its tenant, if readable.
    pub tenant: Option<Uuid>,
    /// Number of attempts to land it.
    pub attempts: u32,
    /// Whether the letter has its payload.
    pub payload: Payload,
    /// Its contents, if requested.
    pub contents: Option<Contents>,
}

/// The contents of a letter: personal data.
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
    /// Its position.
    pub place: Place,
    /// Its timestamp, milliseconds since 1970.
    pub at_ms: i64,
    /// Its key.
    pub key: Option<&'a [u8]>,
    /// Its payload.
    pub payload: Option<&'a [u8]>,
    /// Its headers.
    pub headers: Headers,
}

impl Letter {
    /// Reads a record of the dead-letter topic; `whole` keeps its contents.
    pub fn read(raw: Raw<'_>, whole: bool) -> Option<Self> {
        let first = raw.headers.iter().rposition(|(name, _)| name == header::REASON)?;
        let (record_headers, about) = raw.headers.split_at(first);
        let text = |name| text(about.iter().find(|(key, _)| key == name)?);
        let source = Source {
            topic: text(header::TOPIC)?.to_owned(),
            topic_id: text(header::TOPIC_ID).and_then(|id| id.parse().ok()),
            partition: text(header::PARTITION)?.parse().ok()?,
        };
        Some(Self {
            source: Arc::new(source),
            offset: text(header::OFFSET)?.parse().ok()?,
            place: raw.place,
            at_ms: raw.at_ms,
            reason: text(header::REASON)?.to_owned(),
            stage: text(header::STAGE)?.to_owned(),
            tenant: text(header::TENANT).and_then(|id| id.parse().ok()),
            attempts: text(header::ATTEMPTS)?.parse().ok()?,
            payload: payload(raw.payload, record_headers),
            contents: whole.then(|| Contents {
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

/// A letter without its payload has the payload's size directly before the reason.
fn payload(payload: Option<&[u8]>, record_headers: &[(String, Option<Vec<u8>>)]) -> Payload {
    let left_out = || text(record_headers.last().filter(|(name, _)| name == header::PAYLOAD_BYTES)?)?.parse().ok();
    match payload {
        Some(payload) => Payload::Here(payload.len()),
        None => left_out().map_or(Payload::None, Payload::LeftOut),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Headers as a worker writes them.
    pub(crate) fn about(changes: &[(&str, &str)]) -> Headers {
        let usual = [
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
        let headers = usual.iter().filter_map(|(name, value)| {
            let value = change(name).unwrap_or(value);
            (!value.is_empty()).then(|| ((*name).to_owned(), Some(value.as_bytes().to_vec())))
        });
        headers.collect()
    }

    pub(crate) fn letter(changes: &[(&str, &str)]) -> Option<Letter> {
        read(about(changes), Some(b"{}"))
    }

    fn read(headers: Headers, payload: Option<&[u8]>) -> Option<Letter> {
        let place = Place { partition: 1, offset: 5 };
        Letter::read(Raw { place, at_ms: 2000, key: None, payload, headers }, false)
    }

    fn with_first(name: &str, value: &str) -> Headers {
        let mut headers = vec![(name.to_owned(), Some(value.as_bytes().to_vec()))];
        headers.extend(about(&[(header::TOPIC_ID, ""), (header::TENANT, "")]));
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
        assert_eq!((letter.tenant, letter.payload), (Some(Uuid::from_u128(1)), Payload::Here(2)));
    }

    #[test]
    fn a_records_own_headers_are_never_taken_for_a_workers() {
        let spoofed = with_first(header::TENANT, "00000000-0000-0000-0000-000000000009");
        assert_eq!(read(spoofed, Some(b"{}")).unwrap().tenant, None);
        let spoofed = with_first(header::TOPIC_ID, "00000000-0000-0000-0000-000000000009");
        assert_eq!(read(spoofed, Some(b"{}")).unwrap().source.topic_id, None);
        let twice = [about(&[(header::REASON, "own"), (header::OFFSET, "1")]), about(&[])].concat();
        let letter = read(twice, Some(b"{}")).unwrap();
        assert_eq!((letter.reason.as_str(), letter.offset), ("wrong_type", 17));
    }

    #[test]
    fn an_omitted_payload_differs_from_a_missing_one() {
        assert_eq!(read(about(&[]), None).unwrap().payload, Payload::None);
        assert_eq!(read(with_first(header::PAYLOAD_BYTES, "99"), None).unwrap().payload, Payload::LeftOut(99));
        assert_eq!(read(with_first(header::PAYLOAD_BYTES, "99"), Some(b"x")).unwrap().payload, Payload::Here(1));
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
