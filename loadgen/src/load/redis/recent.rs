//! Loads copies of the communications of the last day, with their time to live, into the cache. Older ones are never
//! copied.

use super::{Cluster, Job, LoadError, Values, fill};
use crate::population::Population;
use crate::question::recent_search::{recent, set_recent};

pub(in crate::load) const RECENT: &str = "Redis recent communications";

pub(super) async fn load(job: Job<'_>, cache: &Cluster) -> Result<(), LoadError> {
    let values = Values { kind: RECENT, indices: recent, value: Population::past_communication };
    fill(job, values, |communication| async move { set_recent(cache, &communication).await }).await
}
