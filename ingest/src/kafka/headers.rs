//! A record's own headers as they are: names and values are bytes, and a producer may put anything into them.
//! A consumed message goes in, owned headers come out, bounded in number and bytes. The safe crate panics on a name that is
//! not UTF-8, which would let one record stop a worker for good, so librdkafka is asked here itself.
//!
//! librdkafka parses the headers of a message as a whole when it is asked for the first one, at some 64 bytes each, and
//! frees them with the message. It parses none at all where there are more than 100,000.
#![expect(
    unsafe_code,
    reason = "rdkafka unwraps header names as UTF-8; every pointer here is librdkafka's own and read only"
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

/// Most headers of a record that its dead letter carries. With the worker's own they stay far below librdkafka's limit,
/// so whatever was written can be read again.
pub const MOST: usize = 1000;
/// Most bytes of their names and values together.
pub const MOST_BYTES: usize = 256 * 1024;

/// The headers that a dead letter carries, and what is left out.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// In order.
    pub headers: Headers,
    /// What does not fit.
    pub left_out: Option<HeadersLeftOut>,
}

/// The headers of a record for its dead letter: in order, each that still fits. Values are byte for byte; in a name, what
/// is not UTF-8 becomes U+FFFD, since the producer of dead letters takes text.
pub fn bounded(message: &BorrowedMessage<'_>) -> Kept {
    match parse(message) {
        Parsed::None => Kept::default(),
        Parsed::Unreadable => Kept { headers: Headers::new(), left_out: Some(HeadersLeftOut::Unreadable) },
        Parsed::Some(all) => {
            let most = if is_injected(Fault::KeepAllHeaders) { usize::MAX } else { MOST };
            keep((0..).map_while(|index| all.nth(index)), most, MOST_BYTES)
        }
    }
}

/// All headers of a record; none where librdkafka cannot parse them.
pub fn all(message: &BorrowedMessage<'_>) -> Headers {
    let Parsed::Some(all) = parse(message) else { return Headers::new() };
    (0..).map_while(|index| all.nth(index)).map(owned).collect()
}

/// The headers of a record from the one before the last of that name on; none where there is none.
pub fn from_last(message: &BorrowedMessage<'_>, name: &str) -> Headers {
    let Parsed::Some(all) = parse(message) else { return Headers::new() };
    let is_meant = |index: &usize| all.nth(*index).is_some_and(|(own, _)| own == name);
    let Some(last) = (0..all.count()).rev().find(is_meant) else { return Headers::new() };
    (last.saturating_sub(1)..).map_while(|index| all.nth(index)).map(owned).collect()
}

type One<'a> = (Cow<'a, str>, Option<&'a [u8]>);

fn owned((name, value): One<'_>) -> (String, Option<Vec<u8>>) {
    (name.into_owned(), value.map(<[u8]>::to_vec))
}

fn keep<'a>(headers: impl Iterator<Item = One<'a>>, most: usize, most_bytes: usize) -> Kept {
    let (mut kept, mut room) = (Headers::new(), most_bytes);
    let (mut count, mut bytes) = (0, 0);
    for (name, value) in headers {
        let size = name.len() + value.map_or(0, <[u8]>::len);
        if kept.len() < most && size <= room {
            room -= size;
            kept.push(owned((name, value)));
        } else {
            count += 1;
            bytes += size;
        }
    }
    Kept { headers: kept, left_out: (count > 0).then_some(HeadersLeftOut::Counted { count, bytes }) }
}

/// What librdkafka has made of a message's headers.
enum Parsed<'a> {
    None,
    Unreadable,
    Some(Native<'a>),
}

/// Headers in librdkafka's memory, which live as long as their message.
struct Native<'a>(*const sys::rd_kafka_headers_t, std::marker::PhantomData<&'a ()>);

fn parse<'a>(message: &'a BorrowedMessage<'_>) -> Parsed<'a> {
    use sys::rd_kafka_resp_err_t as Code;
    let mut headers = ptr::null_mut();
    // SAFETY: the message lives for the whole call; librdkafka parses its headers once and keeps them with the message.
    let found = unsafe { sys::rd_kafka_message_headers(message.ptr(), &raw mut headers) };
    match found {
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

    fn nth(&self, index: usize) -> Option<One<'a>> {
        let (mut name, mut value, mut size) = (ptr::null(), ptr::null(), 0);
        // SAFETY: the headers are the message's own; past the last index librdkafka answers with an error and writes nothing.
        let found =
            unsafe { sys::rd_kafka_header_get_all(self.0, index, &raw mut name, &raw mut value, &raw mut size) };
        if found != sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR || name.is_null() {
            return None;
        }
        // SAFETY: librdkafka ends names with a zero byte, and a value that is not null has `size` bytes; both live as long
        // as the message, and nothing changes them meanwhile.
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

    fn kept(sizes: &[usize], most: usize, most_bytes: usize) -> (usize, Option<HeadersLeftOut>) {
        let values: Vec<_> = sizes.iter().map(|size| vec![0; size - 1]).collect();
        let headers = values.iter().map(|value| (Cow::Borrowed("n"), Some(value.as_slice())));
        let kept = keep(headers, most, most_bytes);
        (kept.headers.len(), kept.left_out)
    }

    #[test]
    fn what_does_not_fit_is_counted_and_the_rest_is_kept() {
        let left_out = |count, bytes| Some(HeadersLeftOut::Counted { count, bytes });
        assert_eq!(kept(&[10, 10, 10], 3, 30), (3, None), "exactly at both limits");
        assert_eq!(kept(&[10, 10, 10], 2, 30), (2, left_out(1, 10)));
        assert_eq!(kept(&[10, 10, 10], 3, 29), (2, left_out(1, 10)));
        assert_eq!(kept(&[10, 90, 10], 3, 30), (2, left_out(1, 90)), "a large one leaves room for small ones after it");
        assert_eq!(kept(&[], 0, 0), (0, None));
    }
}
