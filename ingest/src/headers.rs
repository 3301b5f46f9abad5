//! A record's own headers as they are: names and values are bytes, and a producer may put anything into them.
//! A consumed message goes in, owned headers come out. The safe crate panics on a name that is not UTF-8, which would let
//! one record stop a worker for good, so librdkafka is asked here itself.
#![expect(
    unsafe_code,
    reason = "rdkafka unwraps header names as UTF-8; every pointer here is librdkafka's own and read only"
)]

use std::ffi::CStr;
use std::ptr;

use rdkafka::bindings as sys;
use rdkafka::message::BorrowedMessage;

/// The headers in order. Values are byte for byte; in a name, what is not UTF-8 becomes U+FFFD, since the producer of dead
/// letters takes text.
pub fn of(message: &BorrowedMessage<'_>) -> Vec<(String, Option<Vec<u8>>)> {
    let mut headers = ptr::null_mut();
    // SAFETY: the message lives for the whole call; librdkafka parses its headers once and keeps them with the message.
    let found = unsafe { sys::rd_kafka_message_headers(message.ptr(), &raw mut headers) };
    if found != sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR || headers.is_null() {
        return Vec::new();
    }
    (0..).map_while(|index| nth(headers, index)).collect()
}

fn nth(headers: *const sys::rd_kafka_headers_t, index: usize) -> Option<(String, Option<Vec<u8>>)> {
    let (mut name, mut value, mut size) = (ptr::null(), ptr::null(), 0);
    // SAFETY: `headers` is the message's own; past the last index librdkafka answers with an error and writes nothing.
    let found = unsafe { sys::rd_kafka_header_get_all(headers, index, &raw mut name, &raw mut value, &raw mut size) };
    if found != sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR || name.is_null() {
        return None;
    }
    // SAFETY: librdkafka ends names with a zero byte, and a value that is not null has `size` bytes; both are copied.
    let (name, value) = unsafe {
        let name = CStr::from_ptr(name).to_string_lossy().into_owned();
        (name, (!value.is_null()).then(|| std::slice::from_raw_parts(value.cast::<u8>(), size).to_vec()))
    };
    Some((name, value))
}
