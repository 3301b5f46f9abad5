//! What the machine's processes and its resources were busy with: processor time by program, and pressure stall
//! information. It reads `/proc` (proc(5), and the kernel's documentation of PSI) and decides nothing.

use std::collections::BTreeMap;
use std::fs;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::proc_files::{process_fields, processor_ticks};

/// Programs by a part of their command line; the first that fits counts. The generator is this process.
const PROGRAMS: [(&str, &str); 8] = [
    ("ConnectDistributed", "connect"),
    ("kafka.Kafka", "kafka"),
    ("elasticsearch", "elasticsearch"),
    ("clickhouse", "clickhouse"),
    ("postgres", "postgres"),
    ("redis-server", "redis"),
    ("--until-stdin-closes", "ingest worker"),
    ("minio", "s3"),
];
const GENERATOR: &str = "generator";

/// Readings of counters that only grow.
#[derive(Debug, Clone, Default)]
pub(super) struct Usage {
    /// Clock ticks of all processors, and those that were idle, waited for the disk, or were stolen.
    total: u64,
    idle: u64,
    waiting: u64,
    /// The processes of known programs.
    processes: BTreeMap<u32, Process>,
    /// Microseconds in which some task was stalled for a processor, the disk or memory.
    stalled: [u64; 3],
    /// Microseconds since the machine started.
    micros: u64,
}

/// A process of a known program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Process {
    program: &'static str,
    parent: u32,
    ticks: Ticks,
}

/// Clock ticks of a process, in user and in system mode.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Ticks {
    own: u64,
    /// Those of its children that ended, and of theirs.
    of_children: u64,
}

/// What a machine did between two readings; shares are 0 to 1.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct MachineUsage {
    /// Share of all processors that was busy.
    pub busy: f64,
    /// Share of all processors that was idle only because of the disk.
    pub waiting_for_disk: f64,
    /// Processors that each program used, on average. Programs are those of the whole machine.
    pub processors: BTreeMap<String, f64>,
    /// Processors that the busiest single process of each program used.
    pub busiest_process: BTreeMap<String, f64>,
    /// Share of the time in which some task waited for a processor (PSI).
    pub stalled_for_processor: f64,
    /// Share of the time in which some task waited for the disk (PSI).
    pub stalled_for_disk: f64,
    /// Share of the time in which some task waited for memory (PSI).
    pub stalled_for_memory: f64,
}

impl Usage {
    /// Reads all counters; `None` where the system has none.
    pub(super) fn read() -> Option<Self> {
        let machine = fs::read_to_string("/proc/stat").ok()?;
        let uptime = fs::read_to_string("/proc/uptime").ok()?;
        let [total, idle, waiting] = ticks(&machine)?;
        let seconds: f64 = uptime.split_whitespace().next()?.parse().ok()?;
        let stalled = ["cpu", "io", "memory"]
            .map(|kind| fs::read_to_string(format!("/proc/pressure/{kind}")).ok().and_then(|text| pressure(&text)));
        Some(Self {
            total,
            idle,
            waiting,
            processes: processes(),
            stalled: stalled.map(Option::unwrap_or_default),
            micros: (seconds * 1e6) as u64,
        })
    }

    /// What happened since `start`. What a process used that started and ended in between, or before this reading, is in its parent's
    /// ticks: PostgreSQL has a process for each connection.
    pub(super) fn since(&self, start: &Self, cpus: usize) -> MachineUsage {
        let total = self.total.saturating_sub(start.total).max(1) as f64;
        let share = |now: u64, then: u64| now.saturating_sub(then) as f64 / total;
        let [idle, waiting] = [share(self.idle, start.idle), share(self.waiting, start.waiting)];
        let (mut processors, mut busiest) = (BTreeMap::new(), BTreeMap::new());
        for (id, process) in &self.processes {
            let before = start.processes.get(id).map_or(0, |process| process.ticks.own);
            let most: &mut f64 = busiest.entry(process.program.to_owned()).or_insert(0.0);
            *most = most.max(share(process.ticks.own, before) * cpus as f64);
        }
        let now = by_program(self.processes.values());
        let before =
            by_program(start.processes.iter().filter(|one| self.has_ticks_of(one)).map(|(_, process)| process));
        for (program, ticks) in now {
            let used = share(ticks, before.get(program).copied().unwrap_or_default()) * cpus as f64;
            processors.insert(program.to_owned(), used);
        }
        let micros = self.micros.saturating_sub(start.micros).max(1) as f64;
        let stalled = |kind: usize| (self.stalled[kind].saturating_sub(start.stalled[kind]) as f64 / micros).min(1.0);
        MachineUsage {
            busy: (1.0 - idle - waiting).max(0.0),
            waiting_for_disk: waiting,
            processors,
            busiest_process: busiest,
            stalled_for_processor: stalled(0),
            stalled_for_disk: stalled(1),
            stalled_for_memory: stalled(2),
        }
    }

