//! `up`: fetch, start and wait until every service answers a query. In: the layout and the services that are wanted.
//! Out: all of them ready, or one error. Running ones are left alone; a service with a dead process gets it back.
//! Dropping the future stops what it has started and what is not ready yet; ready services stay.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use futures::future::try_join_all;
use tokio::sync::watch;

use crate::{
    artifact::tools::{self, Tool},
    error::{Error, FileContext},
    layout::Layout,
    lock, logs,
    process::{self, Starting},
    progress::{Progress, Task},
    record::{self, Record},
    store::{Node, Service, Store},
    system,
};

/// Free disk without which nothing is started, MiB: room for the write-ahead logs of all stores.
const ROOM_MIB: u64 = 2048;
/// Lines of a store's log that an error shows.
const LOG_LINES: usize = 15;
/// How long one readiness query may take.
const QUERY: Duration = Duration::from_secs(10);

/// Starts `services` and what they need, and waits until all of them are ready.
pub async fn up(layout: &Layout, services: &[Service], progress: &Progress) -> Result<(), Error> {
    let wanted = with_needs(services);
    tools::require(layout, &tools_for(layout, &wanted)).await?;
    layout.create_folders()?;
    let waiting = progress.task("stack");
    let _lock = lock::exclusive(&layout.lock_file(), || waiting.say("waiting for another `up` or `down`")).await?;
    drop(waiting);
    let plans = plan(layout, &wanted).await?;
    require_room(layout, &plans)?;
    require_ports(&plans)?;
    let ready: BTreeMap<Service, watch::Sender<bool>> =
        wanted.iter().map(|s| (*s, watch::Sender::new(false))).collect();
    let ready = &ready;
    try_join_all(plans.iter().map(|plan| async move {
        Box::pin(bring_up(layout, plan, progress, ready)).await?;
        if let Some(me) = ready.get(&plan.service) {
            me.send_replace(true);
        }
        Ok(())
    }))
    .await
    .map(drop)
}

/// What is to be done for one service.
struct Plan {
    service: Service,
    store: &'static dyn Store,
    /// Processes that run.
    running: Vec<Record>,
    /// Processes to start.
    missing: Vec<Node>,
}

fn with_needs(services: &[Service]) -> BTreeSet<Service> {
    services.iter().flat_map(|s| s.store().needs().iter().chain([s])).copied().collect()
}

fn tools_for(layout: &Layout, wanted: &BTreeSet<Service>) -> BTreeSet<Tool> {
    let mut needed = BTreeSet::from([Tool::Setsid]);
    for store in wanted.iter().map(|s| s.store()) {
        needed.extend(store.tools());
        needed.extend(store.artifacts().iter().filter(|a| !a.is_here(layout)).map(|a| a.source.tool()));
    }
    if needed.contains(&Tool::Maven) {
        needed.insert(Tool::Java);
    }
    needed
}

/// Compares the records with what runs, and clears away what is left of dead nodes.
async fn plan(layout: &Layout, wanted: &BTreeSet<Service>) -> Result<Vec<Plan>, Error> {
    let (alive, dead): (Vec<Record>, Vec<Record>) = record::load(layout).into_iter().partition(Record::is_alive);
    for record in dead.iter().filter(|r| wanted.contains(&r.service)) {
        process::end(layout, record).await?;
    }
    Ok(wanted
        .iter()
        .map(|&service| {
            let running: Vec<Record> = alive.iter().filter(|r| r.service == service).cloned().collect();
            let runs = |node: &Node| running.iter().any(|r| r.node == node.name);
            let missing = service.store().nodes(layout).into_iter().filter(|n| !runs(n)).collect();
            Plan { service, store: service.store(), running, missing }
        })
        .collect())
}

fn require_room(layout: &Layout, plans: &[Plan]) -> Result<(), Error> {
    let starting: Vec<&Plan> = plans.iter().filter(|p| !p.missing.is_empty()).collect();
    let artifacts = starting.iter().flat_map(|p| p.store.artifacts()).filter(|a| !a.is_here(layout));
    // An archive, what is in it, and what its client keeps: about five times the archive.
    let programs: u64 = artifacts.map(|a| a.megabytes * 5).sum();
    for (path, needed_mib) in [(layout.state_dir(), ROOM_MIB), (layout.cache_dir(), programs)] {
        let free_mib = system::free_mib(path).unwrap_or(u64::MAX);
        if !starting.is_empty() && free_mib < needed_mib {
            return Err(Error::DiskFull { path: path.to_owned(), free_mib, needed_mib });
        }
    }
    Ok(())
}

