//! The bytes of encoded rows, in pooled chunks.
//! A body can be sliced and sent without copying it. Chunks of the largest size return to their pool when the last
//! reference is dropped, because fresh memory costs as much as the encoding: the kernel clears it page by page. The pool
//! never holds more chunks than were in use at once.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::ops::Range;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

/// Smallest and largest chunk, in bytes; a longer row gets a chunk of its own size. With small chunks, many slow partitions do not use up the budget with empty space.
pub const CHUNK_BYTES: std::ops::RangeInclusive<usize> = 16 * 1024..=256 * 1024;

/// Unused chunks of the largest size.
#[derive(Debug, Default)]
pub struct Pool {
    free: Mutex<Vec<Vec<u8>>>,
}

impl Pool {
    fn free(&self) -> MutexGuard<'_, Vec<Vec<u8>>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> Vec<u8> {
        self.free().pop().unwrap_or_else(|| Vec::with_capacity(*CHUNK_BYTES.end()))
    }

    /// Frees unused chunks until at most `bytes` remain.
    pub fn shrink_to(&self, bytes: usize) {
        self.free().truncate(bytes / CHUNK_BYTES.end());
    }
}

/// A chunk that returns to its pool when the last reference to it is dropped.
#[derive(Debug)]
struct PooledChunk {
    bytes: Vec<u8>,
    pool: Arc<Pool>,
}

impl AsRef<[u8]> for PooledChunk {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for PooledChunk {
    fn drop(&mut self) {
        let mut chunk = std::mem::take(&mut self.bytes);
        if chunk.capacity() == *CHUNK_BYTES.end() {
            chunk.clear();
            self.pool.free().push(chunk);
        }
    }
}

/// A body that accepts rows.
#[derive(Debug)]
pub struct OpenBody {
    full: Body,
    chunk: PooledChunk,
    /// Capacity of all its chunks, in bytes.
    capacity: usize,
}

impl OpenBody {
    /// Creates an empty body; it allocates nothing before the first row.
    pub fn new(pool: &Arc<Pool>) -> Self {
        let chunk = PooledChunk { bytes: Vec::new(), pool: Arc::clone(pool) };
        Self { full: Body::default(), chunk, capacity: 0 }
    }

    /// Appends a row; returns by how many bytes the capacity grew.
    pub fn push(&mut self, row: &[u8]) -> usize {
        let room = self.chunk.bytes.capacity() - self.chunk.bytes.len();
        let (fits, rest) = row.split_at(row.len().min(room));
        self.chunk.bytes.extend_from_slice(fits);
        if rest.is_empty() {
            return 0;
        }
        let size = rest.len().max(self.capacity.clamp(*CHUNK_BYTES.start(), *CHUNK_BYTES.end()));
        let pool = Arc::clone(&self.chunk.pool);
        let bytes = if size == *CHUNK_BYTES.end() { pool.take() } else { Vec::with_capacity(size) };
        let grown = bytes.capacity();
        self.full.close(std::mem::replace(&mut self.chunk, PooledChunk { bytes, pool }));
        self.chunk.bytes.extend_from_slice(rest);
        self.capacity += grown;
        grown
    }

    /// Number of bytes in all rows.
    pub fn bytes(&self) -> usize {
        self.full.length + self.chunk.bytes.len()
    }

    /// Ends the body: it accepts no more rows.
    pub fn seal(mut self) -> Body {
        self.full.close(self.chunk);
        self.full
    }
}

/// Bytes in chunks. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Body {
    chunks: Vec<Bytes>,
    length: usize,
}

impl Body {
    /// Number of bytes.
    pub fn bytes(&self) -> usize {
        self.length
    }

    fn push(&mut self, chunk: Bytes) {
        self.length += chunk.len();
        self.chunks.push(chunk);
    }

    fn close(&mut self, chunk: PooledChunk) {
        if !chunk.bytes.is_empty() {
            self.push(Bytes::from_owner(chunk));
        }
    }

