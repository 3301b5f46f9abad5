//! Shared by the tests on real stores: the test stack, fresh namespaces, proxies that inject faults, polling with a deadline.
//! It starts the stores; a test may do anything within its own namespace. It leaves no process behind: the shared stack
//! stops and removes its data a minute after its last user exits, an [`OwnStack`] when it is dropped.

mod address;
mod clickhouse;
mod intercepting_proxy;
mod own;
mod tcp_proxy;
mod wait;

use bytesize::ByteSize;
use std::{
    path::PathBuf,
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, SystemTime},
};

pub use address::free_address;
pub use clickhouse::OwnClickHouse;
pub use intercepting_proxy::{InterceptingProxy, Interception, OtherHost, Recorded, Requests};
pub use own::OwnStack;
use sluice_schemas::{names::Names, stores::Stores};
use sluice_stack::{Layout, Lease, Progress, Settings, keeper, lease, up};
pub use sluice_stack::{Service, State};
pub use tcp_proxy::{ProxyMode, TcpProxy};

pub use wait::{Outcome, eventually};

/// First port of the shared test stack, unless `SLUICE_TEST_PORT_BASE` sets another.
pub const PORT_BASE: u16 = 24_000;

/// How long the shared stack waits for another user before it stops.
const IDLE: Duration = Duration::from_mins(1);

/// A lease on the stack that all tests share. No test may stop its stores; a test that has to uses an [`OwnStack`].
#[derive(Debug)]
pub struct Stack {
    layout: Layout,
    _lease: Lease,
}

impl Stack {
    /// Starts the stack unless it is running, and waits until `services` are ready. `sluice` is `env!("CARGO_BIN_EXE_sluice")`.
    ///
    /// # Panics
    /// If the stack does not start; the message contains the error.
    pub async fn up(sluice: &str, services: &[Service]) -> Self {
        let layout = layout(sluice, port_base());
        let lease = lease(&layout).await.unwrap_or_else(|e| panic!("failed to lease the test stack: {e}"));
        Box::pin(up(&layout, services, &Progress::stderr()))
            .await
            .unwrap_or_else(|e| panic!("failed to start the test stack: {e}"));
        keeper::spawn_wiping(&layout, IDLE).unwrap_or_else(|e| panic!("failed to start the keeper: {e}"));
        Self { layout, _lease: lease }
    }

    /// Connection settings of the stores for a namespace.
    pub fn stores(&self, names: &Names) -> Stores {
        stores(&self.layout, names)
    }

    /// Paths and ports of the stack.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }
}

fn stores(layout: &Layout, names: &Names) -> Stores {
    Stores { namespace: names.clone(), ..Stores::local(layout.ports().base()) }
}

/// A layout with less memory than a developer's stack.
fn layout(sluice: &str, port_base: u16) -> Layout {
    let settings = Settings { port_base, elasticsearch_heap: ByteSize::mib(512), ..Settings::default() };
    let layout = Layout::new(&settings).unwrap_or_else(|e| panic!("failed to lay out the test stack: {e}"));
    layout.with_program(PathBuf::from(sluice))
}

fn port_base() -> u16 {
    std::env::var("SLUICE_TEST_PORT_BASE").ok().and_then(|base| base.parse().ok()).unwrap_or(PORT_BASE)
}

/// Names in a namespace that no other test uses: `PREFIX_` and digits from the clock, the process ID and a counter.
///
/// # Panics
/// If `prefix` is not 1 to 6 lowercase letters.
pub fn fresh_names(prefix: &str) -> Names {
    static COUNTER: AtomicU32 = AtomicU32::new(0);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis();
    let count = COUNTER.fetch_add(1, Ordering::Relaxed);
    let namespace = format!("{prefix}_{:x}_{:x}_{count:x}", now & 0xffff_ffff, std::process::id() & 0xffff);
    Names::new(&namespace).unwrap_or_else(|e| panic!("failed to name a namespace: {e}"))
}
