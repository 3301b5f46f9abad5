//! Every path and port of one stack. In: [`Settings`] and the environment. Out: folders, ports and the user that
//! the stores run as. Creates nothing but the folders it is asked for, and never leaves the state and cache folders.

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

/// Where one stack lives.
#[derive(Debug, Clone)]
pub struct Layout {
    settings: Settings,
    state_dir: PathBuf,
    cache_dir: PathBuf,
    program: PathBuf,
    unprivileged: Option<Account>,
}

impl Layout {
    /// Resolves the folders of the stack that `settings` describes; nothing is created yet.
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
        let program = env::current_exe().file("find the program", "/proc/self/exe")?;
        Ok(Self { settings: settings.clone(), state_dir, cache_dir, program, unprivileged })
    }

    /// The same, with another `sluice` program for the processes that the stack runs from it (tests need this:
    /// their own program is the test).
    #[must_use]
    pub fn with_program(mut self, program: PathBuf) -> Self {
        self.program = program;
        self
    }

    /// Ports of the stack.
    pub fn ports(&self) -> Ports {
        Ports::new(self.settings.port_base)
    }

    /// Folder of data, logs and process records.
    pub fn state_dir(&self) -> &Path {
        &self.state_dir
    }

    /// Free space on the disk that holds the stack's data, MiB.
    pub fn free_mib(&self) -> Option<u64> {
        system::free_mib(&self.state_dir)
    }

    /// Folder of downloaded programs.
    pub fn cache_dir(&self) -> &Path {
        &self.cache_dir
    }

    /// Settings that this layout was made from.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    pub(crate) fn program(&self) -> &Path {
        &self.program
    }

    /// Who runs the stores that refuse root; none when the stack itself is not root.
    pub(crate) fn unprivileged(&self) -> Option<Account> {
        self.unprivileged
    }

    /// Hands a file or folder to the account that runs the stores which refuse root; does nothing without one.
    pub(crate) fn hand_over(&self, path: &Path) -> Result<(), Error> {
        self.unprivileged.map_or(Ok(()), |account| account.take(path))
    }

    /// Folder of one node: its data and configuration, and its working directory.
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

    /// Held by one `up` or `down` at a time.
    pub(crate) fn lock_file(&self) -> PathBuf {
        self.state_dir.join("stack.lock")
    }

    /// Shared by everyone who needs the stack.
    pub(crate) fn lease_file(&self) -> PathBuf {
        self.state_dir.join("lease.lock")
    }

    /// Held by the stack's one keeper.
    pub(crate) fn keeper_file(&self) -> PathBuf {
        self.state_dir.join("keeper.lock")
    }

    /// Says that the cluster of this name was put together to the end.
    pub(crate) fn mark(&self, cluster: &str) -> PathBuf {
        self.state_dir.join(format!("{cluster}.assembled"))
    }

    /// Makes the folders, and checks that the stores' own user can walk to them.
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
    fn a_port_base_needs_room_for_all_ports() {
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
