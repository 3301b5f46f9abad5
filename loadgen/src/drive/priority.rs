//! The priority of the generator's threads: raised while it measures, if the system allows it, since a thread that waits
//! for a processor behind the stores of the same machine charges that wait to them. It never changes another process.

use rustix::process::{Pid, getpriority_process, setpriority_process};

/// The nice value while the generator measures. It uses about a sixth of the processors, so that the stores lose little.
const RAISED: i32 = -15;

/// A raised priority; dropping it restores the former one.
pub(super) struct Priority {
    /// The former nice value; `None` if it could not be raised.
    former: Option<i32>,
}

impl Priority {
    /// Raises the priority of every thread of this process. Threads that start later inherit it.
    pub(super) fn raise() -> Self {
        let former = getpriority_process(None).ok().filter(|former| *former > RAISED);
        Self { former: former.filter(|_| set_all(RAISED)) }
    }

    /// Whether the system allowed it.
    pub(super) fn is_raised(&self) -> bool {
        self.former.is_some()
    }
}

impl Drop for Priority {
    fn drop(&mut self) {
        if let Some(former) = self.former {
            set_all(former);
        }
    }
}

/// Sets the nice value of every thread, and returns whether that was allowed for all of them. On Linux, a nice value is
/// that of a thread (setpriority(2), "C library/kernel differences").
fn set_all(nice: i32) -> bool {
    let threads = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let ids = threads.filter_map(|thread| Pid::from_raw(thread.file_name().to_str()?.parse().ok()?));
    // A thread that has ended meanwhile is no failure.
    let set = |id| !matches!(setpriority_process(Some(id), nice), Err(error) if error != rustix::io::Errno::SRCH);
    let mut any = false;
    for id in ids {
        if !set(id) {
            return false;
        }
        any = true;
    }
    any
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_former_priority_is_restored() {
        let nice = || getpriority_process(None).unwrap();
        let before = nice();
        let priority = Priority::raise();
        assert_eq!(nice(), if priority.is_raised() { RAISED } else { before });
        drop(priority);
        assert_eq!(nice(), before);
    }
}
