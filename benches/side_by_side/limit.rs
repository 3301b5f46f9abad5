//! Who holds a process to its memory: a cgroup where systemd can make one, else the kernel's limit on private writable
//! memory, else nobody, and then the peak is only looked at.

use std::process::Stdio;

use bytesize::ByteSize;
use tokio::process::Command;

/// A way to hold a process to its memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Limit {
    /// `memory.max` of a cgroup of its own: everything that it has resident.
    Cgroup,
    /// `RLIMIT_DATA`: heap and other private memory that it may write to, used or not. Stacks are part of it, so they
    /// are made small.
    Data,
    /// No limit.
    None,
}

impl Limit {
    /// The strictest one to be had here.
    pub(crate) async fn here() -> Self {
        let scope = ["systemd-run", "--quiet", "--scope", "-p", "MemoryMax=64M", "true"];
        if works(&scope).await {
            Self::Cgroup
        } else if works(&["prlimit", "--data=67108864", "true"]).await {
            Self::Data
        } else {
            Self::None
        }
    }

    /// What to write before a command so that it may have `bytes`.
    pub(crate) fn words(self, bytes: ByteSize) -> Vec<String> {
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

    /// For the report.
    pub(crate) fn text(self, bytes: ByteSize) -> String {
        match self {
            Self::Cgroup => format!("held to {bytes} by a cgroup"),
            Self::Data => format!("private writable memory held to {bytes} by RLIMIT_DATA"),
            Self::None => "not held to anything: neither systemd-run nor prlimit works here".to_owned(),
        }
    }
}

async fn works(words: &[&str]) -> bool {
    let Some((first, rest)) = words.split_first() else { return false };
    let mut command = Command::new(first);
    command.args(rest).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().await.is_ok_and(|status| status.success())
}
