//! How the allocator of an ingest worker treats large blocks: those larger than any that comes and goes all the time go
//! back to the system when they are freed, the others are kept for the next of their kind.
//! glibc moves its thresholds with every large block that is freed, up to 32 MiB for blocks and 64 MiB for what a heap
//! keeps. A threshold below the buffers of librdkafka costs a third of a worker's processor time, since the kernel clears
//! fresh memory page by page.

#![expect(
    unsafe_code,
    reason = "mallopt has no safe call; it takes two numbers and is called before any thread starts"
)]

/// Blocks from this size on are mapped by themselves, in bytes.
const OWN_MAPPING: i32 = 8 * 1024 * 1024;
/// What a heap keeps at its end when blocks are freed, in bytes.
const KEPT: i32 = 4 * OWN_MAPPING;
/// Heaps for smaller blocks; by default there may be eight for each processor.
const HEAPS: i32 = 2;

/// Tells the allocator, once, before there are threads.
pub(crate) fn set_up() {
    #[cfg(target_env = "gnu")]
    // SAFETY: both are documented parameters with values in range, and no other thread allocates yet.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, OWN_MAPPING);
        libc::mallopt(libc::M_TRIM_THRESHOLD, KEPT);
        libc::mallopt(libc::M_ARENA_MAX, HEAPS);
    }
}
