//! The account that runs the stores which refuse root, and its access to their files. The mode of an existing
//! folder is never changed.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, chown},
    path::Path,
};

use nix::unistd::{Uid, User};

use crate::error::{Error, FileContext};

/// A user and its group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

impl Account {
    /// The account `nobody` if this process is root; `None` if the stores can run as the current user.
    pub(crate) fn unprivileged() -> Option<Self> {
        Uid::effective().is_root().then(Self::nobody)
    }

    fn nobody() -> Self {
        let user = User::from_name("nobody").ok().flatten();
        user.map_or(Self { uid: 65_534, gid: 65_534 }, |u| Self { uid: u.uid.as_raw(), gid: u.gid.as_raw() })
    }

    /// Makes the account the owner of a file, or of a folder and its contents.
    pub(crate) fn take_ownership(self, path: &Path) -> Result<(), Error> {
        let meta = fs::symlink_metadata(path).file("inspect", path)?;
        if (meta.uid(), meta.gid()) != (self.uid, self.gid) && !meta.is_symlink() {
            chown(path, Some(self.uid), Some(self.gid)).file("change the owner of", path)?;
        }
        if meta.is_dir() {
            for entry in fs::read_dir(path).file("read", path)? {
                self.take_ownership(&entry.file("read", path)?.path())?;
            }
        }
        Ok(())
    }
}

/// Creates a folder and its missing parents; with `open`, every user can traverse them, regardless of the umask.
pub(crate) fn create(dir: &Path, open: bool) -> Result<(), Error> {
    let missing: Vec<&Path> = dir.ancestors().take_while(|folder| !folder.exists()).collect();
    fs::create_dir_all(dir).file("create", dir)?;
    for folder in missing.into_iter().filter(|_| open) {
        fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).file("change the mode of", folder)?;
    }
    Ok(())
}

/// Fails unless other users can traverse every folder of the path.
pub(crate) fn require_traversable(dir: &Path) -> Result<(), Error> {
    for folder in dir.ancestors() {
        let meta = folder.metadata().file("inspect", folder)?;
        if meta.mode() & 0o001 == 0 {
            return Err(Error::Unreachable { folder: folder.to_owned() });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_folder_on_the_path_is_named_and_created_ones_are_open() {
        let outer = tempfile::tempdir().unwrap();
        let inner = outer.path().join("a/b");
        let mode = |dir: &Path, mode| fs::set_permissions(dir, fs::Permissions::from_mode(mode)).unwrap();
        mode(outer.path(), 0o755);
        create(&inner, true).unwrap();
        assert!(require_traversable(&inner).is_ok());
        mode(inner.parent().unwrap(), 0o700);
        assert!(matches!(require_traversable(&inner), Err(Error::Unreachable { folder }) if folder.ends_with("a")));
    }
}