fn require_ports(plans: &[Plan]) -> Result<(), Error> {
    for plan in plans {
        let mut ports = plan.missing.iter().flat_map(|node| &node.ports);
        if let Some(&port) = ports.find(|port| !system::is_free(**port)) {
            return Err(Error::PortTaken { service: plan.service, port, holder: system::holder(port) });
        }
    }
    Ok(())
}

async fn bring_up(
    layout: &Layout,
    plan: &Plan,
    progress: &Progress,
    ready: &BTreeMap<Service, watch::Sender<bool>>,
) -> Result<(), Error> {
    let task = progress.task(plan.service.name());
    for artifact in plan.store.artifacts() {
        artifact.fetch(layout, &task).await?;
    }
    for need in plan.store.needs() {
        task.now(format!("waiting for {need}"));
        if let Some(need) = ready.get(need) {
            // The sender lives as long as this future, so there is always an answer.
            need.subscribe().wait_for(|ready| *ready).await.ok();
        }
    }
    task.now("starting");
    let started = start(layout, plan).await?;
    wait(layout, plan, &started, &task).await?;
    let fresh = !started.is_empty();
    started.into_iter().try_for_each(Starting::keep)?;
    if fresh {
        task.done("ready");
    }
    Ok(())
}

async fn start<'a>(layout: &'a Layout, plan: &Plan) -> Result<Vec<Starting<'a>>, Error> {
    if plan.missing.is_empty() {
        return Ok(vec![]);
    }
    for node in &plan.missing {
        let dir = layout.node_dir(&node.name);
        std::fs::create_dir_all(&dir).file("create", dir)?;
    }
    plan.store.prepare(layout).await?;
    plan.missing.iter().map(|node| process::start(layout, plan.service, node)).collect()
}

/// Asks until the service is ready, a process of it ends, or its time is up.
async fn wait(layout: &Layout, plan: &Plan, started: &[Starting<'_>], task: &Task) -> Result<(), Error> {
    task.now("waiting until it answers");
    let records: Vec<&Record> = plan.running.iter().chain(started.iter().filter_map(Starting::record)).collect();
    let (begun, deadline) = (Instant::now(), plan.store.deadline());
    let mut reason = "it was never asked".to_owned();
    let asking = async {
        loop {
            match ask(layout, plan.store, deadline).await {
                Ok(()) => return Ok(()),
                Err(why) => reason = why,
            }
            if begun.elapsed() > deadline {
                return Err(());
            }
            tokio::time::sleep(process::TICK).await;
        }
    };
    let ended = tokio::select! {
        answer = asking => match answer {
            Ok(()) => return Ok(()),
            Err(()) => None,
        },
        record = death(&records) => Some(record),
        () = tokio::time::sleep(deadline) => None,
    };
    Err(give_up(layout, plan.service, ended.or(records.first().copied()), ended.is_some(), (deadline, reason)))
}

async fn ask(layout: &Layout, store: &dyn Store, deadline: Duration) -> Result<(), String> {
    let late = |_| "no answer".to_owned();
    tokio::time::timeout(deadline, store.assemble(layout)).await.map_err(late)??;
    tokio::time::timeout(QUERY, store.ready(layout)).await.map_err(late)?
}

/// The first of these processes to end.
async fn death<'a>(records: &[&'a Record]) -> &'a Record {
    loop {
        if let Some(dead) = records.iter().find(|r| !r.is_alive()) {
            return dead;
        }
        tokio::time::sleep(process::TICK).await;
    }
}

fn give_up(
    layout: &Layout,
    service: Service,
    record: Option<&Record>,
    died: bool,
    (deadline, reason): (Duration, String),
) -> Error {
    let node = record.map_or(service.name(), |r| &r.node);
    let log = layout.log_file(node);
    let tail = logs::last_lines(&log, record.map_or(0, |r| r.log_start), LOG_LINES);
    let full = system::free_mib(layout.state_dir()).filter(|free| *free < 64);
    if let Some(free_mib) = full {
        return Error::DiskFull { path: layout.state_dir().to_owned(), free_mib, needed_mib: ROOM_MIB };
    }
    if died {
        return Error::Died { service, log, tail };
    }
    Error::NotReady { service, seconds: deadline.as_secs(), reason, log, tail }
}
