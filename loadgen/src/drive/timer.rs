//! A precise timer of one task. tokio's timers have a resolution of one millisecond; the kernel's high-resolution timer
//! wakes the task within a tenth of that, without spinning. It never ends early.

use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// The shortest time that the kernel's timer takes; zero would disarm it.
const SHORTEST: Duration = Duration::from_nanos(1);

/// A timer of the kernel (timerfd_create(2)).
#[derive(Debug)]
pub(super) struct Timer {
    file: AsyncFd<OwnedFd>,
    /// What it is set to.
    set: Option<Instant>,
}

impl Timer {
    /// Creates a timer of the current runtime.
    pub(super) fn new() -> io::Result<Self> {
        let file = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        #[expect(unsafe_code, reason = "tokio has no safe way to wait for a file descriptor that it does not know")]
        // SAFETY: the `OwnedFd` is valid, and stays in the `AsyncFd` until that is dropped.
        let file = unsafe { AsyncFd::register_with_interest(file, Interest::READABLE)? };
        Ok(Self { file, set: None })
    }

    /// Waits until `at`. A wait that is dropped and repeated for the same instant continues.
    pub(super) async fn wait_until(&mut self, at: Instant) -> io::Result<()> {
        while Instant::now() < at {
            if self.set != Some(at) {
                self.set(at)?;
            }
            self.file.readable().await?.clear_ready();
            // The next setting resets the expirations, so they need not be read. One of a former setting ends the wait too early.
            self.set = None;
        }
        Ok(())
    }

    fn set(&mut self, at: Instant) -> io::Result<()> {
        let wait = at.saturating_duration_since(Instant::now()).max(SHORTEST);
        let never = Timespec { tv_sec: 0, tv_nsec: 0 };
        let wait = Timespec { tv_sec: wait.as_secs().cast_signed(), tv_nsec: wait.subsec_nanos().into() };
        let setting = Itimerspec { it_interval: never, it_value: wait };
        timerfd_settime(&self.file, TimerfdTimerFlags::empty(), &setting)?;
        self.set = Some(at);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_wait_never_ends_early_and_may_be_given_up_and_repeated() {
        let mut timer = Timer::new().unwrap();
        let start = Instant::now();
        for millis in [3, 5, 5, 1] {
            timer.wait_until(start + Duration::from_millis(millis)).await.unwrap();
            assert!(start.elapsed() >= Duration::from_millis(millis));
        }
        let (far, near) = (start + Duration::from_hours(1), Instant::now() + Duration::from_millis(2));
        tokio::select! {
            biased;
            _ = timer.wait_until(far) => panic!("an hour is not over"),
            () = tokio::task::yield_now() => {}
        }
        timer.wait_until(near).await.unwrap();
        assert!(Instant::now() >= near);
    }
}
