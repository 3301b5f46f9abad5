//! Encoded rows on their way to a store, in chunks that are used again.
//! Rows go in one after the other; out comes a body that can be cut and sent without copying it. A chunk that was sent
//! goes back to where it came from, since fresh memory costs as much as the encoding: the kernel clears it page by page.
//! It never copies a row that is in a body, and never keeps more chunks than it was ever asked for.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::ops::Range;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

/// Smallest and largest chunk, in bytes. Small ones keep the budget of many slow partitions honest.
pub const CHUNK: std::ops::RangeInclusive<usize> = 16 * 1024..=256 * 1024;

/// Chunks of the largest size that wait for their next use.
#[derive(Debug, Default)]
pub struct Pool {
    free: Mutex<Vec<Vec<u8>>>,
}

impl Pool {
    fn free(&self) -> MutexGuard<'_, Vec<Vec<u8>>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> Vec<u8> {
        self.free().pop().unwrap_or_else(|| Vec::with_capacity(*CHUNK.end()))
    }

    /// Lets go of the chunks that are more than `bytes` together.
    pub fn shrink_to(&self, bytes: usize) {
        self.free().truncate(bytes / CHUNK.end());
    }
}

/// A chunk that goes back to its pool when the last body lets go of it.
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
        if chunk.capacity() == *CHUNK.end() {
            chunk.clear();
            self.pool.free().push(chunk);
        }
    }
}

/// A body that takes rows in.
#[derive(Debug)]
pub struct OpenBody {
    full: Body,
    chunk: PooledChunk,
    /// Of all its chunks.
    capacity: usize,
}

impl OpenBody {
    /// An empty body; it takes no memory yet.
    pub fn new(pool: &Arc<Pool>) -> Self {
        let chunk = PooledChunk { bytes: Vec::new(), pool: Arc::clone(pool) };
        Self { full: Body::default(), chunk, capacity: 0 }
    }

    /// Takes a row in; gives back by how many bytes the memory of this body grew.
    pub fn push(&mut self, row: &[u8]) -> usize {
        let room = self.chunk.bytes.capacity() - self.chunk.bytes.len();
        let (fits, rest) = row.split_at(row.len().min(room));
        self.chunk.bytes.extend_from_slice(fits);
        if rest.is_empty() {
            return 0;
        }
        let size = rest.len().max(self.capacity.clamp(*CHUNK.start(), *CHUNK.end()));
        let pool = Arc::clone(&self.chunk.pool);
        let bytes = if size == *CHUNK.end() { pool.take() } else { Vec::with_capacity(size) };
        let grown = bytes.capacity();
        self.full.close(std::mem::replace(&mut self.chunk, PooledChunk { bytes, pool }));
        self.chunk.bytes.extend_from_slice(rest);
        self.capacity += grown;
        grown
    }

    /// How many bytes of rows it holds.
    pub fn bytes(&self) -> usize {
        self.full.length + self.chunk.bytes.len()
    }

    /// Closes it for good.
    pub fn seal(mut self) -> Body {
        self.full.close(self.chunk);
        self.full
    }
}

/// Bytes in chunks. A clone shares them.
#[derive(Debug, Clone, Default)]
pub struct Body {
    chunks: Vec<Bytes>,
    length: usize,
}

impl Body {
    /// How many bytes.
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

    /// Takes a part of another body in, and shares its bytes.
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

    /// All bytes in one piece.
    pub fn to_vec(&self) -> Vec<u8> {
        self.chunks.concat()
    }

    /// The bytes as a request sends them, after `head`.
    pub fn sent(&self, head: &Bytes) -> RequestBody {
        let chunks = std::iter::once(head).filter(|head| !head.is_empty()).chain(&self.chunks).cloned().collect();
        RequestBody { chunks, left: (head.len() + self.length) as u64 }
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

/// A body on its way. It says its length beforehand, so a server notices when it is cut off.
#[derive(Debug)]
pub struct RequestBody {
    chunks: VecDeque<Bytes>,
    left: u64,
}

impl http_body::Body for RequestBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let next = self.chunks.pop_front();
        self.left -= next.as_ref().map_or(0, |chunk| chunk.len() as u64);
        Poll::Ready(next.map(|chunk| Ok(Frame::data(chunk))))
    }

    fn is_end_stream(&self) -> bool {
        self.chunks.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_chunk_comes_back_once_nobody_holds_a_part_of_it() {
        let pool = Arc::new(Pool::default());
        let mut open = OpenBody::new(&pool);
        let grown: Vec<_> = (0..8).map(|_| open.push(&vec![7; 200 << 10]) >> 10).collect();
        assert_eq!(grown, [200, 200, 256, 256, 256, 256, 0, 256], "KiB");
        let body = open.seal();
        let mut piece = Body::default();
        piece.append(&body, 500 << 10..600 << 10);
        drop(body);
        assert_eq!(pool.free().len(), 4, "one is in use, and two were of another size");
        drop(piece);
        assert_eq!(pool.free().len(), 5);
        pool.shrink_to(600 << 10);
        assert_eq!(pool.free().len(), 2);
        assert_eq!(OpenBody::new(&pool).push(&vec![0; 256 << 10]) >> 10, 256);
        assert_eq!(pool.free().len(), 2, "it was let go of before anything was in it");
    }

    proptest! {
        /// Against one long list of bytes: whatever is pushed and cut out is there, in order.
        #[test]
        fn a_body_is_its_rows_one_after_the_other(
            sizes in proptest::collection::vec(prop_oneof![0_usize..500, 0_usize..300_000], 1..40),
            cuts in proptest::collection::vec((0_usize..2_000_000, 0_usize..2_000_000), 1..5),
        ) {
            let pool = Arc::new(Pool::default());
            let (mut open, mut plain, mut grown) = (OpenBody::new(&pool), Vec::new(), 0);
            for (number, size) in (0_u8..).zip(&sizes) {
                let row: Vec<u8> = (0..*size).map(|at| number.wrapping_mul(31) ^ at as u8).collect();
                grown += open.push(&row);
                plain.extend_from_slice(&row);
                prop_assert_eq!(open.bytes(), plain.len());
                prop_assert!((plain.len()..=2 * plain.len().max(*CHUNK.start())).contains(&grown));
            }
            let body = open.seal();
            prop_assert_eq!(body.to_vec(), plain.clone());
            let (mut piece, mut own) = (Body::default(), Vec::new());
            for (from, to) in cuts {
                let (from, to) = (from.min(to) % (plain.len() + 1), from.max(to).min(plain.len()));
                piece.append(&body, from..to);
                own.extend_from_slice(plain.get(from..to).unwrap_or_default());
            }
            prop_assert_eq!(piece.bytes(), own.len());
            prop_assert_eq!(&piece, &Body::from(own));
        }
    }
}
