//! A separate stack for one test, whose stores may be stopped, killed and broken.

use std::net::{Ipv4Addr, TcpListener};

use sluice_schemas::{
    names::Names,
    stores::{Ports, Stores},
};
use sluice_stack::{Layout, Progress, Service, Wipe, down, up};

/// First port base of these stacks; all are below the kernel's ephemeral range.
const FIRST_BASE: u16 = 26_000;
const CANDIDATES: u16 = 60;

/// Stores that only one test uses. They are stopped and their data is removed when this is dropped.
#[derive(Debug)]
pub struct OwnStack {
    layout: Layout,
    /// Bound to the last port of the span, which no store uses; this reserves the other ports.
    _reservation: TcpListener,
}

impl OwnStack {
    /// Reserves ports and chooses a folder; nothing runs yet. `sluice` is `env!("CARGO_BIN_EXE_sluice")`.
    ///
    /// # Panics
    /// If all port bases are taken.
    pub fn new(sluice: &str) -> Self {
        let bases = (0..CANDIDATES).map(|n| FIRST_BASE + n * Ports::SPAN);
        let reserve = |base| Some((base, TcpListener::bind((Ipv4Addr::LOCALHOST, base + Ports::SPAN - 1)).ok()?));
        let (base, reservation) = bases.into_iter().find_map(reserve).expect("a free port base for a test");
        Self { layout: crate::layout(sluice, base), _reservation: reservation }
    }

    /// Like [`OwnStack::new`], with `services` ready.
    ///
    /// # Panics
    /// If they do not start.
    pub async fn with(sluice: &str, services: &[Service]) -> Self {
        let stack = Self::new(sluice);
        Box::pin(up(&stack.layout, services, &Progress::stderr()))
            .await
            .unwrap_or_else(|e| panic!("failed to start a test's own stack: {e}"));
        stack
    }

    /// Paths and ports of the stack.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Connection settings of the stores for a namespace.
    pub fn stores(&self, names: &Names) -> Stores {
        crate::stores(&self.layout, names)
    }
}

impl Drop for OwnStack {
    fn drop(&mut self) {
        let layout = self.layout.clone();
        // A separate thread, because this may be dropped inside a runtime.
        let stopping = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| e.to_string())?;
            runtime.block_on(down(&layout, Wipe::Yes, &Progress::silent())).map_err(|e| e.to_string())
        });
        let stopped = stopping.join().unwrap_or_else(|_| Err("the thread panicked".to_owned()));
        if let Err(error) = stopped
            && !std::thread::panicking()
        {
            panic!("failed to stop a test's own stack: {error}");
        }
    }
}
