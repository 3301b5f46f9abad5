//! Reports verdicts of a partition's breaker in logs, metrics and on `/readyz`. It makes no decision.

use tracing::{error, warn};

use crate::dead_letter::breaker::Verdict;
use crate::lane::partition::Partition;
use crate::lane::services::Services;

/// Reports a verdict of a partition's breaker.
pub(super) fn report_verdict(services: &Services, topic: &str, partition: &Partition, verdict: Verdict) {
    let number = partition.assignment.partition;
    match verdict {
        Verdict::Continue => {}
        Verdict::Alarm(tenant) => {
            services.metrics.count_tenant_alarm(topic);
            warn!(
                topic,
                partition = number,
                %tenant,
                "one tenant's records cannot land; they are dead-lettered, and no other tenant is stopped"
            );
        }
        Verdict::Trip(_) => {
            let why = partition.trip_reason().unwrap_or_default();
            error!(topic, partition = number, why, "partition paused by the breaker");
            services.status.set_trouble(topic, number, Some(why.to_owned()));
        }
    }
}
