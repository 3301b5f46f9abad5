//! CPU time and memory of processes, read from `/proc`. It never signals a process.

use std::fs;
use std::time::Duration;

/// Ticks per second in `/proc/PID/stat`, fixed by Linux whatever the kernel's own clock.
const TICKS_PER_SECOND: u64 = 100;

/// CPU time of a process and all its descendants, including those that have exited.
pub(crate) fn cpu(pid: u32) -> Duration {
    let all = processes();
    let mut family = vec![pid];
    let mut next = 0;
    while let Some(parent) = family.get(next).copied() {
        family.extend(all.iter().filter(|process| process.parent == parent).map(|process| process.pid));
        next += 1;
    }
    let ticks = all.iter().filter(|process| family.contains(&process.pid)).map(|process| process.ticks);
    Duration::from_millis(ticks.sum::<u64>() * 1000 / TICKS_PER_SECOND)
}

/// CPU time of a process alone.
pub(crate) fn own_cpu(pid: u32) -> Option<Duration> {
    let process = parse(pid, &fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)?;
    Some(Duration::from_millis(process.ticks * 1000 / TICKS_PER_SECOND))
}

/// Peak resident memory of a process, in bytes; `None` once it has exited.
pub(crate) fn peak(pid: u32) -> Option<u64> {
    status(pid, "VmHWM:")
}

/// Current resident memory of a process, in bytes.
pub(crate) fn resident(pid: u32) -> Option<u64> {
    status(pid, "VmRSS:")
}

fn status(pid: u32, key: &str) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    line.split_whitespace().next()?.parse::<u64>().ok().map(|kib| kib * 1024)
}

struct Process {
    pid: u32,
    parent: u32,
    ticks: u64,
}

fn processes() -> Vec<Process> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    pids.filter_map(|pid| parse(pid, &fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)).collect()
}

/// The command name is in parentheses and may contain any character, so fields are counted from the last parenthesis.
fn parse(pid: u32, line: &str) -> Option<Process> {
    let fields: Vec<&str> = line.rsplit_once(") ")?.1.split(' ').collect();
    let ticks = fields.get(11..15)?.iter().map(|field| field.parse::<u64>().ok()).sum::<Option<u64>>()?;
    Some(Process { pid, parent: fields.get(1)?.parse().ok()?, ticks })
}
