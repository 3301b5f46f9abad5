//! The two periods of simulated time of a population, and the random streams of each. It does not know their dates.

/// A period of simulated time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Era {
    /// The period before the drive, whose records are loaded.
    Past,
    /// The period of the drive, which writes its records.
    Drive,
}

impl Era {
    /// Selects one of two domains of random streams, so that no stream is shared between the eras.
    fn select(self, past: &'static str, drive: &'static str) -> &'static str {
        match self {
            Self::Past => past,
            Self::Drive => drive,
        }
    }

    /// The domain of lifecycles. The historical names must not change: they determine every record and every plan's
    /// digest.
    pub(super) fn lifecycles(self) -> &'static str {
        self.select("past fates", "fates")
    }

    /// The domain of communications' identifiers.
    pub(super) fn communications(self) -> &'static str {
        self.select("past communications", "communications")
    }

    /// The domain of the words of communications.
    pub(super) fn texts(self) -> &'static str {
        self.select("past texts", "texts")
    }

    /// The domain of events.
    pub(super) fn events(self) -> &'static str {
        self.select("past events", "events")
    }

    /// The domain of interactions.
    pub(super) fn interactions(self) -> &'static str {
        self.select("past interactions", "interactions")
    }

    /// The domain of agent metrics.
    pub(super) fn metrics(self) -> &'static str {
        self.select("past metrics", "metrics")
    }
}
