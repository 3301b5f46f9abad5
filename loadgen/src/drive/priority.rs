//! The priority of the generator's threads: raised while it measures, if the system allows it, since a thread that waits
//! for a processor behind the stores of the same machine charges that wait to them. It changes no thread of another process, but
//! an autogroup is that of a whole session.

use rustix::process::{Pid, getpriority_process, setpriority_process};
use thread_priority::{
    RealtimeThreadSchedulePolicy, ThreadPriority, ThreadPriorityValue, ThreadSchedulePolicy,
    set_thread_priority_and_policy, thread_native_id,
};

/// The nice value while the generator measures. It uses about a sixth of the processors, so that the stores lose little.
const RAISED: i32 = -15;

/// The lowest real-time priority: above every ordinary thread, and below the kernel's own.
const REAL_TIME: u8 = 1;

/// The scheduling group of this process's session.
const AUTOGROUP: &str = "/proc/self/autogroup";

/// A raised priority; dropping it restores the former one.
pub(super) struct Priority {
    /// The former nice value of the threads; `None` if it could not be raised.
    former: Option<i32>,
    autogroup: Autogroup,
}

/// The scheduling group of the session, where the kernel makes one for each: a nice value then counts only among the threads of a
/// session, and that of the group among the sessions (sched(7), "The autogroup feature"). Every process of PostgreSQL is a session.
enum Autogroup {
    /// There are none.
    Off,
    /// This generator has raised it, from this nice value.
    Raised(i32),
    /// It was raised before, as by another generator of the session.
    AlreadyRaised,
    /// The system does not allow it.
    Refused,
}

impl Priority {
    /// Raises the priority of every thread of this process. Threads that start later inherit it.
    pub(super) fn raise() -> Self {
        let former = getpriority_process(None).ok().filter(|former| *former > RAISED);
        Self { former: former.filter(|_| set_all(RAISED)), autogroup: Autogroup::raise() }
    }

    /// Whether the system allowed it, and the group is still raised: another generator of the session may have ended.
    pub(super) fn is_raised(&self) -> bool {
        let group = match self.autogroup {
            Autogroup::Off => true,
            Autogroup::Refused => false,
            Autogroup::Raised(_) | Autogroup::AlreadyRaised => read_autogroup().is_some_and(|nice| nice <= RAISED),
        };
        self.former.is_some() && group
    }
}

impl Drop for Priority {
    fn drop(&mut self) {
        if let Some(former) = self.former {
            set_all(former);
        }
        if let Autogroup::Raised(former) = self.autogroup {
            // It was allowed to raise it.
            write_autogroup(former);
        }
    }
}

impl Autogroup {
    fn raise() -> Self {
        let enabled = std::fs::read_to_string("/proc/sys/kernel/sched_autogroup_enabled");
        let former = read_autogroup().filter(|_| enabled.is_ok_and(|enabled| enabled.trim() != "0"));
        match former {
            None => Self::Off,
            Some(former) if former <= RAISED => Self::AlreadyRaised,
            Some(former) if write_autogroup(RAISED) => Self::Raised(former),
            Some(_) => Self::Refused,
        }
    }
}

/// The nice value of this session's group, which the kernel shows as `/autogroup-25 nice 0`.
fn read_autogroup() -> Option<i32> {
    parse_autogroup(&std::fs::read_to_string(AUTOGROUP).ok()?)
}

fn parse_autogroup(text: &str) -> Option<i32> {
    text.trim().rsplit(' ').next()?.parse().ok()
}

fn write_autogroup(nice: i32) -> bool {
    std::fs::write(AUTOGROUP, nice.to_string()).is_ok()
}

/// Gives the calling thread a real-time priority until it ends, if the system allows it: even with a high nice value, a
/// thread that wakes up waits until the running one has used its slice, about 3 milliseconds (sched(7), "SCHED_RR").
/// Only for a thread that waits most of the time.
pub(super) fn raise_this_thread() {
    let priority = ThreadPriorityValue::try_from(REAL_TIME).map(ThreadPriority::Crossplatform);
    let policy = ThreadSchedulePolicy::Realtime(RealtimeThreadSchedulePolicy::RoundRobin);
    if let Ok(priority) = priority {
        // Without the right, the thread keeps its nice value, and the run tells how late it was.
        set_thread_priority_and_policy(thread_native_id(), priority, policy).ok();
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
    use thread_priority::{ScheduleParams, thread_schedule_policy_param};

    use super::*;

    #[test]
    fn a_thread_gets_a_real_time_priority_of_its_own_or_keeps_what_it_has() {
        let state = || thread_schedule_policy_param(thread_native_id()).unwrap();
        let (before, raised) = (
            state(),
            std::thread::spawn(move || {
                raise_this_thread();
                state()
            })
            .join()
            .unwrap(),
        );
        let (policy, ScheduleParams { sched_priority }) = raised;
        let is_real_time = policy == ThreadSchedulePolicy::Realtime(RealtimeThreadSchedulePolicy::RoundRobin);
        assert!(is_real_time && sched_priority == i32::from(REAL_TIME) || policy == before.0, "{policy:?}");
        assert_eq!(state().0, before.0, "other threads keep theirs");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn the_former_priority_is_restored_and_a_thread_may_lower_its_own() {
        let nice = || async { tokio::spawn(async { getpriority_process(None).unwrap() }).await.unwrap() };
        let (before, group) = (nice().await, read_autogroup());
        let priority = Priority::raise();
        if let Autogroup::Raised(former) = priority.autogroup {
            assert_eq!((Some(former), read_autogroup()), (group, Some(RAISED)));
        }
        assert_eq!(nice().await, if priority.former.is_some() { RAISED } else { before });
        let lowered = tokio::task::spawn_blocking(|| {
            lower_this_thread();
            getpriority_process(None).unwrap()
        });
        assert_eq!(lowered.await.unwrap(), if priority.former.is_some() { 0 } else { before });
        drop(priority);
        assert_eq!((nice().await, read_autogroup()), (before, group));
    }

    #[test]
    fn the_nice_value_of_a_group_is_read_as_the_kernel_writes_it() {
        assert_eq!(parse_autogroup("/autogroup-25 nice 0\n"), Some(0));
        assert_eq!((parse_autogroup("/autogroup-4711 nice -15"), parse_autogroup("")), (Some(-15), None));
    }
}
