//! The record of a process that `up` started, one file per node: what `down` may end. A record is announced before
//! its process exists and completed right after, so no instant is left at which a killed `up` leaves an orphan that
//! the next call could not find. Never trusts a pid without its start time.

use std::{
    fs,
    path::{Path, PathBuf},
};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, FileContext},
    layout::Layout,
    node::Node,
    service::Service,
    system,
};

/// A process, so named that it can't be taken for another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    pub(crate) pid: i32,
    /// Clock ticks from the start of the machine to the start of the process.
    pub(crate) started: u64,
}

/// What is known about one node's process.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Record {
    pub(crate) service: Service,
    pub(crate) node: String,
    /// Missing while the process is only announced.
    pub(crate) process: Option<Identity>,
    /// Boot of the machine that `process` belongs to.
    pub(crate) boot: String,
    pub(crate) command: Vec<String>,
    pub(crate) ports: Vec<u16>,
    pub(crate) started_at: DateTime<Utc>,
    /// When the service first answered its readiness query.
    pub(crate) ready_at: Option<DateTime<Utc>>,
    /// Signal that asks it to end.
    pub(crate) stop: i32,
    /// Length of the log file before this start, in bytes.
    pub(crate) log_start: u64,
}

impl Record {
    /// A record of what is about to start.
    pub(crate) fn announce(service: Service, node: &Node, log_start: u64) -> Self {
        let mut command = vec![node.program.display().to_string()];
        command.extend(node.args.iter().map(|a| a.to_string_lossy().into_owned()));
        Self {
            service,
            node: node.name.clone(),
            process: None,
            boot: system::boot_id(),
            command,
            ports: node.ports.clone(),
            started_at: Utc::now(),
            ready_at: None,
            stop: node.stop as i32,
            log_start,
        }
    }

    /// Whether the very process of this record runs.
    pub(crate) fn is_alive(&self) -> bool {
        self.living().is_some()
    }

    /// The process, if it runs: same boot, same pid, same start time, not a zombie.
    pub(crate) fn living(&self) -> Option<Identity> {
        let identity = self.process?;
        let stat = system::stat(identity.pid)?;
        let same = stat.started == identity.started && !stat.zombie && self.boot == system::boot_id();
        same.then_some(identity)
    }

    /// Everything of this node that runs. The session outlives its leader, and no other process can get the
    /// session's id as long as it has members; a living process with that id but another start time is a stranger.
    pub(crate) fn family(&self) -> Vec<i32> {
        let Some(identity) = self.process.filter(|_| self.boot == system::boot_id()) else { return vec![] };
        match system::stat(identity.pid) {
            Some(stat) if stat.started != identity.started => vec![],
            _ => system::family(identity.pid).into_iter().collect(),
        }
    }

    /// Looks for the process of a record that was announced and never completed: it was started in the node's own
    /// folder, from the node's own program, and leads its session.
    pub(crate) fn recover(&mut self, layout: &Layout) {
        if self.process.is_some() || self.boot != system::boot_id() {
            return;
        }
        let dir = layout.node_dir(&self.node);
        let found = system::all().into_iter().find(|s| {
            let ours = system::origin(s.pid).is_some_and(|(cwd, exe)| cwd.starts_with(&dir) && self.ran_from(&exe));
            ours && s.session == s.pid
        });
        self.process = found.map(|s| Identity { pid: s.pid, started: s.started });
    }

    /// A launcher script ends up as `java`; everything else keeps its program's name.
    fn ran_from(&self, exe: &Path) -> bool {
        let name = |p: &Path| p.file_name().map(|n| n.to_string_lossy().replace(" (deleted)", ""));
        let program = self.command.first().map(PathBuf::from).unwrap_or_default();
        let launcher = if self.service == Service::Elasticsearch { &["java", "bash", "sh"][..] } else { &[] };
        name(exe).is_some_and(|exe| Some(&exe) == name(&program).as_ref() || launcher.contains(&exe.as_str()))
    }

    /// Writes the record, all of it or nothing.
    pub(crate) fn save(&self, layout: &Layout) -> Result<(), Error> {
        let path = path(layout, &self.node);
        let fresh = path.with_extension("new");
        let text = serde_json::to_string_pretty(self).map_err(std::io::Error::from).file("write", &path)?;
        fs::write(&fresh, text).file("write", &fresh)?;
        fs::rename(&fresh, &path).file("write", path)
    }

    /// Forgets the process.
    pub(crate) fn remove(&self, layout: &Layout) -> Result<(), Error> {
        let path = path(layout, &self.node);
        match fs::remove_file(&path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(e).file("remove", path),
            _ => Ok(()),
        }
    }
}

fn path(layout: &Layout, node: &str) -> PathBuf {
    layout.records_dir().join(format!("{node}.json"))
}

/// The records of a stack. One that can't be read belongs to nobody and is dropped: the ports it may still hold are
/// found taken, with the process that holds them.
pub(crate) fn load(layout: &Layout) -> Vec<Record> {
    let Ok(entries) = fs::read_dir(layout.records_dir()) else { return vec![] };
    let files = entries.flatten().map(|e| e.path()).filter(|p| p.extension().is_some_and(|e| e == "json"));
    let mut records: Vec<Record> = files
        .filter_map(|path| {
            let read = serde_json::from_slice::<Record>(&fs::read(&path).ok()?);
            if let Err(error) = &read {
                tracing::warn!(path = %path.display(), %error, "ignoring a process record that can't be read");
            }
            read.ok()
        })
        .collect();
    for record in &mut records {
        record.recover(layout);
    }
    records.sort_by(|a, b| a.node.cmp(&b.node));
    records
}
