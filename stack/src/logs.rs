//! `logs`: a service's log files, their last lines, and the lines appended to them. This module only reads.

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom},
    path::{Path, PathBuf},
    time::Duration,
};

use crate::{
    error::{Error, FileContext},
    layout::Layout,
    service::Service,
};

/// Bytes at the end of a log that are searched for its last lines.
const WINDOW: u64 = 1 << 20;
/// Interval at which a followed log is read.
const POLL_INTERVAL: Duration = Duration::from_millis(200);

/// The log files of a service, one per node; none if it never started.
pub fn files(layout: &Layout, service: Service) -> Vec<PathBuf> {
    let nodes = service.descriptor().nodes(layout).into_iter();
    nodes.map(|node| layout.log_file(&node.name)).filter(|path| path.exists()).collect()
}

/// The last `lines` lines of each log file of a service; several files are each preceded by their name.
pub fn tail(layout: &Layout, service: Service, lines: usize) -> String {
    let files = files(layout, service);
    let several = files.len() > 1;
    let parts = files.iter().map(|file| {
        let text = last_lines(file, 0, lines);
        if several { format!("==> {} <==\n{text}\n", file.display()) } else { format!("{text}\n") }
    });
    parts.collect()
}

/// Passes everything appended to the logs of a service to `show`, until that returns `false` or a log cannot be read.
pub async fn follow(layout: &Layout, service: Service, mut show: impl FnMut(&str) -> bool) -> Result<(), Error> {
    let mut positions: Vec<(PathBuf, u64)> =
        files(layout, service).into_iter().map(|f| (f.clone(), f.metadata().map_or(0, |m| m.len()))).collect();
    loop {
        for (path, position) in &mut positions {
            let length = path.metadata().map_or(0, |m| m.len());
            // A shorter file is a new one: the log was rotated.
            let from = if length < *position { 0 } else { *position };
            let text = read_from(path, from).file("read", path.as_path())?;
            *position = from + text.len() as u64;
            if !text.is_empty() && !show(&String::from_utf8_lossy(&text)) {
                return Ok(());
            }
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

/// The last lines of a file after byte `start`; empty if it cannot be read.
pub(crate) fn last_lines(path: &Path, start: u64, lines: usize) -> String {
    let length = path.metadata().map_or(0, |m| m.len());
    let bytes = read_from(path, start.max(length.saturating_sub(WINDOW))).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

fn read_from(path: &Path, start: u64) -> std::io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = vec![];
    file.take(WINDOW).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lines_after_the_start_are_returned() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        std::fs::write(&path, "old\n1\n2\n3\n").unwrap();
        assert_eq!(last_lines(&path, 4, 2), "2\n3");
        assert_eq!(last_lines(&path, 4, 9), "1\n2\n3");
        assert_eq!(last_lines(&dir.path().join("none"), 0, 9), "");
    }
}
