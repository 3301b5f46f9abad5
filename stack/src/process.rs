//! Starts and stops the nodes' processes. Each runs in its own session, so that neither Ctrl-C nor closing the terminal
//! reaches it, and writes to a log file. Only processes that a [`Record`] identifies are stopped.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions},
    path::Path,
    time::{Duration, Instant},
};

use crate::{
    command,
    error::{Error, FileContext},
    layout::Layout,
    node::Node,
    record::{Identity, Record},
    service::Service,
    system,
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// A longer log is rotated at the next start.
const LOG_LIMIT: u64 = 32 << 20;
/// Maximum time in which [`stop`] waits for a process to exit, first after its stop signal and again after SIGKILL.
const GRACE: Duration = Duration::from_secs(20);
/// Maximum time in which dropping a [`KillOnDrop`] waits for the killed process to exit; it blocks the thread.
const KILL_TIMEOUT: Duration = Duration::from_secs(2);
/// Interval at which a process or a service is polled.
pub(crate) const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// A started process that is not ready yet; dropping it before [`KillOnDrop::mark_ready`] kills the process.
#[derive(Debug)]
pub(crate) struct KillOnDrop<'a> {
    layout: &'a Layout,
    record: Option<Record>,
}

impl KillOnDrop<'_> {
    pub(crate) fn record(&self) -> Option<&Record> {
        self.record.as_ref()
    }

    /// Marks the process as ready and keeps it running.
    pub(crate) fn mark_ready(mut self) -> Result<(), Error> {
        let Some(mut record) = self.record.take() else { return Ok(()) };
        record.ready_at = Some(chrono::Utc::now());
        record.save(self.layout)
    }
}

impl Drop for KillOnDrop<'_> {
    fn drop(&mut self) {
        let Some(record) = self.record.take() else { return };
        let killed = Instant::now();
        // A caller may retry as soon as `up` has failed, and needs the ports to be free then. The kernel takes a few
        // milliseconds, and drop cannot await.
        while killed.elapsed() < KILL_TIMEOUT {
            let tree = record.process_tree();
            if tree.is_empty() {
                break;
            }
            for pid in tree {
                signal(pid, Signal::SIGKILL);
            }
            pause();
        }
        if let Err(error) = record.remove(self.layout) {
            tracing::warn!(%error, "failed to remove a process record");
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a loop with a condition and a deadline, in drop, which cannot await")]
fn pause() {
    std::thread::sleep(Duration::from_millis(5));
}

/// Starts a node, detached. The record is on disk before the process exists.
pub(crate) fn start<'a>(layout: &'a Layout, service: Service, node: &Node) -> Result<KillOnDrop<'a>, Error> {
    let (log, log_start) = open_log(&layout.log_file(&node.name))?;
    let mut record = Record::new(service, node, log_start);
    record.save(layout)?;
    let mut starting = KillOnDrop { layout, record: None };
    let mut command = command::new(layout, Path::new("setsid"), node.refuses_root);
    command.arg(&node.program).args(&node.args).envs(node.env.iter().map(|(k, v)| (*k, OsString::from(v))));
    command.current_dir(layout.node_dir(&node.name)).kill_on_drop(false);
    command.stderr(log.try_clone().file("open", layout.log_file(&node.name))?).stdout(log);
    let child = command.spawn().file("start", &node.program)?;
    let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).unwrap_or_default();
    record.process = system::stat(pid).map(|stat| Identity { pid, started: stat.started });
    starting.record.insert(record).save(layout)?;
    Ok(starting)
}

/// The log to append to, and its current length.
fn open_log(path: &Path) -> Result<(File, u64), Error> {
    if path.metadata().is_ok_and(|m| m.len() > LOG_LIMIT) {
        fs::rename(path, path.with_extension("log.1")).file("rename", path)?;
    }
    let file = OpenOptions::new().create(true).append(true).open(path).file("open", path)?;
    let length = file.metadata().file("inspect", path)?.len();
    Ok((file, length))
}

/// Stops the process of a record: sends the configured stop signal, waits, then kills what remains of its process tree.
/// It never affects another process with the same pid.
pub(crate) async fn stop(layout: &Layout, record: &Record) -> Result<(), Error> {
    if let (Some(identity), Ok(stop_signal)) = (record.running(), Signal::try_from(record.stop)) {
        signal(identity.pid, stop_signal);
        let signaled = Instant::now();
        while record.is_alive() && signaled.elapsed() < GRACE {
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }
    let killed = Instant::now();
    loop {
        let tree = record.process_tree();
        if tree.is_empty() || killed.elapsed() > GRACE {
            break;
        }
        for pid in tree {
            signal(pid, Signal::SIGKILL);
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
    record.remove(layout)
}

/// Sends a signal. Failures are only logged, because the process may already have exited.
fn signal(pid: i32, signal: Signal) {
    if let Err(error) = kill(Pid::from_raw(pid), signal) {
        tracing::debug!(pid, %signal, %error, "signal not delivered");
    }
}
