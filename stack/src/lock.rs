//! Locks between processes: one `up` or `down` at a time, one download of a program at a time, and leases.
//! Each is an flock on a file, which the kernel releases when its holder exits for any reason. A lock that another
//! process holds is never broken.

use std::{
    fs::{File, OpenOptions},
    os::unix::fs::MetadataExt,
    path::Path,
    time::Duration,
};

use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
};

use crate::error::{Error, FileContext};

/// A lock; held until it is dropped.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: Flock<File>,
}

/// Locks `path`; `None` if another process holds a conflicting lock.
pub(crate) fn try_lock(path: &Path, how: FlockArg) -> Result<Option<Lock>, Error> {
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(path).file("open", path)?;
    let locked = match Flock::lock(file, how) {
        Ok(locked) => locked,
        Err((_, Errno::EWOULDBLOCK | Errno::EINTR)) => return Ok(None),
        Err((_, errno)) => return Err(std::io::Error::from(errno)).file("lock", path),
    };
    // `down --wipe` removes the file while it holds the lock: a lock on a removed file excludes no other process.
    let inode = |meta: std::io::Result<std::fs::Metadata>| meta.map(|m| (m.dev(), m.ino())).ok();
    let same = inode(locked.metadata()) == inode(path.metadata());
    Ok(same.then_some(Lock { _file: locked }))
}

/// Waits for the exclusive lock; calls `waiting` once if it is not free at once.
pub(crate) async fn exclusive(path: &Path, waiting: impl FnOnce()) -> Result<Lock, Error> {
    wait(path, FlockArg::LockExclusiveNonblock, waiting).await
}

/// Waits for a shared lock.
pub(crate) async fn shared(path: &Path) -> Result<Lock, Error> {
    wait(path, FlockArg::LockSharedNonblock, || ()).await
}

async fn wait(path: &Path, how: FlockArg, waiting: impl FnOnce()) -> Result<Lock, Error> {
    let mut waiting = Some(waiting);
    loop {
        if let Some(lock) = try_lock(path, how)? {
            return Ok(lock);
        }
        if let Some(report) = waiting.take() {
            report();
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_exclusive_lock_excludes_and_shared_locks_coexist() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let first = exclusive(&path, || ()).await.unwrap();
        assert!(try_lock(&path, FlockArg::LockSharedNonblock).unwrap().is_none());
        drop(first);
        let _a = shared(&path).await.unwrap();
        let _b = shared(&path).await.unwrap();
        assert!(try_lock(&path, FlockArg::LockExclusiveNonblock).unwrap().is_none());
    }

    #[tokio::test]
    async fn a_lock_on_a_removed_file_does_not_count() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let _old = exclusive(&path, || ()).await.unwrap();
        std::fs::remove_file(&path).unwrap();
        assert!(try_lock(&path, FlockArg::LockExclusiveNonblock).unwrap().is_some(), "a new file, a new lock");
    }
}
