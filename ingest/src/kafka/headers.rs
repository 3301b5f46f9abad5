//! Reads a record's own headers verbatim: names and values are bytes, and a producer may write anything into them.
//! The result is bounded in number and bytes. The safe crate panics on a name that is not UTF-8, which would let one
//! record stop a worker permanently, so this module calls librdkafka directly.
//!
//! librdkafka parses all headers of a message when the first one is requested, using about 64 bytes for each, and frees
//! them with the message. It parses none if there are more than 100,000.
#![expect(
    unsafe_code,
    reason = "rdkafka unwraps header names as UTF-8; every pointer here belongs to librdkafka and is only read"
)]

use crate::fault::{Fault, is_injected};
use std::borrow::Cow;
use std::ffi::CStr;
use std::ptr;

use rdkafka::bindings as sys;
use rdkafka::message::BorrowedMessage;
use sluice_schemas::records::HeadersLeftOut;

/// Owned headers in order.
pub type Headers = Vec<(String, Option<Vec<u8>>)>;

/// Maximum number of a record's headers in its dead letter. Together with the worker's headers they stay far below
/// librdkafka's limit, so every letter can be read again.
pub const MAX_HEADERS: usize = 1000;
/// Maximum total bytes of those headers' names and values.
pub const MAX_HEADER_BYTES: usize = 256 * 1024;

/// The headers that a dead letter contains, and those that it omits.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct BoundedHeaders {
    /// The contained headers, in order.
    pub headers: Headers,
    /// Count and size of the headers that do not fit.
    pub omitted: Option<HeadersLeftOut>,
}

/// Returns the headers of a record for its dead letter: in order, each one that still fits. Values are byte for byte;
/// bytes in a name that are not UTF-8 become U+FFFD, since the producer of dead letters requires text.
pub fn bounded(message: &BorrowedMessage<'_>) -> BoundedHeaders {
    match parse(message) {
        Parsed::None => BoundedHeaders::default(),
        Parsed::Unreadable => BoundedHeaders { headers: Headers::new(), omitted: Some(HeadersLeftOut::Unreadable) },
        Parsed::Some(all) => {
            let max_count = if is_injected(Fault::KeepAllHeaders) { usize::MAX } else { MAX_HEADERS };
            keep((0..).map_while(|index| all.nth(index)), max_count, MAX_HEADER_BYTES)
        }
    }
}

/// All headers of a record; empty if librdkafka cannot parse them.
pub fn all(message: &BorrowedMessage<'_>) -> Headers {
    let Parsed::Some(all) = parse(message) else { return Headers::new() };
    (0..).map_while(|index| all.nth(index)).map(owned).collect()
}

/// The headers of a record, starting one before the last header of that name; empty without such a header.
pub fn from_last(message: &BorrowedMessage<'_>, name: &str) -> Headers {
    let Parsed::Some(all) = parse(message) else { return Headers::new() };
    let has_name = |index: &usize| all.nth(*index).is_some_and(|(key, _)| key == name);
    let Some(last) = (0..all.count()).rev().find(has_name) else { return Headers::new() };
    (last.saturating_sub(1)..).map_while(|index| all.nth(index)).map(owned).collect()
}

type Header<'a> = (Cow<'a, str>, Option<&'a [u8]>);

fn owned((name, value): Header<'_>) -> (String, Option<Vec<u8>>) {
    (name.into_owned(), value.map(<[u8]>::to_vec))
}

fn keep<'a>(headers: impl Iterator<Item = Header<'a>>, max_count: usize, max_bytes: usize) -> BoundedHeaders {
    let (mut kept, mut room) = (Headers::new(), max_bytes);
    let (mut count, mut bytes) = (0, 0);
    for (name, value) in headers {
        let size = name.len() + value.map_or(0, <[u8]>::len);
        if kept.len() < max_count && size <= room {
            room -= size;
            kept.push(owned((name, value)));
        } else {
            count += 1;
            bytes += size;
        }
    }
    BoundedHeaders { headers: kept, omitted: (count > 0).then_some(HeadersLeftOut::Counted { count, bytes }) }
}

/// The result of parsing a message's headers.
enum Parsed<'a> {
    None,
    Unreadable,
    Some(Native<'a>),
}

/// Headers in librdkafka's memory, valid as long as their message.
struct Native<'a>(*const sys::rd_kafka_headers_t, std::marker::PhantomData<&'a ()>);

fn parse<'a>(message: &'a BorrowedMessage<'_>) -> Parsed<'a> {
    use sys::rd_kafka_resp_err_t as Code;
    let mut headers = ptr::null_mut();
    // SAFETY: the message lives for the whole call; librdkafka parses its headers once and keeps them with the message.
    let code = unsafe { sys::rd_kafka_message_headers(message.ptr(), &raw mut headers) };
    match code {
        Code::RD_KAFKA_RESP_ERR_NO_ERROR if !headers.is_null() => {
            Parsed::Some(Native(headers, std::marker::PhantomData))
        }
        Code::RD_KAFKA_RESP_ERR_NO_ERROR | Code::RD_KAFKA_RESP_ERR__NOENT => Parsed::None,
        _ => Parsed::Unreadable,
    }
}

impl<'a> Native<'a> {
    fn count(&self) -> usize {
        // SAFETY: the headers are alive as long as their message.
        unsafe { sys::rd_kafka_header_cnt(self.0) }
    }

    fn nth(&self, index: usize) -> Option<Header<'a>> {
        let (mut name, mut value, mut size) = (ptr::null(), ptr::null(), 0);
        // SAFETY: the headers belong to the message; past the last index librdkafka returns an error and writes
        // nothing.
        let code = unsafe { sys::rd_kafka_header_get_all(self.0, index, &raw mut name, &raw mut value, &raw mut size) };
        if code != sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR || name.is_null() {
            return None;
        }
        // SAFETY: librdkafka ends names with a zero byte, and a value that is not null has `size` bytes; both live as
        // long as the message and are not modified.
        let (name, value) = unsafe {
            let value = (!value.is_null()).then(|| std::slice::from_raw_parts(value.cast::<u8>(), size));
            (CStr::from_ptr(name).to_string_lossy(), value)
        };
        Some((name, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(sizes: &[usize], max_count: usize, max_bytes: usize) -> (usize, Option<HeadersLeftOut>) {
        let values: Vec<_> = sizes.iter().map(|size| vec![0; size - 1]).collect();
        let headers = values.iter().map(|value| (Cow::Borrowed("n"), Some(value.as_slice())));
        let kept = keep(headers, max_count, max_bytes);
        (kept.headers.len(), kept.omitted)
    }

    #[test]
    fn headers_that_do_not_fit_are_counted_and_the_others_are_kept() {
        let omitted = |count, bytes| Some(HeadersLeftOut::Counted { count, bytes });
        assert_eq!(kept(&[10, 10, 10], 3, 30), (3, None), "exactly at both limits");
        assert_eq!(kept(&[10, 10, 10], 2, 30), (2, omitted(1, 10)));
        assert_eq!(kept(&[10, 10, 10], 3, 29), (2, omitted(1, 10)));
        assert_eq!(
            kept(&[10, 90, 10], 3, 30),
            (2, omitted(1, 90)),
            "an omitted large header leaves room for later small ones"
        );
        assert_eq!(kept(&[], 0, 0), (0, None));
    }
}