    /// Whether the ticks of an earlier process are among those of this reading: it still runs, or it has passed them on to its parent of
    /// the same program. Those of a program that has ended as a whole, such as another stack on the machine, are not.
    fn has_ticks_of(&self, (id, process): &(&u32, &Process)) -> bool {
        let is_same = |id: u32| self.processes.get(&id).is_some_and(|now| now.program == process.program);
        is_same(**id) || is_same(process.parent)
    }
}

/// Clock ticks of each program. The generator's children are other programs.
fn by_program<'a>(processes: impl Iterator<Item = &'a Process>) -> BTreeMap<&'static str, u64> {
    let mut programs = BTreeMap::new();
    for Process { program, ticks: Ticks { own, of_children }, .. } in processes {
        let of_children = if *program == GENERATOR { 0 } else { *of_children };
        *programs.entry(*program).or_insert(0) += own + of_children;
    }
    programs
}

/// All, idle and disk-waiting clock ticks.
fn ticks(stat: &str) -> Option<[u64; 3]> {
    let ticks = processor_ticks(stat)?;
    Some([ticks.iter().sum(), ticks[3], ticks[4]])
}

/// `some avg10=0.00 avg60=0.00 avg300=0.00 total=12345`.
fn pressure(text: &str) -> Option<u64> {
    let line = text.lines().find(|line| line.starts_with("some"))?;
    line.rsplit_once("total=")?.1.trim().parse().ok()
}

fn processes() -> BTreeMap<u32, Process> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let process = |entry: fs::DirEntry| {
        let id: u32 = entry.file_name().to_str()?.parse().ok()?;
        let command = fs::read(entry.path().join("cmdline")).ok()?;
        let is_own = id == std::process::id();
        let program = if is_own { GENERATOR } else { program(&String::from_utf8_lossy(&command))? };
        let (parent, ticks) = parent_and_ticks(&fs::read_to_string(entry.path().join("stat")).ok()?)?;
        Some((id, Process { program, parent, ticks }))
    };
    entries.filter_map(process).collect()
}

fn program(command: &str) -> Option<&'static str> {
    PROGRAMS.iter().find(|(part, _)| command.contains(part)).map(|(_, program)| *program)
}

/// `ppid`, and `utime`, `stime`, `cutime` and `cstime`, of `/proc/PID/stat`.
fn parent_and_ticks(stat: &str) -> Option<(u32, Ticks)> {
    let fields = process_fields(stat)?;
    let field = |index: usize| fields.get(index)?.parse::<u64>().ok();
    let ticks = Ticks { own: field(11)? + field(12)?, of_children: field(13)? + field(14)? };
    Some((fields.get(1)?.parse().ok()?, ticks))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_read_as_the_kernel_writes_them() {
        assert_eq!(ticks("cpu  10 1 5 80 4 0 0 0 0 0\ncpu0 1 1"), Some([100, 80, 4]));
        assert_eq!(pressure("some avg10=1.00 avg60=0.50 avg300=0.10 total=123\nfull avg10=0 total=1"), Some(123));
        let ticks = Ticks { own: 42, of_children: 7 };
        assert_eq!(parent_and_ticks("7 (a) b) R 1 2 3 4 5 6 7 8 9 10 30 12 5 2"), Some((1, ticks)));
        assert_eq!(program("/usr/bin/java\0-Xmx1g\0kafka.Kafka\0server.properties"), Some("kafka"));
        assert_eq!(program("postgres: sluice_app load 127.0.0.1(4) SELECT"), Some("postgres"));
        assert_eq!(program("/bin/bash"), None);
    }

    #[test]
    fn shares_are_those_between_two_readings() {
        let of = |program, parent, own, of_children| Process { program, parent, ticks: Ticks { own, of_children } };
        let processes = BTreeMap::from([
            (1, of("kafka", 0, 10, 0)),
            (5, of("postgres", 0, 2, 0)),
            (6, of("postgres", 5, 8, 0)),
            // Another server, which ends with its backend.
            (7, of("postgres", 0, 500, 60)),
            (8, of("postgres", 7, 900, 0)),
        ]);
        let start = Usage { total: 1_000, idle: 500, processes, ..Usage::default() };
        let mut end = Usage { total: 1_200, idle: 550, waiting: 10, micros: 1_000_000, ..start.clone() };
        end.stalled = [250_000, 0, 0];
        end.processes.insert(1, of("kafka", 0, 110, 0));
        end.processes.insert(2, of("redis", 0, 10, 0));
        // A backend with 8 ticks before the start and 12 after it has ended.
        end.processes.retain(|id, _| *id < 6);
        end.processes.insert(5, of("postgres", 0, 2, 20));
        let usage = end.since(&start, 2);
        assert!((usage.busy - 0.7).abs() < 1e-9 && (usage.waiting_for_disk - 0.05).abs() < 1e-9);
        let used =
            [("kafka", 1.0), ("postgres", 0.12), ("redis", 0.1)].map(|(program, used)| (program.to_owned(), used));
        assert_eq!(usage.processors, BTreeMap::from(used));
        assert_eq!((usage.busiest_process["kafka"], usage.busiest_process["postgres"]), (1.0, 0.0));
        assert!((usage.stalled_for_processor - 0.25).abs() < 1e-9);
    }
}
