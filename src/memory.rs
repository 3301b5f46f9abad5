//! How the allocator of an ingest worker treats large blocks: each goes back to the system when it is freed.
//! glibc raises its threshold for that with every large block that is freed, up to 32 MiB; batches and the buffers of
//! librdkafka would then be cut from one heap, which falls to pieces and grows past what is in use.

#![expect(
    unsafe_code,
    reason = "mallopt has no safe call; it takes two numbers and is called before any thread starts"
)]

/// Blocks from this size on are mapped by themselves, in bytes.
const OWN_MAPPING: i32 = 256 * 1024;
/// Heaps for smaller blocks; by default there may be eight for each processor.
const HEAPS: i32 = 2;

/// Tells the allocator, once, before there are threads.
pub(crate) fn set_up() {
    #[cfg(target_env = "gnu")]
    // SAFETY: both are documented parameters with values in range, and no other thread allocates yet.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, OWN_MAPPING);
        libc::mallopt(libc::M_ARENA_MAX, HEAPS);
    }
}
