//! The inputs of every stage of a run: the stores, the namespace, the scenario and its plan.
//! It holds only references and decides nothing.

use std::sync::Arc;

use sluice_schemas::names::Names;
use sluice_schemas::stores::Stores;

use crate::plan::Plan;
use crate::scenario::Scenario;

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
}
