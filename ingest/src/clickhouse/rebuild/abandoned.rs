//! Kills a rebuild's statements at the server. ClickHouse continues them when its client disconnects, so they are
//! killed by the prefix of their query IDs once the rebuild has failed or was abandoned. It never waits in `drop`.

use tokio::runtime::Handle;
use tracing::warn;

use crate::clickhouse::client::ClickHouse;
use crate::failure::Failure;
use crate::fault::{Fault, is_injected};

/// A running rebuild. Dropping it kills its statements in the background.
pub(super) struct Running {
    clickhouse: ClickHouse,
    /// Prefix of its query IDs; `None` once its statements have ended.
    prefix: Option<String>,
}

impl Running {
    pub(super) fn new(clickhouse: &ClickHouse, prefix: String) -> Self {
        Self { clickhouse: clickhouse.clone(), prefix: Some(prefix) }
    }

    /// Kills its remaining statements and waits until they have ended.
    pub(super) async fn end(mut self) -> Result<(), Failure> {
        match self.prefix.take() {
            Some(prefix) if !is_injected(Fault::LeaveStatementsRunning) => self.clickhouse.kill(&prefix).await,
            _ => Ok(()),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let (Some(prefix), Ok(runtime)) = (self.prefix.take(), Handle::try_current()) else { return };
        let clickhouse = self.clickhouse.clone();
        runtime.spawn(async move {
            if let Err(failure) = clickhouse.kill(&prefix).await {
                warn!(%failure, "statements of an abandoned rebuild may still be running");
            }
        });
    }
}
