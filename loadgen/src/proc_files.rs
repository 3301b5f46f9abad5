//! The format of `/proc/stat` and `/proc/PID/stat` (proc(5)). It never reads a file.

/// Clock ticks of all processors: `cpu  user nice system idle iowait irq softirq steal`.
pub(crate) fn processor_ticks(stat: &str) -> Option<[u64; 8]> {
    let ticks = stat.lines().next()?.split_whitespace().skip(1).take(8).map_while(|tick| tick.parse().ok());
    ticks.collect::<Vec<u64>>().try_into().ok()
}

/// The fields of a process after its command's name, which is in parentheses and may contain anything: its state comes first.
pub(crate) fn process_fields(stat: &str) -> Option<Vec<&str>> {
    Some(stat.rsplit_once(')')?.1.split_whitespace().collect())
}
