//! Free addresses for servers that a test starts. The ports are outside the kernel's ephemeral range, so no client can
//! take one before the server binds it, as could happen to a port that was bound as 0 and released.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    sync::atomic::{AtomicU16, Ordering},
};

/// Above the ports of the test stacks and below the kernel's ephemeral range, which begins at 32768.
const FIRST: u16 = 30_000;
const COUNT: u16 = 2_700;
/// Distance between the first candidates of two processes, so that concurrent processes seldom try the same port.
const STRIDE: u32 = 97;

/// A loopback address that nothing listens on; other calls in this process return different ones.
///
/// # Panics
/// If all ports of the tests' range are taken.
pub fn free_address() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = std::process::id().wrapping_mul(STRIDE) % u32::from(COUNT);
    let start = u16::try_from(start).expect("a remainder of a u16 is a u16");
    let candidates = (0..COUNT).map(|_| FIRST + (start + NEXT.fetch_add(1, Ordering::Relaxed) % COUNT) % COUNT);
    let mut addresses = candidates.map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    addresses.find(|address| TcpListener::bind(address).is_ok()).expect("a free port for a test")
}
