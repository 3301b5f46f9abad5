//! A memory limit for a process: a cgroup if systemd can create one, otherwise the kernel's limit on private writable memory,
//! otherwise no limit, so that only the peak is reported. It never limits a process that already runs: it returns the words to
//! put before a command.

use std::process::Stdio;

use bytesize::ByteSize;
use tokio::process::Command;

/// How a process's memory is limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Limit {
    /// `memory.max` of a separate cgroup: all memory charged to it, including the page cache and kernel memory.
    Cgroup,
    /// `RLIMIT_DATA`: heap and other private writable memory, touched or not. Thread stacks count, so the stack limit is lowered as well.
    Data,
    /// No limit.
    None,
}

impl Limit {
    /// The strictest limit that works here.
    pub(crate) async fn available() -> Self {
        let scope = ["systemd-run", "--quiet", "--scope", "-p", "MemoryMax=64M", "true"];
        if works(&scope).await {
            Self::Cgroup
        } else if works(&["prlimit", "--data=67108864", "true"]).await {
            Self::Data
        } else {
            Self::None
        }
    }

    /// Words that, in front of a command, limit it to `bytes`.
    pub(crate) fn command_prefix(self, bytes: ByteSize) -> Vec<String> {
        let words: &[&str] = match self {
            Self::Cgroup => &["systemd-run", "--quiet", "--scope", "-p", "MemorySwapMax=0", "-p"],
            Self::Data => &["prlimit", "--stack=1048576"],
            Self::None => &[],
        };
        let last = match self {
            Self::Cgroup => Some(format!("MemoryMax={}", bytes.0)),
            Self::Data => Some(format!("--data={}", bytes.0)),
            Self::None => None,
        };
        words.iter().map(ToString::to_string).chain(last).collect()
    }

    /// Description for the report.
    pub(crate) fn text(self, bytes: ByteSize) -> String {
        match self {
            Self::Cgroup => format!("limited to {bytes} by a cgroup"),
            Self::Data => format!("private writable memory limited to {bytes} by RLIMIT_DATA"),
            Self::None => "not limited: neither systemd-run nor prlimit works here".to_owned(),
        }
    }
}

async fn works(words: &[&str]) -> bool {
    let Some((first, rest)) = words.split_first() else { return false };
    let mut command = Command::new(first);
    command.args(rest).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().await.is_ok_and(|status| status.success())
}
