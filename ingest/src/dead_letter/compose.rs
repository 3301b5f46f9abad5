//! Composes the [`DeadLetter`] of a consumed record, and the headers that it is sent with. It performs no I/O.

use rdkafka::message::{BorrowedMessage, Header, Message, OwnedHeaders};
use sluice_schemas::records::{DeadLetter, HeadersLeftOut, dead_letter_header as header};
use uuid::Uuid;

use super::omit::Omitted;
use crate::failure::Class;
use crate::kafka::headers as record_headers;

/// The dead letter of a record of the topic `topic_id`. If the payload has no readable tenant, the tenant is read from
/// a key of the form `tenant:customer`.
pub fn from_message(
    message: &BorrowedMessage<'_>,
    topic_id: Uuid,
    reason: &str,
    stage: &str,
    attempts: u32,
    tenant: Option<Uuid>,
) -> DeadLetter {
    let kept = record_headers::bounded(message);
    DeadLetter {
        key: message.key().map(<[u8]>::to_vec),
        payload: message.payload().map(<[u8]>::to_vec),
        headers: kept.headers,
        headers_left_out: kept.omitted,
        reason: reason.to_owned(),
        stage: stage.to_owned(),
        error_class: Class::Row.as_str().to_owned(),
        topic: message.topic().to_owned(),
        topic_id,
        partition: message.partition(),
        offset: message.offset(),
        timestamp_ms: message.timestamp().to_millis(),
        attempts,
        tenant_id: tenant.or_else(|| tenant_in_key(message.key()?)),
    }
}

/// The tenant at a dotted path in a payload.
pub fn tenant_at(payload: &[u8], path: &str) -> Option<Uuid> {
    let record: serde_json::Value = serde_json::from_slice(payload).ok()?;
    let field = path.split('.').try_fold(&record, |value, name| value.get(name))?;
    Uuid::try_parse(field.as_str()?).ok().filter(|tenant| !tenant.is_nil())
}

/// The tenant in a key of the form `tenant_id:customer_id`.
fn tenant_in_key(key: &[u8]) -> Option<Uuid> {
    let (tenant, suffix) = key.split_at_checked(36)?;
    if suffix.first() == Some(&b':') { Uuid::try_parse_ascii(tenant).ok() } else { None }
}

/// The headers of a complete letter: the record's own, then those that describe the record.
pub fn headers(letter: &DeadLetter) -> OwnedHeaders {
    headers_without(letter, Omitted::default())
}

/// The headers of a letter that omits some parts; they include the sizes of those parts.
pub(super) fn headers_without(letter: &DeadLetter, without: Omitted) -> OwnedHeaders {
    let mut headers = OwnedHeaders::new();
    if !without.headers {
        for (key, value) in &letter.headers {
            headers = headers.insert(Header { key, value: value.as_deref() });
        }
    }
    let size =
        |part: Option<&Vec<u8>>, is_omitted: bool| part.filter(|_| is_omitted).map(|part| part.len().to_string());
    // Readers expect this header directly before the reason.
    headers = insert(headers, header::PAYLOAD_BYTES, size(letter.payload.as_ref(), without.payload));
    let (count, bytes) = omission_headers(omitted_headers(letter, without));
    let values = [
        (header::REASON, Some(letter.reason.clone())),
        (header::STAGE, Some(letter.stage.clone())),
        (header::ERROR_CLASS, Some(letter.error_class.clone())),
        (header::TOPIC, Some(letter.topic.clone())),
        (header::TOPIC_ID, Some(letter.topic_id.to_string())),
        (header::PARTITION, Some(letter.partition.to_string())),
        (header::OFFSET, Some(letter.offset.to_string())),
        (header::TIMESTAMP, letter.timestamp_ms.map(|millis| millis.to_string())),
        (header::ATTEMPTS, Some(letter.attempts.to_string())),
        (header::TENANT, letter.tenant_id.map(|id| id.to_string())),
        (header::KEY_BYTES, size(letter.key.as_ref(), without.key)),
        (header::HEADERS_LEFT_OUT, count),
        (header::HEADER_BYTES_LEFT_OUT, bytes),
    ];
    values.into_iter().fold(headers, |headers, (key, value)| insert(headers, key, value))
}

fn insert(headers: OwnedHeaders, key: &str, value: Option<String>) -> OwnedHeaders {
    match value {
        Some(value) => headers.insert(Header { key, value: Some(&value) }),
        None => headers,
    }
}

