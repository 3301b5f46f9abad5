//! Determines whether the token alone decides about an INSERT that may have landed, or whether a table or view that it
//! reaches has changed since. It changes nothing.
//!
//! After a restart or an outage of ClickHouse, many partitions of a table are in doubt at once. They share one reading
//! of the view graph, but never one that began before their request: a view may have been added since.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::client::ClickHouse;
use super::demand::{Demand, UnsuitableTable};
use super::view_graph::ViewGraph;
use crate::failure::{Class, Failure};
use crate::fault::{Fault, is_injected};

/// The changes to a table and its views since an INSERT may have been sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Changed {
    /// Nothing: the token decides.
    Nothing,
    /// The table or a view, but nothing that views write to. The token decides, unless the table now refuses the same
    /// rows or a view yields other rows for them.
    Definitions,
    /// A table that views write to, or the time for which tokens are remembered. A target may have the rows and not
    /// remember the token.
    Targets,
}

/// The latest view graph of each table.
#[derive(Debug, Default)]
pub struct ViewGraphs(Mutex<HashMap<String, Arc<tokio::sync::Mutex<LastRead>>>>);

#[derive(Debug, Default)]
struct LastRead {
    started: Option<Instant>,
    graph: Arc<ViewGraph>,
}

impl ViewGraphs {
    /// Called before an INSERT into a table is repeated; `announced_for` returns the age of its announcement. Fails if
    /// the INSERT must not be repeated, since a table that it reaches would not recognize it.
    pub async fn changed_since(
        &self,
        clickhouse: &ClickHouse,
        table: &str,
        demand: &Demand,
        announced_for: impl Fn() -> Duration,
    ) -> Result<Changed, Failure> {
        if is_injected(Fault::IgnoreViews) {
            return Ok(Changed::Nothing);
        }
        let not_repeatable = |unsuitable: UnsuitableTable| {
            Failure::new(
                Class::Operator,
                format!("an INSERT that may have landed must not be repeated now: {unsuitable}"),
            )
        };
        let graph = self.read_since(clickhouse, table).await?;
        let remembered = graph.token_retention(demand).map_err(not_repeatable)?;
        // Read after the response, since the ages below are as of the response. They are rounded down to whole seconds.
        let announced_for = announced_for();
        let is_recent = |age: Option<Duration>| age.is_some_and(|age| age <= announced_for + Duration::from_secs(1));
        let may_have_forgotten = is_recent(graph.targets_unchanged_for) || announced_for >= remembered;
        Ok(match (may_have_forgotten, is_recent(graph.unchanged_for)) {
            (true, _) => Changed::Targets,
            (_, true) => Changed::Definitions,
            _ => Changed::Nothing,
        })
    }

    /// Returns the view graph of a table, as read after the start of this call.
    async fn read_since(&self, clickhouse: &ClickHouse, table: &str) -> Result<Arc<ViewGraph>, Failure> {
        let called_at = Instant::now();
        let last =
            Arc::clone(self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(table.to_owned()).or_default());
        let mut last = last.lock().await;
        if last.started.is_none_or(|started| started < called_at) {
            let started = Some(Instant::now());
            let graph = ViewGraph::reread(clickhouse, table, &last.graph).await?;
            *last = LastRead { started, graph: Arc::new(graph) };
        }
        Ok(Arc::clone(&last.graph))
    }
}
