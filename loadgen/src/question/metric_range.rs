//! `metric_range`: a metric of a tenant's agents over the last hours before the drive, by hour, in a time series of the
//! Redis cache. It never reads single samples.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use sluice_schemas::keyspace::METRIC_RETENTION;
use sluice_schemas::records::AgentMetric;
use uuid::Uuid;

use super::answer::Answer;
use super::definition::{Definition, Reply};
use super::key::{Key, Window};
use super::store::Store;
use super::subject::{Subject, reject};
use super::tally::{PastMetric, Tally};
use crate::population::{METRIC_NAMES, Population, Tenant, rng::KeyedRng};
use crate::target::redis::{Cluster, STORE, command};
use crate::target::{QueryError, Targets};

/// Reads a window; `$key` is `metric:{tenant_id}:{name}` under the namespace, times are in milliseconds.
const RANGE: &str = "TS.RANGE $key $from $to AGGREGATION avg 3600000";

/// Adds a sample, again without effect, to a series that need not exist; `$retention` is that of the key space, in
/// milliseconds.
const ADD: &str = "TS.ADD $key $time $value RETENTION $retention ON_DUPLICATE MAX";

const HOUR_MS: u64 = 3_600_000;
/// The lengths of windows, in hours.
const HOURS: [i64; 3] = [1, 6, 12];

#[derive(Debug)]
pub(super) struct MetricRange;

impl Definition for MetricRange {
    fn name(&self) -> &'static str {
        "metric_range"
    }

    fn store(&self) -> Store {
        Store::Redis
    }

    fn texts(&self) -> &'static [&'static str] {
        &[RANGE, ADD]
    }

    fn draw_key(&self, population: &Population, _tenant: &Tenant, rng: &mut KeyedRng) -> Key {
        let past = population.past();
        let from = past.start.max(past.end - TimeDelta::hours(rng.pick(&HOURS)));
        let metric = rng.below(METRIC_NAMES.len() as u64) as usize;
        Key::Series { metric, window: Window { from, to: past.end } }
    }

    fn ask<'a>(&self, targets: &'a Targets, subject: Subject<'a>) -> Reply<'a> {
        Box::pin(async move {
            let (metric, Window { from, to }) = series(subject);
            let key = series_key(&targets.cache, subject.tenant_id(), METRIC_NAMES[metric]);
            // The range of TS.RANGE is closed.
            let (from, to) = (from.timestamp_millis().to_string(), (to.timestamp_millis() - 1).to_string());
            let range = command(RANGE, &[("$key", &key), ("$from", &from), ("$to", &to)]);
            let hours: Vec<(i64, f64)> = range.query_async(&mut targets.cache.connection()).await?;
            let read = |(start, average)| Some((DateTime::from_timestamp_millis(start)?, average));
            let hours: Option<_> = hours.into_iter().map(read).collect();
            hours.map(Answer::Averages).ok_or(QueryError::Unreadable { store: STORE, what: "a time out of range" })
        })
    }

    fn tally(&self, _days: usize) -> Box<dyn Tally> {
        Box::new(Hours::default())
    }
}

fn series(subject: Subject<'_>) -> (usize, Window) {
    match subject.key {
        Key::Series { metric, window } => (*metric, *window),
        other => reject(other),
    }
}

fn series_key(cache: &Cluster, tenant: Uuid, metric: &str) -> String {
    cache.key(&format!("metric:{tenant}:{metric}"))
}

/// Adds a sample to its time series.
pub(crate) async fn add_sample(cache: &Cluster, metric: &AgentMetric) -> Result<(), QueryError> {
    let key = series_key(cache, metric.tenant_id, &metric.metric_name);
    let (time, value) = (metric.timestamp.timestamp_millis().to_string(), metric.metric_value.to_string());
    let retention = METRIC_RETENTION.as_millis().to_string();
    let add = command(ADD, &[("$key", &key), ("$time", &time), ("$value", &value), ("$retention", &retention)]);
    add.query_async::<()>(&mut cache.connection()).await?;
    Ok(())
}

/// The past metrics of a tenant that are within the retention at the start of the drive.
pub(crate) fn retained(population: &Population, tenant: &Tenant) -> std::ops::Range<u64> {
    let past = population.past();
    let length = (past.end - past.start).num_milliseconds().cast_unsigned();
    let first = length.saturating_sub(METRIC_RETENTION.as_millis() as u64);
    let (mut low, mut high) = (0, tenant.past_metrics);
    // Metrics are in order of time.
    while low < high {
        let middle = low + (high - low) / 2;
        if population.metric_millis(tenant.index, middle) < first { low = middle + 1 } else { high = middle }
    }
    low..tenant.past_metrics
}

/// Number and sum of each metric's samples by hour of the past. Sums are exact.
#[derive(Debug, Default)]
struct Hours(BTreeMap<(usize, u64), (u64, f64)>);

impl Tally for Hours {
    fn count_metric(&mut self, metric: PastMetric) {
        let (count, sum) = self.0.entry((metric.name, metric.millis / HOUR_MS)).or_default();
        (*count, *sum) = (*count + 1, *sum + metric.value);
    }

    fn expected(&self, subject: Subject<'_>) -> Answer {
        let (metric, Window { from, to }) = series(subject);
        let start = subject.population.past().start;
        let hour = |instant: DateTime<Utc>| (instant - start).num_hours().cast_unsigned();
        let hours = self.0.range((metric, hour(from))..(metric, hour(to)));
        let average = |(&(_, hour), &(count, sum)): (&(usize, u64), &(u64, f64))| {
            (start + TimeDelta::hours(hour.cast_signed()), sum / count as f64)
        };
        Answer::Averages(hours.map(average).collect())
    }
}
