//! The stages of a drive: factors on the rates of its writes and questions over time, for all tenants or for one. It never
//! reads a file, and never decides when a single record is due.

use std::ops::Range;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::rates::{Piece, Rates};

/// A factor on a rate: constant, or a straight ramp.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Factor {
    /// The factor at the start.
    pub from: f64,
    /// The factor at the end.
    pub to: f64,
}

impl Factor {
    /// What the scenario says without a stage.
    pub const ONE: Self = Self { from: 1.0, to: 1.0 };

    /// Whether it is a ramp.
    pub fn is_ramp(self) -> bool {
        self.from.to_bits() != self.to.to_bits()
    }
}

impl std::fmt::Display for Factor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.is_ramp() { write!(f, "{}x to {}x", self.from, self.to) } else { write!(f, "{}x", self.from) }
    }
}

/// A stage of the drive.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Stage {
    /// Its start, since the start of the drive.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub start: Duration,
    /// Its length.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub length: Duration,
    /// The factor on the writes.
    pub writes: Factor,
    /// The factor on the questions.
    pub probes: Factor,
    /// The tenant that it is about, by index; `None` for all. A tenant's factors multiply those of all.
    pub tenant: Option<u32>,
}

impl Stage {
    /// One past its last instant.
    pub fn end(&self) -> Duration {
        self.start + self.length
    }
}

/// The factors of the stages of `of` over a drive; 1 where no stage is.
pub(super) fn factors(stages: &[Stage], of: Option<u32>, drive: Duration, select: impl Fn(&Stage) -> Factor) -> Rates {
    let mut pieces = Vec::new();
    let mut end = Duration::ZERO;
    let time = |from: Duration, to: Duration| -> Range<f64> { from.as_secs_f64()..to.as_secs_f64() };
    for stage in stages.iter().filter(|stage| stage.tenant == of) {
        pieces.push(Piece::constant(time(end, stage.start), 1.0));
        let (Range { start, end: until }, factor) = (time(stage.start, stage.end()), select(stage));
        pieces.push(Piece { start, end: until, from: factor.from, to: factor.to });
        end = stage.end();
    }
    pieces.push(Piece::constant(time(end, drive), 1.0));
    Rates::new(pieces)
}