    /// Appends a range of another body's bytes, which both then share.
    pub fn append(&mut self, other: &Self, range: Range<usize>) {
        let mut start = 0;
        for chunk in &other.chunks {
            let end = start + chunk.len();
            let (from, to) = (range.start.max(start), range.end.min(end));
            if from < to {
                self.push(chunk.slice(from - start..to - start));
            }
            start = end;
        }
    }

    /// A contiguous copy of all bytes.
    pub fn to_vec(&self) -> Vec<u8> {
        self.chunks.concat()
    }

    /// The body of a request: `head`, then these bytes.
    pub fn to_request(&self, head: &Bytes) -> RequestBody {
        let chunks = std::iter::once(head).filter(|head| !head.is_empty()).chain(&self.chunks).cloned().collect();
        RequestBody { chunks, remaining: (head.len() + self.length) as u64 }
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Self {
        Self { length: bytes.len(), chunks: vec![bytes.into()] }
    }
}

impl PartialEq for Body {
    fn eq(&self, other: &Self) -> bool {
        self.length == other.length && self.chunks.iter().flatten().eq(other.chunks.iter().flatten())
    }
}

impl Eq for Body {}

/// The body of a request. Its exact length is declared, so the server detects a truncated one.
#[derive(Debug)]
pub struct RequestBody {
    chunks: VecDeque<Bytes>,
    /// Bytes that are not sent yet.
    remaining: u64,
}

impl http_body::Body for RequestBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let next = self.chunks.pop_front();
        self.remaining -= next.as_ref().map_or(0, |chunk| chunk.len() as u64);
        Poll::Ready(next.map(|chunk| Ok(Frame::data(chunk))))
    }

    fn is_end_stream(&self) -> bool {
        self.chunks.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.remaining)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_chunk_returns_to_the_pool_when_its_last_reference_is_dropped() {
        let pool = Arc::new(Pool::default());
        let mut open = OpenBody::new(&pool);
        let grown: Vec<_> = (0..8).map(|_| open.push(&vec![7; 200 << 10]) >> 10).collect();
        assert_eq!(grown, [200, 200, 256, 256, 256, 256, 0, 256], "KiB");
        let body = open.seal();
        let mut slice = Body::default();
        slice.append(&body, 500 << 10..600 << 10);
        drop(body);
        assert_eq!(pool.free().len(), 4, "one is in use, and two have another size");
        drop(slice);
        assert_eq!(pool.free().len(), 5);
        pool.shrink_to(600 << 10);
        assert_eq!(pool.free().len(), 2);
        assert_eq!(OpenBody::new(&pool).push(&vec![0; 256 << 10]) >> 10, 256);
        assert_eq!(pool.free().len(), 2, "a dropped open body returns its chunk");
    }

    proptest! {
        /// Compares with one list of bytes: everything that is pushed or sliced is present, in order.
        #[test]
        fn a_body_is_the_concatenation_of_its_rows(
            sizes in proptest::collection::vec(prop_oneof![0_usize..500, 0_usize..300_000], 1..40),
            slices in proptest::collection::vec((0_usize..2_000_000, 0_usize..2_000_000), 1..5),
        ) {
            let pool = Arc::new(Pool::default());
            let (mut open, mut expected, mut grown) = (OpenBody::new(&pool), Vec::new(), 0);
            for (number, size) in (0_u8..).zip(&sizes) {
                let row: Vec<u8> = (0..*size).map(|index| number.wrapping_mul(31) ^ index as u8).collect();
                grown += open.push(&row);
                expected.extend_from_slice(&row);
                prop_assert_eq!(open.bytes(), expected.len());
                prop_assert!((expected.len()..=2 * expected.len().max(*CHUNK_BYTES.start())).contains(&grown));
            }
            let body = open.seal();
            prop_assert_eq!(body.to_vec(), expected.clone());
            let (mut joined, mut expected_joined) = (Body::default(), Vec::new());
            for (from, to) in slices {
                let (from, to) = (from.min(to) % (expected.len() + 1), from.max(to).min(expected.len()));
                joined.append(&body, from..to);
                expected_joined.extend_from_slice(expected.get(from..to).unwrap_or_default());
            }
            prop_assert_eq!(joined.bytes(), expected_joined.len());
            prop_assert_eq!(&joined, &Body::from(expected_joined));
        }
    }
}
