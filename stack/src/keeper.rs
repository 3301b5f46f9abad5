//! Leases on a stack, and the keeper that stops an idle stack: a detached process of this program under a hidden verb.
//! A lease is a file lock, which the system releases when its holder exits for any reason. A stack is never stopped
//! while a lease is held.

use std::{
    ffi::OsString,
    fs,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use nix::fcntl::FlockArg;
use serde::{Deserialize, Serialize};

use crate::{
    config::Settings,
    down::{Wipe, down},
    error::{Error, FileContext},
    layout::Layout,
    lock::{self, Lock},
    progress::Progress,
};

/// The hidden verb that runs the keeper.
pub(crate) const VERB: &str = "__keeper";
/// Interval at which the keeper checks for leases.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// A lease on the stack; the keeper does not stop the stack while it is held.
#[derive(Debug)]
pub struct Lease {
    _lock: Lock,
}

/// Acquires a lease; waits if the keeper is stopping the stack.
pub async fn lease(layout: &Layout) -> Result<Lease, Error> {
    layout.create_folders()?;
    Ok(Lease { _lock: lock::shared(&layout.lease_file()).await? })
}

/// The argument of the keeper's process.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Arguments {
    settings: Settings,
    idle_ms: u64,
    wipe: Wipe,
}

/// Starts the keeper of this stack, detached. If one is already running, the new one exits.
pub fn spawn(layout: &Layout, idle: Duration) -> Result<(), Error> {
    launch(layout, idle, Wipe::No)
}

/// Like [`spawn`], but the keeper also removes the stack's data; for tests.
pub fn spawn_wiping(layout: &Layout, idle: Duration) -> Result<(), Error> {
    launch(layout, idle, Wipe::Yes)
}

fn launch(layout: &Layout, idle: Duration, wipe: Wipe) -> Result<(), Error> {
    let settings = Settings {
        state_dir: Some(layout.state_dir().to_owned()),
        cache_dir: Some(layout.cache_dir().to_owned()),
        ..layout.settings().clone()
    };
    let arguments = Arguments { settings, idle_ms: u64::try_from(idle.as_millis()).unwrap_or(u64::MAX), wipe };
    let arguments =
        serde_json::to_string(&arguments).map_err(std::io::Error::from).file("write", layout.state_dir())?;
    let log = layout.log_file("keeper");
    let log = fs::File::options().create(true).append(true).open(&log).file("open", log)?;
    let mut command = Command::new("setsid");
    command.arg(layout.program()).arg(VERB).arg(arguments).current_dir("/");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    command.spawn().map(drop).file("start", layout.program())
}

/// Serves the hidden verb that [`spawn`] starts.
pub(crate) fn serve(args: impl IntoIterator<Item = OsString>) -> Result<(), Error> {
    let arguments = args.into_iter().next().unwrap_or_default();
    let arguments: Arguments = serde_json::from_slice(arguments.as_encoded_bytes())
        .map_err(std::io::Error::from)
        .file("read", "the arguments")?;
    let layout = Layout::new(&arguments.settings)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().file("start", "the runtime")?;
    runtime.block_on(run(&layout, Duration::from_millis(arguments.idle_ms), arguments.wipe))
}

/// Waits until no lease has been held for `idle`, then stops the stack and, with [`Wipe::Yes`], removes its data.
pub(crate) async fn run(layout: &Layout, idle: Duration, wipe: Wipe) -> Result<(), Error> {
    let Some(keeper) = lock::try_lock(&layout.keeper_file(), FlockArg::LockExclusiveNonblock)? else { return Ok(()) };
    let mut last_use = Instant::now();
    loop {
        if !layout.state_dir().exists() {
            return Ok(());
        }
        match lock::try_lock(&layout.lease_file(), FlockArg::LockExclusiveNonblock)? {
            None => last_use = Instant::now(),
            Some(unleased) if last_use.elapsed() >= idle => {
                down(layout, wipe, &Progress::silent()).await?;
                // The keeper's own lock is released first: the next lease holder must be able to start another keeper.
                drop(keeper);
                drop(unleased);
                return Ok(());
            }
            Some(unleased) => drop(unleased),
        }
        tokio::time::sleep(POLL_INTERVAL.min(idle)).await;
    }
}
