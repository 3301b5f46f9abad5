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

/// Takes the calling thread back to an ordinary priority: it computes much, and nothing waits for it.
pub(super) fn lower_this_thread() {
    if getpriority_process(None).is_ok_and(|nice| nice == RAISED) {
        // It is always allowed to lower a priority, and a high one would do no harm to the result.
        setpriority_process(None, 0).ok();
    }
}

/// Sets the nice value of every thread of this process, and returns whether that was allowed for all of them. On Linux, a
/// nice value is that of a thread (setpriority(2), "C library/kernel differences").
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

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn the_former_priority_is_restored_and_a_thread_may_lower_its_own() {
        let nice = || async { tokio::spawn(async { getpriority_process(None).unwrap() }).await.unwrap() };
        let before = nice().await;
        let priority = Priority::raise();
        assert_eq!(nice().await, if priority.is_raised() { RAISED } else { before });
        let lowered = tokio::task::spawn_blocking(|| {
            lower_this_thread();
            getpriority_process(None).unwrap()
        });
        assert_eq!(lowered.await.unwrap(), before);
        drop(priority);
        assert_eq!(nice().await, before);
    }
}
