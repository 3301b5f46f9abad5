//! The system allocator with a counter, for benches that report allocations. Each bench includes this file as a module.
//! It counts allocations, not bytes.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicU64, Ordering};

struct CountingAllocator;

static COUNT: AtomicU64 = AtomicU64::new(0);

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

#[expect(unsafe_code, reason = "an allocator needs unsafe code, and there is no other way to count allocations")]
// SAFETY: every call is forwarded unchanged to the system allocator.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller upholds the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        COUNT.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller upholds the contract of `realloc`.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller upholds the contract of `dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// Runs `work`, which processes `units` units, and prints its allocations per unit.
#[expect(clippy::print_stderr, reason = "criterion cannot report counts")]
pub(crate) fn print_allocations(what: &str, units: u64, work: impl FnOnce()) {
    let before = COUNT.load(Ordering::Relaxed);
    work();
    let count = COUNT.load(Ordering::Relaxed) - before;
    eprintln!("{what}: {:.4} allocations each", count as f64 / units as f64);
}
