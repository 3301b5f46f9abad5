//! What an operator is told of a partition's breaker: logs, metrics and `/readyz`.

use tracing::{error, warn};

use crate::dead_letter::breaker::Verdict;
use crate::lane::partition::Partition;
use crate::lane::tools::Tools;

/// Tells an operator what the breaker of a partition has decided. Says whether it opened.
pub(super) fn report_verdict(tools: &Tools, topic: &str, partition: &Partition, verdict: Verdict) -> bool {
    let number = partition.owner.partition;
    match verdict {
        Verdict::Pass => false,
        Verdict::Alarm(tenant) => {
            tools.metrics.tenant_alarm(topic);
            warn!(
                topic,
                partition = number,
                %tenant,
                "one tenant's records cannot land; they go on into the dead-letter topic, and nobody else is stopped"
            );
            false
        }
        Verdict::Trip(_) => {
            let why = partition.why_broken().unwrap_or_default();
            error!(topic, partition = number, why, "partition paused by the breaker");
            tools.status.set_trouble(topic, number, Some(why.to_owned()));
            true
        }
    }
}
