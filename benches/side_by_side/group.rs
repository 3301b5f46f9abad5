//! When a consumer group has handed its partitions out, asked of the broker itself, so that it is told of every program
//! in the same way.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::groups::GroupInfo;
use sluice_schemas::connect::kafka_config;
use sluice_schemas::stores::Stores;
use tokio_util::sync::{CancellationToken, DropGuard};

/// How often the broker is asked.
const EVERY: Duration = Duration::from_millis(25);
/// How long it may take to answer.
const ANSWER: Duration = Duration::from_secs(5);

/// Watches a group from now on, until it is dropped or has seen enough.
pub(crate) struct Group {
    assigned: Arc<Mutex<Option<Instant>>>,
    stop: CancellationToken,
    _guard: DropGuard,
}

impl Group {
    /// Begins to watch.
    pub(crate) fn watch(stores: &Stores, group: &str) -> anyhow::Result<Self> {
        let consumer: BaseConsumer = kafka_config(stores).create().context("ask about a consumer group")?;
        let consumer = Arc::new(consumer);
        let (assigned, stop) = (Arc::<Mutex<Option<Instant>>>::default(), CancellationToken::new());
        let (found, group) = (Arc::clone(&assigned), group.to_owned());
        tokio::spawn(stop.clone().run_until_cancelled_owned(async move {
            let mut was_assigned = false;
            loop {
                let (consumer, group) = (Arc::clone(&consumer), group.clone());
                let asked = tokio::task::spawn_blocking(move || is_assigned(&consumer, &group)).await;
                let is_assigned = asked.unwrap_or(false);
                if is_assigned && !was_assigned {
                    *found.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
                }
                was_assigned = is_assigned;
                tokio::time::sleep(EVERY).await;
            }
        }));
        let guard = stop.clone().drop_guard();
        Ok(Self { assigned, stop, _guard: guard })
    }

    /// Stops asking: rows are coming, so the last assignment seen is the one that counts.
    pub(crate) fn enough(&self) {
        self.stop.cancel();
    }

    /// When the group last handed its partitions out.
    pub(crate) fn assigned(&self) -> Option<Instant> {
        *self.assigned.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_assigned(consumer: &BaseConsumer, group: &str) -> bool {
    let has_all = |info: &GroupInfo| {
        let members = info.members();
        info.state() == "Stable" && !members.is_empty() && members.iter().all(|member| member.assignment().is_some())
    };
    consumer.fetch_group_list(Some(group), ANSWER).is_ok_and(|list| list.groups().iter().any(has_all))
}
