//! A dead letter, written and read back. An input consists of header lines (`name=value` or `name` alone), an empty line and a
//! payload. The headers are used twice: as those of a letter, and as those of a record that becomes a letter.

use rdkafka::message::{Headers as _, OwnedHeaders};
use sluice_ingest::dead_letter::compose;
use sluice_ingest::dead_letter::letter::{Letter, Payload, Position, Raw};
use sluice_ingest::kafka::headers::Headers;
use sluice_schemas::records::{DeadLetter, dead_letter_header as header};
use uuid::Uuid;

/// Checks one input.
///
/// # Panics
/// If an invariant is violated.
pub fn check(input: &[u8]) {
    let (headers, payload) = parse_input(input);
    if let Some(letter) = read(headers.clone(), payload) {
        assert!(headers.iter().any(|(name, _)| name == header::REASON), "a letter has a reason");
        let is_here = payload.is_some_and(|payload| letter.payload == Payload::Included(payload.len()));
        assert!(is_here || payload.is_none() && !matches!(letter.payload, Payload::Included(_)));
    }
    let written = dead_letter(headers, payload);
    let read =
        read(to_headers(&compose::headers(&written)), payload).expect("a letter that a worker wrote can be read");
    let source = &read.source;
    assert_eq!((&source.topic, source.topic_id, source.partition), (&written.topic, Some(written.topic_id), 3));
    assert_eq!((&read.reason, &read.stage), (&written.reason, &written.stage));
    assert_eq!((read.offset, read.attempts, read.tenant), (written.offset, written.attempts, written.tenant_id));
    let contents = read.contents.expect("the contents were requested");
    assert_eq!((contents.key, contents.payload), (written.key, written.payload.clone()));
    assert_eq!(contents.headers[..written.headers.len()], written.headers, "a record's own headers come first");
    if let Some(payload) = written.payload {
        assert_eq!(read.payload, Payload::Included(payload.len()));
    }
}

fn parse_input(input: &[u8]) -> (Headers, Option<&[u8]>) {
    let end = input.windows(2).position(|pair| pair == b"\n\n");
    let (head, payload) = end.map_or((input, None), |end| (&input[..end], Some(&input[end + 2..])));
    let header = |line: &[u8]| {
        let (name, value) = match line.iter().position(|byte| *byte == b'=') {
            Some(at) => (&line[..at], Some(line[at + 1..].to_vec())),
            None => (line, None),
        };
        // Kafka's client never returns a name with a zero byte or invalid UTF-8.
        (String::from_utf8_lossy(name).replace('\0', ""), value)
    };
    (head.split(|byte| *byte == b'\n').map(header).collect(), payload)
}

fn read(headers: Headers, payload: Option<&[u8]>) -> Option<Letter> {
    let position = Position { partition: 0, offset: 1 };
    Letter::read(Raw { position, at_ms: 5, key: Some(b"key"), payload, headers }, true)
}

/// The dead letter of a record with these headers; its numbers are derived from their sizes.
fn dead_letter(headers: Headers, payload: Option<&[u8]>) -> DeadLetter {
    let number = headers.iter().map(|(name, _)| name.len()).sum::<usize>() as u32;
    DeadLetter {
        key: Some(b"key".to_vec()),
        payload: payload.map(<[u8]>::to_vec),
        reason: "wrong_type".to_owned(),
        stage: "decode".to_owned(),
        error_class: "row".to_owned(),
        topic: headers.first().map(|(name, _)| name.clone()).unwrap_or_default(),
        topic_id: Uuid::from_u128(u128::from(number)),
        partition: 3,
        offset: i64::from(number),
        timestamp_ms: number.is_multiple_of(2).then_some(i64::from(number)),
        attempts: headers.len() as u32,
        tenant_id: number.is_multiple_of(3).then(|| Uuid::from_u128(1)),
        headers,
        headers_left_out: None,
    }
}

fn to_headers(headers: &OwnedHeaders) -> Headers {
    headers.iter().map(|header| (header.key.to_owned(), header.value.map(<[u8]>::to_vec))).collect()
}
