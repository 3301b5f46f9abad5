//! What the kernel reports about processes, ports and disks, from `/proc` and `statvfs`. This module only reads.

use std::{
    collections::BTreeSet,
    fs,
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
};

/// The fields of `/proc/PID/stat` that the stack needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) pid: i32,
    pub(crate) parent: i32,
    pub(crate) session: i32,
    /// Start time in clock ticks since boot. Together with the pid it identifies a process uniquely.
    pub(crate) started: u64,
    pub(crate) zombie: bool,
}

/// The process `pid`, if it exists.
pub(crate) fn stat(pid: i32) -> Option<Stat> {
    parse_stat(pid, &fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// Parses a line. The command name is in brackets and may contain any character, brackets included, so fields are
/// counted from the last bracket.
fn parse_stat(pid: i32, line: &str) -> Option<Stat> {
    let fields: Vec<&str> = line.rsplit_once(") ")?.1.split(' ').collect();
    // If the main thread has exited, the process looks dead, but its other threads continue and hold its ports.
    let threads: u32 = fields.get(17)?.parse().ok()?;
    Some(Stat {
        pid,
        zombie: matches!(*fields.first()?, "Z" | "X") && threads <= 1,
        parent: fields.get(1)?.parse().ok()?,
        session: fields.get(3)?.parse().ok()?,
        started: fields.get(19)?.parse().ok()?,
    })
}

/// All live processes.
pub(crate) fn processes() -> Vec<Stat> {
    let Ok(entries) = fs::read_dir("/proc") else { return vec![] };
    let pids = entries.filter_map(|e| e.ok()?.file_name().to_str()?.parse().ok());
    pids.filter_map(stat).filter(|s| !s.zombie).collect()
}

/// The process, all members of its session, and the descendants of any of them.
pub(crate) fn process_tree(leader: i32) -> BTreeSet<i32> {
    let all = processes();
    let mut tree: BTreeSet<i32> =
        all.iter().filter(|s| s.session == leader || s.pid == leader).map(|s| s.pid).collect();
    loop {
        let before = tree.len();
        tree.extend(all.iter().filter(|s| tree.contains(&s.parent)).map(|s| s.pid).collect::<Vec<_>>());
        if tree.len() == before {
            return tree;
        }
    }
}

/// Resident memory of a process in bytes; shared pages are divided among the processes that share them.
pub(crate) fn memory(pid: i32) -> u64 {
    let read = |file: &str, key: &str| {
        let text = fs::read_to_string(format!("/proc/{pid}/{file}")).ok()?;
        let line = text.lines().find_map(|l| l.strip_prefix(key))?;
        line.split_whitespace().next()?.parse::<u64>().ok()
    };
    read("smaps_rollup", "Pss:").or_else(|| read("status", "VmRSS:")).unwrap_or(0) * 1024
}

/// The working directory and the executable of a process.
pub(crate) fn origin(pid: i32) -> Option<(PathBuf, PathBuf)> {
    let link = |name: &str| fs::read_link(format!("/proc/{pid}/{name}")).ok();
    Some((link("cwd")?, link("exe")?))
}

/// The ID of the current boot: a pid from another boot identifies nothing.
pub(crate) fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

/// Whether no process listens on this port of 127.0.0.1.
pub(crate) fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

/// A description of the process that listens on `port`.
pub(crate) fn listener(port: u16) -> String {
    let owner = listener_inode(port).and_then(|inode| owner_of_socket(&inode));
    owner.map_or_else(|| "another process".to_owned(), |(pid, name)| format!("process {pid} ({name})"))
}

fn listener_inode(port: u16) -> Option<String> {
    const LISTEN: &str = "0A";
    let suffix = format!(":{port:04X}");
    ["/proc/net/tcp", "/proc/net/tcp6"].iter().filter_map(|f| fs::read_to_string(f).ok()).find_map(|table| {
        table.lines().skip(1).find_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let is_listener = fields.get(1)?.ends_with(&suffix) && *fields.get(3)? == LISTEN;
            is_listener.then(|| fields.get(9).map(|inode| (*inode).to_owned()))?
        })
    })
}

fn owner_of_socket(inode: &str) -> Option<(i32, String)> {
    let socket = PathBuf::from(format!("socket:[{inode}]"));
    let holds = |pid: i32| {
        let fds = fs::read_dir(format!("/proc/{pid}/fd")).ok()?;
        fds.flatten().any(|fd| fs::read_link(fd.path()).is_ok_and(|to| to == socket)).then_some(pid)
    };
    let pid = processes().into_iter().find_map(|s| holds(s.pid))?;
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    Some((pid, name.trim().to_owned()))
}

/// Free space for this user on the disk that holds `path`, MiB.
pub(crate) fn free_mib(path: &Path) -> Option<u64> {
    let disk = nix::sys::statvfs::statvfs(path).ok()?;
    Some(disk.blocks_available() * disk.fragment_size() / (1024 * 1024))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_name_may_contain_anything() {
        let line = "42 (a) b (c) S 7 42 41 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 1 0 987654 1 2";
        let stat = parse_stat(42, line).unwrap();
        assert_eq!(stat, Stat { pid: 42, parent: 7, session: 41, started: 987_654, zombie: false });
        assert_eq!(parse_stat(42, "no brackets"), None);
        assert!(parse_stat(42, &line.replace(" S ", " Z ")).unwrap().zombie);
        let others_continue = line.replace(" S ", " Z ").replace(" 20 0 1 ", " 20 0 5 ");
        assert!(!parse_stat(42, &others_continue).unwrap().zombie);
    }

    #[test]
    fn this_process_has_memory_and_a_port() {
        let me = i32::try_from(std::process::id()).unwrap();
        assert!(stat(me).is_some_and(|s| !s.zombie));
        assert!(process_tree(me).contains(&me));
        assert!(memory(me) > 100_000);
        let bound = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = bound.local_addr().unwrap().port();
        assert!(!is_free(port));
        assert!(listener(port).contains(&me.to_string()), "{}", listener(port));
        drop(bound);
        assert!(is_free(port));
    }
}
