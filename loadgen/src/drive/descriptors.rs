//! The number of files that the process may open, raised as far as it may: a stalled store holds a connection for every question
//! that waits, and the others must still get theirs. It never changes another process.

use std::error::Error;
use std::io;

use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the soft limit to the hard one.
pub(super) fn raise_limit() {
    let limit = getrlimit(Resource::Nofile);
    // Without the right, the limit stays, and a connection that can't be opened is an error that names the reason.
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).ok();
}

/// Whether an operation failed because this process, or its machine, may open no more files. No store is at fault then.
pub(super) fn ran_out(error: &(dyn Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        let code = error.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error);
        if code.is_some_and(|code| [Errno::MFILE, Errno::NFILE].map(Errno::raw_os_error).contains(&code)) {
            return true;
        }
        cause = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::QueryError;

    #[test]
    fn an_error_says_in_its_sources_that_no_file_can_be_opened() {
        let of = |code| QueryError::Postgres(sqlx::Error::Io(io::Error::from_raw_os_error(code)));
        assert!(ran_out(&of(Errno::MFILE.raw_os_error())) && ran_out(&of(Errno::NFILE.raw_os_error())));
        assert!(!ran_out(&of(Errno::CONNREFUSED.raw_os_error())));
    }

    #[test]
    fn the_soft_limit_becomes_the_hard_one() {
        raise_limit();
        let limit = getrlimit(Resource::Nofile);
        assert_eq!(limit.current, limit.maximum);
    }
}
