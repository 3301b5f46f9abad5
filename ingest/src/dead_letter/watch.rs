//! Checks the dead-letter topic while a worker runs, even when no letter is sent: earlier letters are also at risk. It
//! reports problems on `/readyz` and in the log. It changes no setting.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use super::producer::DeadLetters;
use super::topic::CHECK_EVERY;
use crate::observe::health::Status;

/// Checks the topic periodically until the watch is dropped.
#[derive(Debug)]
pub struct Watch(CancellationToken);

impl Watch {
    /// Starts checking.
    pub fn start(letters: DeadLetters, status: Arc<Status>) -> Self {
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let watch = async move {
            loop {
                tokio::time::sleep(CHECK_EVERY).await;
                let reason =
                    letters.topic().check(CHECK_EVERY / 2).await.err().map(|unsuitable| unsuitable.to_string());
                if status.set_dead_letter_trouble(reason.as_deref()) {
                    if let Some(reason) = reason {
                        error!(reason, "the dead-letter topic has become unusable; records that cannot land wait");
                    } else {
                        info!("the dead-letter topic is usable again");
                    }
                }
            }
        };
        tokio::spawn(async move { stopped.run_until_cancelled(watch).await });
        Self(stop)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.cancel();
    }
}
