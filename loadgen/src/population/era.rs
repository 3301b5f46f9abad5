//! The two stretches of simulated time that a population has, and the random streams that belong to each.

/// A stretch of simulated time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Era {
    /// What is loaded before the drive.
    Past,
    /// What the drive writes.
    Drive,
}

impl Era {
    /// One of two domains of random streams, so that no stream is shared between the eras.
    fn domain(self, past: &'static str, drive: &'static str) -> &'static str {
        match self {
            Self::Past => past,
            Self::Drive => drive,
        }
    }

    /// The domain of lifecycles. The strings are part of every plan's digest.
    pub(super) fn lifecycles(self) -> &'static str {
        self.domain("past fates", "fates")
    }

    /// The domain of communications' identifiers.
    pub(super) fn communications(self) -> &'static str {
        self.domain("past communications", "communications")
    }

    /// The domain of events.
    pub(super) fn events(self) -> &'static str {
        self.domain("past events", "events")
    }

    /// The domain of interactions.
    pub(super) fn interactions(self) -> &'static str {
        self.domain("past interactions", "interactions")
    }

    /// The domain of agent metrics.
    pub(super) fn metrics(self) -> &'static str {
        self.domain("past metrics", "metrics")
    }
}
