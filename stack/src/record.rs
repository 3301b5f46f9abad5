//! The record of a process that `up` started, one file per node; `down` stops only recorded processes. A record is
//! written before its process exists and completed right after, so whenever `up` is killed, the next call finds the
//! process. A pid without its start time is never trusted.

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

/// Identifies a process uniquely.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    pub(crate) pid: i32,
    /// Start time in clock ticks since boot.
    pub(crate) started: u64,
}

/// The process of one node.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Record {
    pub(crate) service: Service,
    pub(crate) node: String,
    /// Absent until the process has been started.
    pub(crate) process: Option<Identity>,
    /// ID of the boot that `process` belongs to.
    pub(crate) boot: String,
    pub(crate) command: Vec<String>,
    pub(crate) ports: Vec<u16>,
    pub(crate) started_at: DateTime<Utc>,
    /// When the service became ready.
    pub(crate) ready_at: Option<DateTime<Utc>>,
    /// Signal for a graceful shutdown.
    pub(crate) stop: i32,
    /// Length of the log file before the start, in bytes.
    pub(crate) log_start: u64,
}

impl Record {
    /// The record of a process that is about to start.
    pub(crate) fn new(service: Service, node: &Node, log_start: u64) -> Self {
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

    /// Whether the recorded process is running.
    pub(crate) fn is_alive(&self) -> bool {
        self.running().is_some()
    }

    /// The process, if it is running: same boot, same pid, same start time, not a zombie.
    pub(crate) fn running(&self) -> Option<Identity> {
        let identity = self.process?;
        let stat = system::stat(identity.pid)?;
        let same = stat.started == identity.started && !stat.zombie && self.boot == system::boot_id();
        same.then_some(identity)
    }

    /// All running processes of this node. The session outlives its leader, and its ID is not reused while it has
    /// members; a running process with that ID and another start time does not belong to the node.
    pub(crate) fn process_tree(&self) -> Vec<i32> {
        let Some(identity) = self.process.filter(|_| self.boot == system::boot_id()) else { return vec![] };
        match system::stat(identity.pid) {
            Some(stat) if stat.started != identity.started => vec![],
            _ => system::process_tree(identity.pid).into_iter().collect(),
        }
    }

    /// Finds the process of a record that was never completed: it runs in the node's folder, from the node's program,
    /// and leads its session.
    pub(crate) fn recover(&mut self, layout: &Layout) {
        if self.process.is_some() || self.boot != system::boot_id() {
            return;
        }
        let dir = layout.node_dir(&self.node);
        let leader = system::processes().into_iter().find(|s| {
            let matches = system::origin(s.pid).is_some_and(|(cwd, exe)| cwd.starts_with(&dir) && self.matches(&exe));
            matches && s.session == s.pid
        });
        self.process = leader.map(|s| Identity { pid: s.pid, started: s.started });
    }

    /// Whether the node's program runs as `exe`: a launcher script becomes `java`, any other program keeps its name.
    fn matches(&self, exe: &Path) -> bool {
        let name = |p: &Path| p.file_name().map(|n| n.to_string_lossy().replace(" (deleted)", ""));
        let program = self.command.first().map(PathBuf::from).unwrap_or_default();
        let launcher = if self.service == Service::Elasticsearch { &["java", "bash", "sh"][..] } else { &[] };
        name(exe).is_some_and(|exe| Some(&exe) == name(&program).as_ref() || launcher.contains(&exe.as_str()))
    }

    /// Writes the record atomically.
    pub(crate) fn save(&self, layout: &Layout) -> Result<(), Error> {
        let path = path(layout, &self.node);
        let temporary = path.with_extension("new");
        let text = serde_json::to_string_pretty(self).map_err(std::io::Error::from).file("write", &path)?;
        fs::write(&temporary, text).file("write", &temporary)?;
        fs::rename(&temporary, &path).file("write", path)
    }

    /// Removes the record.
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

/// The records of a stack. An unreadable one is ignored: if its process still runs, its ports are reported as in use.
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