/// The record's headers that are omitted: those that were never kept, and all others if the letter omits them.
fn omitted_headers(letter: &DeadLetter, without: Omitted) -> Option<HeadersLeftOut> {
    if !without.headers || letter.headers.is_empty() {
        return letter.headers_left_out;
    }
    let (count, bytes) = (letter.headers.len(), header_bytes(letter));
    Some(match letter.headers_left_out {
        None => HeadersLeftOut::Counted { count, bytes },
        Some(HeadersLeftOut::Counted { count: never_kept, bytes: never_kept_bytes }) => {
            HeadersLeftOut::Counted { count: count + never_kept, bytes: bytes + never_kept_bytes }
        }
        Some(HeadersLeftOut::Unreadable) => HeadersLeftOut::Unreadable,
    })
}

/// Total bytes of the names and values of the headers that were kept.
pub(super) fn header_bytes(letter: &DeadLetter) -> usize {
    letter.headers.iter().map(|(name, value)| name.len() + value.as_ref().map_or(0, Vec::len)).sum()
}

fn omission_headers(omitted: Option<HeadersLeftOut>) -> (Option<String>, Option<String>) {
    match omitted {
        None => (None, None),
        Some(HeadersLeftOut::Counted { count, bytes }) => (Some(count.to_string()), Some(bytes.to_string())),
        Some(HeadersLeftOut::Unreadable) => (Some("all".to_owned()), None),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use rdkafka::message::Headers;

    pub(crate) fn letter(key: usize, payload: usize, headers: &[usize]) -> DeadLetter {
        let part = |bytes: usize| (bytes > 0).then(|| vec![0; bytes]);
        DeadLetter {
            key: part(key),
            payload: part(payload),
            headers: headers.iter().map(|bytes| ("h".to_owned(), Some(vec![0; bytes - 1]))).collect(),
            headers_left_out: None,
            reason: "wrong_type".to_owned(),
            stage: "decode".to_owned(),
            error_class: "row".to_owned(),
            topic: "ns.events".to_owned(),
            topic_id: Uuid::from_u128(7),
            partition: 3,
            offset: 17,
            timestamp_ms: None,
            attempts: 1,
            tenant_id: None,
        }
    }

    fn header_value(letter: &DeadLetter, without: Omitted, name: &str) -> Option<String> {
        let headers = headers_without(letter, without);
        let header = headers.iter().find(|header| header.key == name)?;
        Some(String::from_utf8(header.value?.to_vec()).unwrap())
    }

    #[test]
    fn headers_state_the_size_of_omitted_parts() {
        let whole = letter(5, 9, &[10, 20]);
        for name in [header::PAYLOAD_BYTES, header::KEY_BYTES, header::HEADERS_LEFT_OUT] {
            assert_eq!(header_value(&whole, Omitted::default(), name), None);
        }
        let without = Omitted { payload: true, headers: true, key: true };
        assert_eq!(header_value(&whole, without, header::PAYLOAD_BYTES).as_deref(), Some("9"));
        assert_eq!(header_value(&whole, without, header::KEY_BYTES).as_deref(), Some("5"));
        assert_eq!(header_value(&whole, without, header::HEADERS_LEFT_OUT).as_deref(), Some("2"));
        assert_eq!(header_value(&whole, without, header::HEADER_BYTES_LEFT_OUT).as_deref(), Some("30"));
        assert_eq!(header_value(&whole, without, "h"), None);
        let nothing = letter(0, 0, &[]);
        assert_eq!(headers_without(&nothing, without).count(), headers(&nothing).count(), "there was nothing to omit");
    }

    #[test]
    fn headers_never_kept_count_as_omitted() {
        let omitted = |count, bytes| Some(HeadersLeftOut::Counted { count, bytes });
        let bomb = DeadLetter { headers_left_out: omitted(98_000, 500_000), ..letter(0, 0, &[10, 20]) };
        assert_eq!(header_value(&bomb, Omitted::default(), header::HEADERS_LEFT_OUT).as_deref(), Some("98000"));
        let without = Omitted { headers: true, ..Omitted::default() };
        assert_eq!(header_value(&bomb, without, header::HEADERS_LEFT_OUT).as_deref(), Some("98002"));
        assert_eq!(header_value(&bomb, without, header::HEADER_BYTES_LEFT_OUT).as_deref(), Some("500030"));
        let unreadable = DeadLetter { headers_left_out: Some(HeadersLeftOut::Unreadable), ..letter(0, 0, &[]) };
        assert_eq!(header_value(&unreadable, Omitted::default(), header::HEADERS_LEFT_OUT).as_deref(), Some("all"));
        assert_eq!(header_value(&unreadable, Omitted::default(), header::HEADER_BYTES_LEFT_OUT), None);
    }
}
