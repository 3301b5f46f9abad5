//! When communications are created: a curve of intensity over an era, from office hours, weekdays and month ends of a
//! region. Integers only, so results never differ between machines.

use std::ops::Range;

use chrono::{DateTime, Datelike as _, TimeDelta, Timelike as _, Utc};

const HOUR_MS: u64 = 3_600_000;

/// Intensity of each hour of a local day; office hours are busiest.
const HOURS: [u64; 24] = [2, 2, 2, 2, 2, 2, 6, 6, 16, 16, 16, 16, 12, 16, 16, 16, 16, 16, 8, 8, 3, 3, 3, 3];

/// The region of a tenant. Offsets are those of standard time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Region {
    /// UTC+1.
    Europe,
    /// UTC-5.
    Americas,
    /// UTC+8.
    AsiaPacific,
}

impl Region {
    /// Every region.
    pub const ALL: [Self; 3] = [Self::Europe, Self::Americas, Self::AsiaPacific];

    /// The region in profiles and names.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Europe => "europe",
            Self::Americas => "americas",
            Self::AsiaPacific => "asia-pacific",
        }
    }

    fn offset(self) -> TimeDelta {
        TimeDelta::hours(match self {
            Self::Europe => 1,
            Self::Americas => -5,
            Self::AsiaPacific => 8,
        })
    }

    /// Intensity of the hour that contains `instant`.
    fn intensity(self, instant: DateTime<Utc>) -> u64 {
        let local = instant + self.offset();
        let weekend = local.weekday().number_from_monday() > 5;
        let month_end = (local + TimeDelta::days(3)).month() != local.month();
        HOURS[local.hour() as usize] * if weekend { 4 } else { 10 } * if month_end { 15 } else { 10 }
    }
}

/// A period of simulated time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Period {
    /// First instant.
    pub(crate) start: DateTime<Utc>,
    /// Length in milliseconds.
    pub(crate) millis: u64,
}

impl Period {
    /// One past the last instant.
    pub(crate) fn end(&self) -> DateTime<Utc> {
        self.at(self.millis)
    }

    /// The instant `millis` after the start.
    pub(crate) fn at(&self, millis: u64) -> DateTime<Utc> {
        self.start + TimeDelta::milliseconds(millis.cast_signed())
    }
}

/// Cumulative intensity of an era, by hour.
#[derive(Debug, Clone)]
pub(crate) struct Curve {
    /// Intensity times milliseconds before each hour; the last entry is the total.
    before: Vec<u64>,
    millis: u64,
}

impl Curve {
    pub(crate) fn new(region: Region, era: &Period) -> Self {
        let hours = era.millis.div_ceil(HOUR_MS);
        let mut before = Vec::with_capacity(hours as usize + 1);
        let mut sum = 0;
        for hour in 0..hours {
            before.push(sum);
            let length = HOUR_MS.min(era.millis - hour * HOUR_MS);
            sum += region.intensity(era.at(hour * HOUR_MS)) * length;
        }
        before.push(sum);
        Self { before, millis: era.millis }
    }

    /// Each hour in milliseconds since the start of the era, the last one shorter if the era ends within it, with its
    /// intensity.
    pub(crate) fn hours(&self) -> impl Iterator<Item = (Range<u64>, f64)> + '_ {
        self.before.windows(2).enumerate().map(|(hour, before)| {
            let start = hour as u64 * HOUR_MS;
            let end = self.millis.min(start + HOUR_MS);
            (start..end, (before[1] - before[0]) as f64 / (end - start) as f64)
        })
    }

    /// The millisecond of item `index` of `count`, at `jitter` (a share of 2^32) within its slice of the curve.
    /// Increases with `index`; at most `millis - 1`.
    pub(crate) fn millis(&self, index: u64, count: u64, jitter: u32) -> u64 {
        let whole = self.before[self.before.len() - 1];
        let place = (u128::from(index) << 32) | u128::from(jitter);
        let target = (place * u128::from(whole) / (u128::from(count) << 32)) as u64;
        let hour = self.before.partition_point(|&sum| sum <= target) - 1;
        let (from, to) = (self.before[hour], self.before[hour + 1]);
        let length = HOUR_MS.min(self.millis - hour as u64 * HOUR_MS);
        hour as u64 * HOUR_MS + (u128::from(target - from) * u128::from(length) / u128::from(to - from)) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn monday() -> Period {
        Period { start: "2026-11-16T00:00:00Z".parse().unwrap(), millis: 24 * HOUR_MS }
    }

    #[test]
    fn the_curve_increases_and_stays_in_its_era() {
        let curve = Curve::new(Region::Europe, &Period { millis: 90 * 60_000, ..monday() });
        let millis: Vec<u64> = (0..1_000).map(|i| curve.millis(i, 1_000, (i * 7_919) as u32)).collect();
        assert!(millis.is_sorted());
        assert!(curve.millis(999, 1_000, u32::MAX) < 90 * 60_000);
    }

    #[test]
    fn office_hours_are_those_of_the_region() {
        let noon = |region| {
            let curve = Curve::new(region, &monday());
            (0..10_000).filter(|&i| (9..13).contains(&(curve.millis(i, 10_000, 0) / HOUR_MS))).count()
        };
        assert!(noon(Region::Europe) > 2_500 && noon(Region::Americas) < 1_500);
    }

    #[test]
    fn weekends_are_quiet_and_month_ends_are_not() {
        let noon_of = |day: &str| Region::Europe.intensity(format!("{day}T11:00:00Z").parse().unwrap());
        assert_eq!(noon_of("2026-11-16") * 4, noon_of("2026-11-15") * 10);
        assert_eq!(noon_of("2026-11-30") * 10, noon_of("2026-11-16") * 15);
    }
}
