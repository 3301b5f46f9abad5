//! `up`: downloads and starts services, and waits until each responds to a query. Running services are left alone; a
//! dead process of a service is restarted. Dropping the future stops services that it started and that are not ready;
//! ready services keep running.

mod plan;
mod readiness;

use std::collections::{BTreeMap, BTreeSet};

use futures::future::try_join_all;
use tokio::sync::watch;

use self::plan::Plan;
use crate::{
    artifact::tools,
    error::{Error, FileContext},
    layout::Layout,
    lock,
    process::{self, KillOnDrop},
    progress::Progress,
    service::Service,
};

/// Starts `services` and their dependencies, and waits until all of them are ready.
pub async fn up(layout: &Layout, services: &[Service], progress: &Progress) -> Result<(), Error> {
    let required = plan::with_dependencies(services);
    tools::require(layout, &plan::tools_for(layout, &required)).await?;
    check_before_first_start(layout, &required).await?;
    layout.create_folders()?;
    let waiting = progress.task("stack");
    let _lock = lock::exclusive(&layout.lock_file(), || waiting.announce("waiting for another `up` or `down`")).await?;
    drop(waiting);
    let plans = plan::plan(layout, &required).await?;
    plan::check(layout, &plans)?;
    let ready: BTreeMap<Service, watch::Sender<bool>> =
        required.iter().map(|s| (*s, watch::Sender::new(false))).collect();
    let ready = &ready;
    try_join_all(plans.iter().map(|plan| async move {
        Box::pin(bring_up(layout, plan, progress, ready)).await?;
        if let Some(ready) = ready.get(&plan.service) {
            ready.send_replace(true);
        }
        Ok(())
    }))
    .await
    .map(drop)
}

/// Checks disks and ports before the stack's folder is created, so that a stack that cannot start leaves no folder behind. The
/// checks are repeated under the lock. If another `up` has created the folder in the meantime, only those count, since the ports
/// may be in use by the other's services.
async fn check_before_first_start(layout: &Layout, services: &BTreeSet<Service>) -> Result<(), Error> {
    if layout.state_dir().exists() {
        return Ok(());
    }
    let checked = plan::check(layout, &plan::plan(layout, services).await?);
    if layout.state_dir().exists() { Ok(()) } else { checked }
}

async fn bring_up(
    layout: &Layout,
    plan: &Plan,
    progress: &Progress,
    ready: &BTreeMap<Service, watch::Sender<bool>>,
) -> Result<(), Error> {
    let task = progress.task(plan.service.name());
    for artifact in plan.descriptor.artifacts() {
        artifact.fetch(layout, &task).await?;
    }
    for dependency in plan.descriptor.dependencies() {
        task.update(format!("waiting for {dependency}"));
        if let Some(ready) = ready.get(dependency) {
            // The sender lives as long as this future, so the wait always ends with a value.
            ready.subscribe().wait_for(|ready| *ready).await.ok();
        }
    }
    task.update("starting");
    let started = start(layout, plan).await?;
    readiness::wait(layout, plan, &started, &task).await?;
    let has_started_nodes = !started.is_empty();
    started.into_iter().try_for_each(KillOnDrop::mark_ready)?;
    if has_started_nodes {
        task.finish("ready");
    }
    Ok(())
}

async fn start<'a>(layout: &'a Layout, plan: &Plan) -> Result<Vec<KillOnDrop<'a>>, Error> {
    if plan.missing.is_empty() {
        return Ok(vec![]);
    }
    for node in &plan.missing {
        let dir = layout.node_dir(&node.name);
        std::fs::create_dir_all(&dir).file("create", dir)?;
    }
    plan.descriptor.prepare(layout).await?;
    plan.missing.iter().map(|node| process::start(layout, plan.service, node)).collect()
}
