//! What `up` must do for each service, and the tools, disk space and ports that this requires. It stops what
//! remains of dead nodes and starts nothing.

use std::collections::BTreeSet;

use crate::{
    artifact::tools::Tool,
    descriptor::Descriptor,
    error::Error,
    layout::Layout,
    node::Node,
    process,
    record::{self, Record},
    service::Service,
    system,
};

/// Free disk space required to start anything, MiB: room for the write-ahead logs of all stores.
pub(super) const REQUIRED_MIB: u64 = 2048;

/// What `up` must do for one service.
pub(super) struct Plan {
    pub(super) service: Service,
    pub(super) descriptor: &'static dyn Descriptor,
    /// Processes that are running.
    pub(super) running: Vec<Record>,
    /// Nodes to start.
    pub(super) missing: Vec<Node>,
}

/// The services and those that they depend on.
pub(super) fn with_dependencies(services: &[Service]) -> BTreeSet<Service> {
    services.iter().flat_map(|s| s.descriptor().dependencies().iter().chain([s])).copied().collect()
}

/// The tools needed to fetch and run these services.
pub(super) fn tools_for(layout: &Layout, services: &BTreeSet<Service>) -> BTreeSet<Tool> {
    let mut needed = BTreeSet::from([Tool::Setsid]);
    for descriptor in services.iter().map(|s| s.descriptor()) {
        needed.extend(descriptor.tools());
        needed.extend(descriptor.artifacts().iter().filter(|a| !a.is_fetched(layout)).map(|a| a.source.client_tool()));
    }
    if needed.contains(&Tool::Maven) {
        needed.insert(Tool::Java);
    }
    needed
}

/// Compares the records with the running processes, and stops what remains of dead nodes.
pub(super) async fn plan(layout: &Layout, services: &BTreeSet<Service>) -> Result<Vec<Plan>, Error> {
    let (alive, dead): (Vec<Record>, Vec<Record>) = record::load(layout).into_iter().partition(Record::is_alive);
    for record in dead.iter().filter(|r| services.contains(&r.service)) {
        process::stop(layout, record).await?;
    }
    Ok(services
        .iter()
        .map(|&service| {
            let running: Vec<Record> = alive.iter().filter(|r| r.service == service).cloned().collect();
            let runs = |node: &Node| running.iter().any(|r| r.node == node.name);
            let missing = service.descriptor().nodes(layout).into_iter().filter(|n| !runs(n)).collect();
            Plan { service, descriptor: service.descriptor(), running, missing }
        })
        .collect())
}

/// Fails if the disks are too full, or the ports in use, to start what is missing.
pub(super) fn check(layout: &Layout, plans: &[Plan]) -> Result<(), Error> {
    require_disk_space(layout, plans)?;
    require_ports(plans)
}

/// Fails if the disks of the data and of the programs are too full to start what is missing. The folders need not exist yet.
fn require_disk_space(layout: &Layout, plans: &[Plan]) -> Result<(), Error> {
    let starting: Vec<&Plan> = plans.iter().filter(|p| !p.missing.is_empty()).collect();
    let artifacts = starting.iter().flat_map(|p| p.descriptor.artifacts()).filter(|a| !a.is_fetched(layout));
    // The archive, its contents and the client's own copy take about five times the archive's size.
    let programs: u64 = artifacts.map(|a| a.megabytes * 5).sum();
    for (path, needed_mib) in [(layout.state_dir(), REQUIRED_MIB), (layout.cache_dir(), programs)] {
        let free_mib = path.ancestors().find_map(system::free_mib).unwrap_or(u64::MAX);
        if !starting.is_empty() && free_mib < needed_mib {
            return Err(Error::DiskFull { path: path.to_owned(), free_mib, needed_mib });
        }
    }
    Ok(())
}

/// Fails if another process listens on a port of a missing node.
fn require_ports(plans: &[Plan]) -> Result<(), Error> {
    for plan in plans {
        let mut ports = plan.missing.iter().flat_map(|node| &node.ports);
        if let Some(&port) = ports.find(|port| !system::is_free(**port)) {
            return Err(Error::PortTaken { service: plan.service, port, holder: system::listener(port) });
        }
    }
    Ok(())
}
