//! Counts what a bench allocates: the system's allocator with a counter before it.
//! Included by the benches that show allocations, each of which is a program of its own.

use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};

struct Counted;

static COUNT: AtomicU64 = AtomicU64::new(0);

#[global_allocator]
static ALLOCATOR: Counted = Counted;

#[expect(unsafe_code, reason = "an allocator cannot be written without, and there is no other way to count")]
// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counted {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        COUNT.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// Does `work` a thousand times and says how often it allocates each time.
#[expect(clippy::print_stderr, reason = "criterion has no place for counts")]
pub(crate) fn allocations<T>(what: &str, mut work: impl FnMut() -> T) {
    const TIMES: u32 = 1_000;
    let before = COUNT.load(Ordering::Relaxed);
    (0..TIMES).for_each(|_| drop(black_box(work())));
    let count = COUNT.load(Ordering::Relaxed) - before;
    eprintln!("{what}: {:.3} allocations each", count as f64 / f64::from(TIMES));
}
