//! Opens the files that a user names. It never reads them.

use std::fs::File;
use std::io::{Error, ErrorKind, Result};
use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;

/// Opens a file for reading. A pipe is a file as well; a device is none, since it may never end.
///
/// # Errors
/// Of the system, and [`ErrorKind::Unsupported`] for a device.
pub(crate) fn open(path: &Path) -> Result<File> {
    let file = File::open(path)?;
    if file.metadata()?.file_type().is_char_device() {
        return Err(Error::new(ErrorKind::Unsupported, "it is a device"));
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_no_file() {
        assert_eq!(open(Path::new("/dev/zero")).unwrap_err().kind(), ErrorKind::Unsupported);
        assert!(open(Path::new("Cargo.toml")).is_ok());
    }
}
