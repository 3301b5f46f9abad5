//! Points at which a test ends the process, as kill -9 would, at the exact instant. In builds with debug assertions only;
//! elsewhere nothing of this is compiled.
//!
//! `SLUICE_FAILPOINT=NAME` or `NAME:COUNT` aborts when the point is reached for the COUNTth time.
//! `SLUICE_DELAY=NAME:MILLISECONDS` holds up who reaches the point first; `NAME:FILE` does so until that file is there.
//! `SLUICE_SABOTAGE=NAME,NAME` breaks parts of the promise on purpose, so that a test can show that its oracle would notice.

/// Ends the process here if the point is armed.
macro_rules! failpoint {
    ($name:literal) => {
        #[cfg(debug_assertions)]
        $crate::failpoint::reached($name);
    };
}

#[cfg(debug_assertions)]
pub(crate) fn reached(name: &str) {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    static ARMED: OnceLock<Option<(String, String)>> = OnceLock::new();
    static DELAYED: OnceLock<Option<(String, String)>> = OnceLock::new();
    static TIMES: AtomicU64 = AtomicU64::new(0);
    static DELAYS: AtomicU64 = AtomicU64::new(0);
    let set = |variable| {
        let text = std::env::var(variable).ok()?;
        let (name, how) = text.split_once(':').unwrap_or((&text, "1"));
        Some((name.to_owned(), how.to_owned()))
    };
    if let Some((delayed, how)) = DELAYED.get_or_init(|| set("SLUICE_DELAY"))
        && delayed == name
        && DELAYS.fetch_add(1, Ordering::Relaxed) == 0
    {
        hold_up(how);
    }
    if let Some((armed, count)) = ARMED.get_or_init(|| set("SLUICE_FAILPOINT"))
        && armed == name
        && TIMES.fetch_add(1, Ordering::Relaxed) + 1 == count.parse().unwrap_or(1)
    {
        std::process::abort();
    }
}

#[cfg(debug_assertions)]
#[expect(clippy::disallowed_methods, reason = "being slow is what a test asks for here")]
fn hold_up(how: &str) {
    match how.parse() {
        Ok(millis) => std::thread::sleep(std::time::Duration::from_millis(millis)),
        Err(_) => {
            while !std::path::Path::new(how).exists() {
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
        }
    }
}

/// Whether this part of the promise is to be broken.
#[cfg(debug_assertions)]
pub(crate) fn is_sabotaged(name: &str) -> bool {
    std::env::var("SLUICE_SABOTAGE").is_ok_and(|sabotaged| sabotaged.split(',').any(|one| one == name))
}

/// Never outside of tests.
#[cfg(not(debug_assertions))]
pub(crate) const fn is_sabotaged(_: &str) -> bool {
    false
}
