//! Why an operation on the local stack failed. Each message fits after "failed to ...:" and contains the remedy. It
//! never prints one.

use std::{io, path::PathBuf};

use crate::service::Service;

/// Why an operation on the local stack failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Programs that fetch or run the stores are not installed.
    #[error("missing on this machine: {missing}; on Debian or Ubuntu: sudo apt-get install {packages}")]
    MissingTools {
        /// All missing programs, as a list.
        missing: String,
        /// Debian packages that contain them, separated by spaces.
        packages: String,
    },
    /// The stores' programs do not run on this platform.
    #[error(
        "the local stack's programs are built for Linux on x86-64 with glibc, and this is {0}; use docker-compose.yml"
    )]
    Platform(String),
    /// Another process listens on a port of a service.
    #[error("port {port} of {service} is in use by {holder}; stop it, or choose other ports with --port-base")]
    PortTaken {
        /// The service that needs it.
        service: Service,
        /// The port on 127.0.0.1.
        port: u16,
        /// A description of the process that listens there.
        holder: String,
    },
    /// The stack's ports do not fit above the port base.
    #[error("use port base {0}: choose one from 1024 to 65475, so that all ports of the stack fit")]
    PortBase(u16),
    /// A service exited during startup.
    #[error("{service} exited during startup; the last lines of {log}:\n{tail}", log = log.display())]
    Exited {
        /// The service.
        service: Service,
        /// Log file of the service.
        log: PathBuf,
        /// The log's last lines.
        tail: String,
    },
    /// A service did not become ready in time.
    #[error("{service} was not ready after {seconds} s ({reason}); the last lines of {log}:\n{tail}", log = log.display())]
    NotReady {
        /// The service.
        service: Service,
        /// The service's deadline, in seconds.
        seconds: u64,
        /// The result of the last readiness query.
        reason: String,
        /// Log file of the service.
        log: PathBuf,
        /// The log's last lines.
        tail: String,
    },
    /// A step before the start of a service failed.
    #[error("prepare {service}: {reason}")]
    Prepare {
        /// The service.
        service: Service,
        /// The cause.
        reason: String,
    },
    /// A program could not be fetched.
    #[error("fetch {artifact}: {reason}")]
    Fetch {
        /// Name and version of the program.
        artifact: String,
        /// The client's output, or what did not match.
        reason: String,
    },
    /// The disk is too full.
    #[error("{path} has {free_mib} MiB free and the stack needs {needed_mib} MiB; free some space, or choose another folder ([stack] state_dir, cache_dir)", path = path.display())]
    DiskFull {
        /// The folder.
        path: PathBuf,
        /// Free space, MiB.
        free_mib: u64,
        /// Required space, MiB.
        needed_mib: u64,
    },
    /// The unprivileged user that runs PostgreSQL and Elasticsearch cannot reach its files.
    #[error("{folder} is closed to other users, but PostgreSQL and Elasticsearch refuse to run as root and must traverse it; choose another folder ([stack] state_dir, cache_dir) or open it with chmod o+x", folder = folder.display())]
    Unreachable {
        /// The innermost closed folder of the path.
        folder: PathBuf,
    },
    /// Neither the environment nor the settings name a folder for files.
    #[error("neither HOME nor {0} is set; set one of them, or [stack] state_dir and cache_dir")]
    NoHome(&'static str),
    /// A file or folder of the stack could not be read or written.
    #[error("{what} {path}: {source}", path = path.display())]
    File {
        /// The operation, as a verb: `read`, `create`.
        what: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The ClickHouse library could not be loaded.
    #[error("load the ClickHouse library {library}: {reason}", library = library.display())]
    Library {
        /// The shared library.
        library: PathBuf,
        /// The loader's message.
        reason: String,
    },
}

impl Error {
    pub(crate) fn prepare(service: Service, reason: impl Into<String>) -> Self {
        Self::Prepare { service, reason: reason.into() }
    }
}

/// Turns an I/O error into an [`Error`] with operation and path; a full disk has its own.
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
