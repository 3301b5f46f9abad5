//! Allocator settings of an ingest worker: blocks larger than its usual buffers are returned to the system when freed,
//! others are kept for reuse.
//! By default, glibc raises its thresholds with every large block that is freed, up to 32 MiB for blocks and 64 MiB for
//! the free memory that an arena keeps. A threshold below librdkafka's buffer size costs a third of a worker's CPU
//! time, since the kernel zeroes fresh memory page by page. This module never replaces the allocator, and does nothing
//! without glibc.

#![expect(
    unsafe_code,
    reason = "mallopt has no safe call; it takes two numbers and is called before any thread starts"
)]

/// Blocks of this size or larger get their own mapping, in bytes.
const MAPPING_THRESHOLD: i32 = 8 * 1024 * 1024;
/// Free memory that an arena keeps at its end, in bytes.
const TRIM_THRESHOLD: i32 = 4 * MAPPING_THRESHOLD;
/// Maximum number of arenas for smaller blocks; the default is eight per processor.
const MAX_ARENAS: i32 = 2;

/// Applies the settings; called once, before any thread starts.
pub(crate) fn set_up() {
    #[cfg(target_env = "gnu")]
    // SAFETY: all three parameters are documented, their values are in range, and no other thread allocates yet.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, MAPPING_THRESHOLD);
        libc::mallopt(libc::M_TRIM_THRESHOLD, TRIM_THRESHOLD);
        libc::mallopt(libc::M_ARENA_MAX, MAX_ARENAS);
    }
}
