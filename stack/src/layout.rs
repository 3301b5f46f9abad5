//! Every path and port of one stack, resolved from [`Settings`] and the environment. Nothing is created outside the
//! state and cache folders.

use std::{
    env,
    path::{Path, PathBuf},
};

use sluice_schemas::stores::Ports;

use crate::{
    account::{self, Account},
    config::Settings,
    error::{Error, FileContext},
    system,
};

/// The paths and ports of one stack.
#[derive(Debug, Clone)]
pub struct Layout {
    settings: Settings,
    state_dir: PathBuf,
    cache_dir: PathBuf,
    program: PathBuf,
    unprivileged: Option<Account>,
}

impl Layout {
    /// Resolves the folders of the stack that `settings` describe. Creates nothing yet.
    pub fn new(settings: &Settings) -> Result<Self, Error> {
        if settings.port_base < 1024 || settings.port_base > u16::MAX - Ports::SPAN {
            return Err(Error::PortBase(settings.port_base));
        }
        let unprivileged = Account::unprivileged();
        let root = unprivileged.is_some();
        let state_dir = match &settings.state_dir {
            Some(dir) => absolute(dir)?,
            None if root => PathBuf::from(format!("/var/lib/sluice/stack-{}", settings.port_base)),
            None => home_folder("XDG_STATE_HOME", ".local/state")?.join(format!("sluice/stack-{}", settings.port_base)),
        };
        let cache_dir = match (&settings.cache_dir, env::var_os("SLUICE_CACHE").filter(|v| !v.is_empty())) {
            (Some(dir), _) => absolute(dir)?,
            (None, Some(dir)) => absolute(Path::new(&dir))?,
            (None, None) if root => PathBuf::from("/var/cache/sluice"),
            (None, None) => home_folder("XDG_CACHE_HOME", ".cache")?.join("sluice"),
        };
        let program = env::current_exe().file("locate", "/proc/self/exe")?;
        Ok(Self { settings: settings.clone(), state_dir, cache_dir, program, unprivileged })
    }

    /// The same layout with another `sluice` program for the stack's own processes; in tests, the current program is
    /// the test.
    #[must_use]
    pub fn with_program(mut self, program: PathBuf) -> Self {
        self.program = program;
        self
    }

    /// The ports of the stack.
    pub fn ports(&self) -> Ports {
        Ports::new(self.settings.port_base)
    }

    /// The folder of data, logs and process records.
    pub fn state_dir(&self) -> &Path {
        &self.state_dir
    }

    /// Free space on the disk that holds the stack's data, MiB.
    pub fn free_mib(&self) -> Option<u64> {
        system::free_mib(&self.state_dir)
    }

    /// The folder of downloaded programs.
    pub fn cache_dir(&self) -> &Path {
        &self.cache_dir
    }

    /// The settings of this layout.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    pub(crate) fn program(&self) -> &Path {
        &self.program
    }

    /// The account that runs stores which refuse root; `None` if the stack does not run as root.
    pub(crate) fn unprivileged(&self) -> Option<Account> {
        self.unprivileged
    }

    /// Gives a file or folder to the unprivileged account, if there is one.
    pub(crate) fn hand_over(&self, path: &Path) -> Result<(), Error> {
        self.unprivileged.map_or(Ok(()), |account| account.take_ownership(path))
    }

    /// Data, configuration and working directory of one node.
    pub(crate) fn node_dir(&self, node: &str) -> PathBuf {
        self.state_dir.join(node)
    }

    pub(crate) fn log_file(&self, node: &str) -> PathBuf {
        self.state_dir.join("logs").join(format!("{node}.log"))
    }

    pub(crate) fn records_dir(&self) -> PathBuf {
        self.state_dir.join("run")
    }

    pub(crate) fn programs_dir(&self) -> PathBuf {
        self.cache_dir.join("programs")
    }

    /// Locked by one `up` or `down` at a time.
    pub(crate) fn lock_file(&self) -> PathBuf {
        self.state_dir.join("stack.lock")
    }

    /// Locked, shared, by every lease holder.
    pub(crate) fn lease_file(&self) -> PathBuf {
        self.state_dir.join("lease.lock")
    }

    /// Locked by the stack's keeper.
    pub(crate) fn keeper_file(&self) -> PathBuf {
        self.state_dir.join("keeper.lock")
    }

    /// Exists once the cluster of this name has been formed completely.
    pub(crate) fn cluster_marker(&self, cluster: &str) -> PathBuf {
        self.state_dir.join(format!("{cluster}.assembled"))
    }

    /// Creates the folders, and checks that the unprivileged account can reach them.
    pub(crate) fn create_folders(&self) -> Result<(), Error> {
        for dir in [self.state_dir.join("logs"), self.records_dir(), self.programs_dir()] {
            account::create(&dir, self.unprivileged.is_some())?;
        }
        if self.unprivileged.is_some() {
            account::require_traversable(&self.state_dir)?;
            account::require_traversable(&self.programs_dir())?;
        }
        Ok(())
    }
}

fn absolute(dir: &Path) -> Result<PathBuf, Error> {
    std::path::absolute(dir).file("resolve", dir)
}

fn home_folder(variable: &'static str, fallback: &str) -> Result<PathBuf, Error> {
    let set = |name: &str| env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    set(variable).or_else(|| Some(set("HOME")?.join(fallback))).ok_or(Error::NoHome(variable))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(base: u16) -> Settings {
        Settings { port_base: base, ..Settings::default() }
    }

    #[test]
    fn a_port_base_must_leave_room_for_all_ports() {
        for base in [0, 1023, 65_500] {
            assert!(matches!(Layout::new(&settings(base)), Err(Error::PortBase(b)) if b == base), "{base}");
        }
        assert!(Layout::new(&settings(21_000)).is_ok());
    }

    #[test]
    fn two_stacks_have_two_folders() {
        let (a, b) = (Layout::new(&settings(21_000)).unwrap(), Layout::new(&settings(24_000)).unwrap());
        assert_ne!(a.state_dir(), b.state_dir());
        assert_eq!(a.cache_dir(), b.cache_dir(), "programs are shared");
    }
}
