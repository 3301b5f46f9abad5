//! The statements of a rebuild at the server: ClickHouse goes on with them when its client is gone, so they are ended by the
//! ids of their queries once nobody waits for them, whether a rebuild failed or was given up.

use tokio::runtime::Handle;
use tracing::warn;

use crate::clickhouse::client::ClickHouse;
use crate::failure::Failure;
use crate::fault::{Fault, is_injected};

/// A rebuild that runs. Dropping it ends its statements in the background.
pub(super) struct Running {
    clickhouse: ClickHouse,
    /// What the ids of its queries begin with; nothing once they have ended.
    prefix: Option<String>,
}

impl Running {
    pub(super) fn new(clickhouse: &ClickHouse, prefix: String) -> Self {
        Self { clickhouse: clickhouse.clone(), prefix: Some(prefix) }
    }

    /// Ends what is left of it, and waits for that.
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
                warn!(%failure, "statements of a rebuild that was given up may still run");
            }
        });
    }
}
