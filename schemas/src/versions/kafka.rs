//! The level of a Kafka cluster's metadata, from the broker's answer to ApiVersions, which librdkafka doesn't pass on. It
//! opens one connection without encryption, as the other clients do, and never sends another request.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// `ApiVersions` of version 3, the first with features; the header has version 2.
const REQUEST: &[u8] = b"\x00\x12\x00\x03\x00\x00\x00\x01\x00\x06sluice\x00\x07sluice\x021\x00";
/// Maximum length of an answer. A broker's has about 600 bytes.
const MAX_ANSWER: usize = 1 << 20;
/// The feature that a cluster's release raises.
const FEATURE: &[u8] = b"metadata.version";
/// Tag of the finalized features in the answer.
const FINALIZED: u64 = 2;

/// The level that the cluster of `brokers` (`host:port`, separated by commas) runs at, such as "metadata version 27".
pub(super) async fn metadata_version(brokers: &str) -> Option<String> {
    let broker = brokers.split(',').next()?.trim();
    let mut connection = TcpStream::connect(broker).await.ok()?;
    connection.write_all(&(REQUEST.len() as u32).to_be_bytes()).await.ok()?;
    connection.write_all(REQUEST).await.ok()?;
    let length = connection.read_u32().await.ok()? as usize;
    let mut answer = vec![0; Some(length).filter(|length| *length <= MAX_ANSWER)?];
    connection.read_exact(&mut answer).await.ok()?;
    level(&answer).map(|level| format!("metadata version {level}"))
}

/// The level in an answer; `None` if it has another form or names no such feature.
fn level(answer: &[u8]) -> Option<u16> {
    let mut bytes = Bytes(answer);
    bytes.take(4)?; // correlation id
    if bytes.u16()? != 0 {
        return None;
    }
    for _ in 1..bytes.varint()? {
        bytes.take(6)?; // api key, lowest and highest version
        bytes.skip_tags()?;
    }
    bytes.take(4)?; // throttle time
    for _ in 0..bytes.varint()? {
        let (tag, length) = (bytes.varint()?, bytes.varint()?);
        let contents = bytes.take(length as usize)?;
        if tag == FINALIZED {
            return finalized(contents);
        }
    }
    None
}

fn finalized(features: &[u8]) -> Option<u16> {
    let mut bytes = Bytes(features);
    for _ in 1..bytes.varint()? {
        let length = bytes.varint()?.checked_sub(1)?;
        let name = bytes.take(length as usize)?;
        let (highest, _lowest) = (bytes.u16()?, bytes.u16()?);
        if name == FEATURE {
            return Some(highest);
        }
        bytes.skip_tags()?;
    }
    None
}

/// What is left of an answer.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn u16(&mut self) -> Option<u16> {
        self.take(2).map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    /// An unsigned number of at most 63 bits, seven in each byte, the lowest first.
    fn varint(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..63).step_by(7) {
            let byte = self.take(1)?[0];
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    fn skip_tags(&mut self) -> Option<()> {
        for _ in 0..self.varint()? {
            self.varint()?;
            let length = self.varint()?;
            self.take(length as usize)?;
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// One API, then the tags: supported features, the epoch, and two finalized features.
    fn answer() -> Vec<u8> {
        let features = [&b"\x03\x0egroup.version\x00\x01\x00\x00\x00"[..], b"\x11metadata.version\x00\x1b\x00\x01\x00"];
        let features = features.concat();
        let start = b"\x00\x00\x00\x01\x00\x00\x02\x00\x12\x00\x00\x00\x04\x00\x00\x00\x00\x00\x02\x01\x08\x00\x00\x00\x00\x00\x00\x00\x01";
        [&start[..], &[2, features.len() as u8], &features].concat()
    }

    #[test]
    fn the_level_is_read_from_the_finalized_features() {
        assert_eq!(level(&answer()), Some(27));
        let without = answer().iter().map(|&byte| if byte == b'm' { b'n' } else { byte }).collect::<Vec<_>>();
        assert_eq!(level(&without), None);
    }

    proptest! {
        #[test]
        fn any_other_answer_is_refused_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _: Option<u16> = level(&bytes);
        }

        #[test]
        fn an_answer_that_is_cut_off_is_refused(length in 0_usize..70) {
            let whole = answer();
            let cut = &whole[..length.min(whole.len() - 6)];
            prop_assert_eq!(level(cut), None);
        }
    }
}
