//! Faults of the generator, injected for tests: a run with one must be INVALID. It never acts in builds without debug
//! assertions. `SLUICE_GENERATOR_FAULTS=NAME,NAME` injects them; a name is that of a variant in snake case, and an unknown
//! one ends the process, so that no test silently runs without its fault.

/// What the generator does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The system clock is set forward by two seconds during the drive.
    JumpClock,
    /// One of twenty probes is never started.
    SkipProbes,
    /// The system says that the generator used nearly all processors.
    UseProcessors,
    /// The system says that the hypervisor took a part of all processors.
    LoseProcessors,
}

/// Whether this fault is injected.
#[cfg(debug_assertions)]
pub(crate) fn is_injected(fault: Fault) -> bool {
    use std::sync::OnceLock;

    static FAULTS: OnceLock<Vec<Fault>> = OnceLock::new();
    let parse = |name: &str| match name {
        "jump_clock" => Fault::JumpClock,
        "skip_probes" => Fault::SkipProbes,
        "use_processors" => Fault::UseProcessors,
        "lose_processors" => Fault::LoseProcessors,
        _ => {
            tracing::error!(name, "unknown fault");
            std::process::abort()
        }
    };
    let read = || {
        let text = std::env::var("SLUICE_GENERATOR_FAULTS").unwrap_or_default();
        text.split(',').filter(|name| !name.is_empty()).map(parse).collect()
    };
    FAULTS.get_or_init(read).contains(&fault)
}

/// Always `false` in release builds.
#[cfg(not(debug_assertions))]
pub(crate) const fn is_injected(_: Fault) -> bool {
    false
}
