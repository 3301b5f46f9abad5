//! When growth uses up the headroom. It reads no clock.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Growth of the load: compound, by a share in each period.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Growth {
    /// Growth in each period: 0.03 for 3 %.
    pub share: f64,
    /// Days of a period.
    pub days: f64,
}

/// Days of a period of that name.
const PERIODS: [(&str, f64); 4] = [("day", 1.0), ("week", 7.0), ("month", 365.25 / 12.0), ("year", 365.25)];

impl Growth {
    /// Parses `3 %/month`.
    ///
    /// # Errors
    /// What to write instead.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong =
            || "write a growth above 0 and its period, as in \"3 %/month\" (day, week, month or year)".to_owned();
        let (share, period) = text.split_once('/').ok_or_else(wrong)?;
        let share: f64 = share.trim().strip_suffix('%').ok_or_else(wrong)?.trim().parse().map_err(|_| wrong())?;
        let days = PERIODS.iter().find(|(name, _)| *name == period.trim()).ok_or_else(wrong)?.1;
        if share > 0.0 && share.is_finite() { Ok(Self { share: share / 100.0, days }) } else { Err(wrong()) }
    }

    /// The time until the load has grown by `factor`; zero if it has already, `None` if it takes more than a century.
    pub fn until(&self, factor: f64) -> Option<Duration> {
        let days = factor.ln() / self.share.ln_1p() * self.days;
        (days < 36_525.0).then(|| Duration::from_secs_f64(days.max(0.0) * 86_400.0))
    }
}

impl std::fmt::Display for Growth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let period =
            PERIODS.iter().find(|(_, days)| (days - self.days).abs() < 1e-9).map_or("period", |(name, _)| *name);
        write!(f, "{} % a {period}", (self.share * 1e6).round() / 1e4)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_compounds() {
        let growth = Growth::parse("100 %/year").unwrap();
        let days = |factor: f64| growth.until(factor).map(|time| time.as_secs_f64() / 86_400.0);
        assert!((days(4.0).unwrap() - 2.0 * 365.25).abs() < 0.01);
        assert_eq!((days(1.0), days(0.5)), (Some(0.0), Some(0.0)), "there is no headroom left");
        assert_eq!(Growth::parse("0.001 %/year").unwrap().until(2.0), None);
        assert_eq!(Growth::parse("3 %/month").unwrap().to_string(), "3 % a month");
        assert_eq!(Growth::parse(" 2.5% / week ").unwrap(), Growth { share: 0.025, days: 7.0 });
    }

    #[test]
    fn wrong_growth_says_what_to_write() {
        for wrong in ["0 %/month", "-1 %/month", "3 %", "3/month", "3 %/fortnight", "inf %/day", "x %/day", ""] {
            let error = Growth::parse(wrong).unwrap_err();
            assert!(error.starts_with("write a growth above 0"), "{wrong}: {error}");
        }
    }
}
