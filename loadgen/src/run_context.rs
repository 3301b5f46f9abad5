//! The inputs of every stage of a run: the stores, the namespace, the scenario, its plan and the shard that is driven.
//! It holds only references and decides nothing.

use std::sync::{Arc, LazyLock};
use std::time::Instant;

use sluice_schemas::names::Names;
use sluice_schemas::stores::Stores;

use crate::custom::Prepared;
use crate::plan::{Plan, Shard};
use crate::scenario::{Access, Scenario};
use crate::shards::Meeting;

/// One run: its stores, its namespace and its plan.
#[derive(Debug, Clone, Copy)]
pub struct RunContext<'a> {
    /// The stores.
    pub stores: &'a Stores,
    /// The names of the run's namespace.
    pub names: &'a Names,
    /// The scenario.
    pub scenario: &'a Scenario,
    /// The scenario's plan.
    pub plan: &'a Arc<Plan>,
    /// The other shards of the run; `None` if the whole plan is driven here.
    pub shards: Option<&'a Meeting>,
    /// The questions of the scenario's own.
    pub own: &'a Arc<Prepared>,
    /// What the run may do.
    pub access: Access,
    /// When what expires had been loaded.
    pub loaded: Instant,
}

impl<'a> RunContext<'a> {
    /// A run that writes the whole plan, and asks no questions of the scenario's own.
    pub fn new(stores: &'a Stores, names: &'a Names, scenario: &'a Scenario, plan: &'a Arc<Plan>) -> Self {
        static NONE: LazyLock<Arc<Prepared>> = LazyLock::new(Arc::default);
        Self {
            stores,
            names,
            scenario,
            plan,
            shards: None,
            own: &NONE,
            access: Access::ReadWrite,
            loaded: Instant::now(),
        }
    }

    /// The part of the plan that is driven here.
    pub fn shard(&self) -> Shard {
        self.shards.map_or(Shard::WHOLE, Meeting::shard)
    }
}
