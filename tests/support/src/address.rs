//! Addresses for what a test starts: out come free ports that the kernel gives to no client in the meantime, as it may
//! with a port that was asked for as "any" and let go again.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    sync::atomic::{AtomicU16, Ordering},
};

/// Above the stacks of the tests and below the kernel's own range, which begins at 32768.
const FIRST: u16 = 30_000;
const COUNT: u16 = 2_700;
/// Processes begin this far apart, so that two at once seldom look at the same port.
const STRIDE: u32 = 97;

/// A loopback address nobody listens on; no other call in this process returns it soon.
///
/// # Panics
/// When all ports of the tests' range are taken.
pub fn free_address() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = std::process::id().wrapping_mul(STRIDE) % u32::from(COUNT);
    let start = u16::try_from(start).expect("a remainder of a u16 is a u16");
    let candidates = (0..COUNT).map(|_| FIRST + (start + NEXT.fetch_add(1, Ordering::Relaxed) % COUNT) % COUNT);
    let mut addresses = candidates.map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    addresses.find(|address| TcpListener::bind(address).is_ok()).expect("a free port for a test")
}
