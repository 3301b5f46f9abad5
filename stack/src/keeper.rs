//! Leases on a stack, and the keeper that stops it when nobody holds one. In: a layout and an idle time. Out: the
//! stack goes away by itself after its last user, however that user ended. The keeper is a detached process of this
//! program under a hidden verb; it never stops a stack with a lease on it.

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
/// How often the keeper looks for leases.
const LOOK: Duration = Duration::from_secs(1);

/// While this value lives, the keeper leaves the stack alone.
#[derive(Debug)]
pub struct Lease {
    _lock: Lock,
}

/// Takes a lease; waits while the keeper is just stopping the stack.
pub async fn lease(layout: &Layout) -> Result<Lease, Error> {
    layout.create_folders()?;
    Ok(Lease { _lock: lock::shared(&layout.lease_file()).await? })
}

/// What the keeper's process is told on its command line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Orders {
    settings: Settings,
    idle_ms: u64,
    wipe: Wipe,
}

/// Starts the keeper of this stack, detached; one that is there already makes the new one go away.
pub fn spawn(layout: &Layout, idle: Duration) -> Result<(), Error> {
    launch(layout, idle, Wipe::No)
}

/// The same, with a keeper that also removes the stack's data: for tests.
pub fn spawn_wiping(layout: &Layout, idle: Duration) -> Result<(), Error> {
    launch(layout, idle, Wipe::Yes)
}

fn launch(layout: &Layout, idle: Duration, wipe: Wipe) -> Result<(), Error> {
    let settings = Settings {
        state_dir: Some(layout.state_dir().to_owned()),
        cache_dir: Some(layout.cache_dir().to_owned()),
        ..layout.settings().clone()
    };
    let orders = Orders { settings, idle_ms: u64::try_from(idle.as_millis()).unwrap_or(u64::MAX), wipe };
    let orders = serde_json::to_string(&orders).map_err(std::io::Error::from).file("write", layout.state_dir())?;
    let log = layout.log_file("keeper");
    let log = fs::File::options().create(true).append(true).open(&log).file("open", log)?;
    let mut command = Command::new("setsid");
    command.arg(layout.program()).arg(VERB).arg(orders).current_dir("/");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    command.spawn().map(drop).file("start", layout.program())
}

/// The hidden verb: what [`spawn`] starts.
pub(crate) fn serve(args: impl IntoIterator<Item = OsString>) -> Result<(), Error> {
    let orders = args.into_iter().next().unwrap_or_default();
    let orders: Orders =
        serde_json::from_slice(orders.as_encoded_bytes()).map_err(std::io::Error::from).file("read", "the orders")?;
    let layout = Layout::new(&orders.settings)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().file("start", "the runtime")?;
    runtime.block_on(run(&layout, Duration::from_millis(orders.idle_ms), orders.wipe))
}

/// Waits until no lease was held for `idle`, then stops the stack, and removes its data when told to.
pub(crate) async fn run(layout: &Layout, idle: Duration, wipe: Wipe) -> Result<(), Error> {
    let Some(only) = lock::attempt(&layout.keeper_file(), FlockArg::LockExclusiveNonblock)? else { return Ok(()) };
    let mut last_use = Instant::now();
    loop {
        if !layout.state_dir().exists() {
            return Ok(());
        }
        match lock::attempt(&layout.lease_file(), FlockArg::LockExclusiveNonblock)? {
            None => last_use = Instant::now(),
            Some(nobody) if last_use.elapsed() >= idle => {
                down(layout, wipe, &Progress::silent()).await?;
                // The keeper's own lock goes first: whoever gets a lease next must be able to start another keeper.
                drop(only);
                drop(nobody);
                return Ok(());
            }
            Some(nobody) => drop(nobody),
        }
        tokio::time::sleep(LOOK.min(idle)).await;
    }
}
