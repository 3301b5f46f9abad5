//! Records when a consumer group has assigned its partitions. It polls the broker, so that the time is comparable for every
//! program. It never joins the group.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::groups::GroupInfo;
use sluice_schemas::connect::kafka_config;
use sluice_schemas::stores::Stores;
use tokio_util::sync::{CancellationToken, DropGuard};

/// Polling interval.
const POLL_INTERVAL: Duration = Duration::from_millis(25);
/// How long the broker may take to respond.
const KAFKA_TIMEOUT: Duration = Duration::from_secs(5);

/// Watches a group until it is stopped or dropped.
pub(crate) struct AssignmentWatch {
    assigned: Arc<Mutex<Option<Instant>>>,
    stop: CancellationToken,
    _guard: DropGuard,
}

impl AssignmentWatch {
    /// Starts watching.
    pub(crate) fn start(stores: &Stores, group: &str) -> anyhow::Result<Self> {
        let consumer: BaseConsumer = kafka_config(stores).create().context("watch a consumer group")?;
        let consumer = Arc::new(consumer);
        let (assigned, stop) = (Arc::<Mutex<Option<Instant>>>::default(), CancellationToken::new());
        let (latest, group) = (Arc::clone(&assigned), group.to_owned());
        tokio::spawn(stop.clone().run_until_cancelled_owned(async move {
            let mut was_assigned = false;
            loop {
                let (consumer, group) = (Arc::clone(&consumer), group.clone());
                let polled = tokio::task::spawn_blocking(move || is_assigned(&consumer, &group)).await;
                let is_assigned = polled.unwrap_or(false);
                if is_assigned && !was_assigned {
                    *latest.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
                }
                was_assigned = is_assigned;
                tokio::time::sleep(POLL_INTERVAL).await;
            }
        }));
        let guard = stop.clone().drop_guard();
        Ok(Self { assigned, stop, _guard: guard })
    }

    /// Stops polling. Called once rows arrive: later assignments do not count.
    pub(crate) fn stop(&self) {
        self.stop.cancel();
    }

    /// When the group last assigned its partitions.
    pub(crate) fn assigned_at(&self) -> Option<Instant> {
        *self.assigned.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_assigned(consumer: &BaseConsumer, group: &str) -> bool {
    let has_all = |info: &GroupInfo| {
        let members = info.members();
        info.state() == "Stable" && !members.is_empty() && members.iter().all(|member| member.assignment().is_some())
    };
    consumer.fetch_group_list(Some(group), KAFKA_TIMEOUT).is_ok_and(|list| list.groups().iter().any(has_all))
}
