//! Opens the files that a user names, and says what to do about one that can't be read. It never reads them.

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

/// Why a file that was named can't be read, and what to do. It fits after the name of the file.
pub(crate) fn why_unreadable(error: &Error) -> String {
    match error.kind() {
        ErrorKind::IsADirectory => "it is a folder; name a file in it".to_owned(),
        ErrorKind::Unsupported => "it is a device; name a file".to_owned(),
        ErrorKind::InvalidData => "it is not text in UTF-8; check that it is a text file".to_owned(),
        ErrorKind::NotFound | ErrorKind::NotADirectory => format!("{error}; name an existing file"),
        _ => format!("{error}; check that this user may read it"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_no_file() {
        assert_eq!(open(Path::new("/dev/zero")).unwrap_err().kind(), ErrorKind::Unsupported);
        assert!(open(Path::new("Cargo.toml")).is_ok());
    }

    #[test]
    fn advice_fits_the_reason() {
        let why = |path: &str| {
            let read = open(Path::new(path)).and_then(std::io::read_to_string);
            why_unreadable(&read.unwrap_err())
        };
        assert_eq!(why("src"), "it is a folder; name a file in it");
        assert_eq!(why("none.toml"), "No such file or directory (os error 2); name an existing file");
        assert_eq!(why("Cargo.toml/none"), "Not a directory (os error 20); name an existing file");
        let denied = why_unreadable(&ErrorKind::PermissionDenied.into());
        assert_eq!(denied, "permission denied; check that this user may read it");
    }
}
