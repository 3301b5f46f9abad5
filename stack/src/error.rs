//! Everything that can go wrong with the local stack, in words that a user can act on.
//! Each text is a fragment that fits after "failed to ...:".

use std::{io, path::PathBuf};

use crate::service::Service;

/// Why the stack could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Programs that fetch or run the stores are not on this machine; all of them at once.
    #[error("this machine lacks {missing}; on Debian or Ubuntu: sudo apt-get install {packages}")]
    MissingTools {
        /// What is missing, as a list to read.
        missing: String,
        /// Debian packages that have it, separated by blanks.
        packages: String,
    },
    /// The stores' programs exist for another kind of machine only.
    #[error(
        "the local stack's programs are built for Linux on x86-64 with glibc, and this is {0}; use docker-compose.yml"
    )]
    Platform(String),
    /// A port of a service is taken.
    #[error(
        "port {port}, which {service} needs, is taken by {holder}; stop that, or choose other ports with --port-base"
    )]
    PortTaken {
        /// Who needs it.
        service: Service,
        /// The port on 127.0.0.1.
        port: u16,
        /// The process that listens there, where it can be found.
        holder: String,
    },
    /// The port base leaves no room below 65,536.
    #[error("port base {0} leaves no room for the stack's ports: choose one from 1024 to 65475")]
    PortBase(u16),
    /// A service ended while it was starting.
    #[error("{service} ended while it was starting; the last lines of {log}:\n{tail}", log = log.display())]
    Died {
        /// Which one.
        service: Service,
        /// Its log file.
        log: PathBuf,
        /// The log's last lines.
        tail: String,
    },
    /// A service did not answer its readiness query in time.
    #[error("{service} was not ready after {seconds} s ({reason}); the last lines of {log}:\n{tail}", log = log.display())]
    NotReady {
        /// Which one.
        service: Service,
        /// How long it was given, in seconds.
        seconds: u64,
        /// What the last readiness query said.
        reason: String,
        /// Its log file.
        log: PathBuf,
        /// The log's last lines.
        tail: String,
    },
    /// A step before or after the start of a service failed.
    #[error("{service} could not be prepared: {reason}")]
    Prepare {
        /// Which one.
        service: Service,
        /// What went wrong.
        reason: String,
    },
    /// A program could not be fetched.
    #[error("{artifact} could not be fetched: {reason}")]
    Fetch {
        /// Name and version of what was fetched.
        artifact: String,
        /// What the client said, or what did not match.
        reason: String,
    },
    /// Too little room on the disk.
    #[error("{path} has {free_mib} MiB free and the stack needs {needed_mib} MiB; make room, or choose another folder ([stack] state_dir, cache_dir)", path = path.display())]
    DiskFull {
        /// The folder that was looked at.
        path: PathBuf,
        /// What is free, MiB.
        free_mib: u64,
        /// What is needed, MiB.
        needed_mib: u64,
    },
    /// The unprivileged user that runs PostgreSQL and Elasticsearch for root cannot reach its files.
    #[error("{folder} is closed to other users, and PostgreSQL and Elasticsearch, which refuse to run as root, must walk through it; choose another folder ([stack] state_dir, cache_dir) or open it with chmod o+x", folder = folder.display())]
    Unreachable {
        /// The first folder on the way that is closed.
        folder: PathBuf,
    },
    /// Neither the environment nor the settings say where files go.
    #[error("neither HOME nor {0} is set, so there is no place for the stack's files")]
    NoHome(&'static str),
    /// A file or folder of the stack could not be read or written.
    #[error("{what} {path}: {source}", path = path.display())]
    File {
        /// What was tried, as a verb: `read`, `create`.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The hidden verb that runs ClickHouse could not load its library.
    #[error("the ClickHouse library {library} could not be loaded: {reason}", library = library.display())]
    Library {
        /// The shared library.
        library: PathBuf,
        /// What the loader said.
        reason: String,
    },
}

impl Error {
    pub(crate) fn prepare(service: Service, reason: impl Into<String>) -> Self {
        Self::Prepare { service, reason: reason.into() }
    }
}

/// Shortens `map_err` for file operations, and gives a full disk its own words.
pub(crate) trait FileContext<T> {
    fn file(self, what: &'static str, path: impl Into<PathBuf>) -> Result<T, Error>;
}

impl<T> FileContext<T> for io::Result<T> {
    fn file(self, what: &'static str, path: impl Into<PathBuf>) -> Result<T, Error> {
        self.map_err(|source| {
            let path = path.into();
            if source.kind() == io::ErrorKind::StorageFull {
                return Error::DiskFull { path, free_mib: 0, needed_mib: 1 };
            }
            Error::File { what, path, source }
        })
    }
}
