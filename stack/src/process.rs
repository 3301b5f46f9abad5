//! Starting and ending processes. Each node gets a session of its own, so that neither Ctrl-C nor the end of the
//! terminal reaches it, and a log file. Ends only what a [`Record`] names.

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

/// Logs longer than this are moved aside at the next start.
const LOG_LIMIT: u64 = 32 << 20;
/// How long a process may take to end before it is killed.
const GRACE: Duration = Duration::from_secs(20);
/// How long a killed process may take to be gone.
const KILLED: Duration = Duration::from_secs(2);
/// How often a condition of the kernel's is looked at.
pub(crate) const TICK: Duration = Duration::from_millis(50);

/// A process that was started and is not ready yet: dropped before [`Starting::keep`], it is killed.
#[derive(Debug)]
pub(crate) struct Starting<'a> {
    layout: &'a Layout,
    record: Option<Record>,
}

impl Starting<'_> {
    pub(crate) fn record(&self) -> Option<&Record> {
        self.record.as_ref()
    }

    /// The process is ready and stays.
    pub(crate) fn keep(mut self) -> Result<(), Error> {
        let Some(mut record) = self.record.take() else { return Ok(()) };
        record.ready_at = Some(chrono::Utc::now());
        record.save(self.layout)
    }
}

impl Drop for Starting<'_> {
    fn drop(&mut self) {
        let Some(record) = self.record.take() else { return };
        let killed = Instant::now();
        // Whoever sees `up` fail may start again at once: the ports have to be free by then. The kernel needs
        // milliseconds for it, and drop can't await.
        while killed.elapsed() < KILLED {
            let family = record.family();
            if family.is_empty() {
                break;
            }
            for pid in family {
                signal(pid, Signal::SIGKILL);
            }
            pause();
        }
        if let Err(error) = record.remove(self.layout) {
            tracing::warn!(%error, "a process record stays behind");
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the step of a loop with a condition and a deadline, where nothing can be awaited"
)]
fn pause() {
    std::thread::sleep(Duration::from_millis(5));
}

/// Starts a node, detached. The record is on disk before the process is.
pub(crate) fn start<'a>(layout: &'a Layout, service: Service, node: &Node) -> Result<Starting<'a>, Error> {
    let (log, log_start) = open_log(&layout.log_file(&node.name))?;
    let mut record = Record::announce(service, node, log_start);
    record.save(layout)?;
    let mut starting = Starting { layout, record: None };
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

/// The log to append to, and how long it already is.
fn open_log(path: &Path) -> Result<(File, u64), Error> {
    if path.metadata().is_ok_and(|m| m.len() > LOG_LIMIT) {
        fs::rename(path, path.with_extension("log.1")).file("rename", path)?;
    }
    let file = OpenOptions::new().create(true).append(true).open(path).file("open", path)?;
    let length = file.metadata().file("look at", path)?.len();
    Ok((file, length))
}

/// Ends the process of a record: asks, waits, then kills whatever of it is left. Anything else keeps running, even
/// under the same pid.
pub(crate) async fn end(layout: &Layout, record: &Record) -> Result<(), Error> {
    if let (Some(identity), Ok(stop)) = (record.living(), Signal::try_from(record.stop)) {
        signal(identity.pid, stop);
        let asked = Instant::now();
        while record.is_alive() && asked.elapsed() < GRACE {
            tokio::time::sleep(TICK).await;
        }
    }
    let killed = Instant::now();
    loop {
        let family = record.family();
        if family.is_empty() || killed.elapsed() > GRACE {
            break;
        }
        for pid in family {
            signal(pid, Signal::SIGKILL);
        }
        tokio::time::sleep(TICK).await;
    }
    record.remove(layout)
}

/// A process that is already gone is no failure: that is what was wanted.
fn signal(pid: i32, signal: Signal) {
    if let Err(error) = kill(Pid::from_raw(pid), signal) {
        tracing::debug!(pid, %signal, %error, "signal not delivered");
    }
}
