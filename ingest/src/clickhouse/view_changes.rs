//! Whether an INSERT that may have landed can be told from its token, or whether something behind its table has changed since.
//! A target and the age of the announcement go in, [`Changed`] comes out; it changes nothing.
//!
//! Many partitions of a table are in doubt at the same time, after a restart or while ClickHouse was away. They share what
//! is read, but never what was read before they asked: a view may have come meanwhile.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::client::ClickHouse;
use super::demand::{Demand, Unfit};
use super::view_graph::ViewGraph;
use crate::failure::{Class, Failure};
use crate::fault::{Fault, is_injected};

/// What was added or changed behind a table since an INSERT may have been sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Changed {
    /// Nothing: its token tells.
    Nothing,
    /// The table or a view, and not what views write to. The token tells, unless the table refuses the same rows now or a view
    /// gives something else for them.
    Definitions,
    /// What a view writes to, or the time for which tokens are remembered. A target may have the rows and not know the token.
    Targets,
}

/// What INSERTs reach, by table, as it was read last.
#[derive(Debug, Default)]
pub struct ViewGraphs(Mutex<HashMap<String, Arc<tokio::sync::Mutex<Last>>>>);

#[derive(Debug, Default)]
struct Last {
    begun: Option<Instant>,
    graph: Arc<ViewGraph>,
}

impl ViewGraphs {
    /// Asked before an INSERT into a table is repeated; `announced_for` says how long ago it was announced. Fails if it must
    /// not be repeated at all, since something that it reaches would forget it.
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
        let forgetful = |unfit: Unfit| {
            Failure::new(Class::Operator, format!("an INSERT that may have landed must not be repeated now: {unfit}"))
        };
        let graph = self.now(clickhouse, table).await?;
        let remembered = graph.remembered(demand).map_err(forgetful)?;
        // The ages below are as of the answer, so this one is not taken before it. They are cut to whole seconds.
        let announced_for = announced_for();
        let is_recent = |age: Option<Duration>| age.is_some_and(|age| age <= announced_for + Duration::from_secs(1));
        let may_have_forgotten = is_recent(graph.targets_unchanged_for) || announced_for >= remembered;
        Ok(match (may_have_forgotten, is_recent(graph.unchanged_for)) {
            (true, _) => Changed::Targets,
            (_, true) => Changed::Definitions,
            _ => Changed::Nothing,
        })
    }

    /// What an INSERT reaches at a time that is not before this call.
    async fn now(&self, clickhouse: &ClickHouse, table: &str) -> Result<Arc<ViewGraph>, Failure> {
        let asked = Instant::now();
        let last =
            Arc::clone(self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(table.to_owned()).or_default());
        let mut last = last.lock().await;
        if last.begun.is_none_or(|begun| begun < asked) {
            let begun = Some(Instant::now());
            let graph = ViewGraph::read_again(clickhouse, table, &last.graph).await?;
            *last = Last { begun, graph: Arc::new(graph) };
        }
        Ok(Arc::clone(&last.graph))
    }
}
