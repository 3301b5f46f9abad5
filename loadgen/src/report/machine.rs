//! The machine of the generator, as the report names it. It reads `/proc` and sends nothing.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The machine of the generator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Machine {
    /// Operating system and architecture, such as `linux x86_64`.
    pub system: String,
    /// Processors that this process may use.
    pub cpus: usize,
    /// Memory in bytes, if it can be read.
    pub memory_bytes: Option<u64>,
}

impl Machine {
    /// The machine that this process runs on.
    pub fn this() -> Self {
        let memory = std::fs::read_to_string("/proc/meminfo").ok();
        Self {
            system: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
            cpus: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            memory_bytes: memory.as_deref().and_then(total),
        }
    }
}

/// `MemTotal:  24063540 kB`
fn total(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok().map(|kib| kib * 1024)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_total_is_converted_to_bytes() {
        assert_eq!(super::total("MemTotal:       24063540 kB\nMemFree: 1 kB\n"), Some(24_641_064_960));
        assert_eq!(super::total("nothing"), None);
    }
}
