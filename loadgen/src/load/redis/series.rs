//! Loads the agent metrics of the last day as time series, with their retention, into the cache. Older metrics are in
//! ClickHouse only.

use super::{Cluster, Job, LoadError, Values, fill};
use crate::population::Population;
use crate::question::metric_range::{add_sample, retained};

pub(in crate::load) const SAMPLES: &str = "Redis samples";

pub(super) async fn load(job: Job<'_>, cache: &Cluster) -> Result<(), LoadError> {
    let values = Values { kind: SAMPLES, indices: retained, value: Population::past_metric };
    fill(job, values, |metric| async move { add_sample(cache, &metric).await }).await
}
