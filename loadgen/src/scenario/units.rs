//! Reads and writes values with units as people write them: `60 s`, `30/s`, `95 %`. Errors contain what to write
//! instead. It knows no key of a scenario.

use std::time::Duration;

use humantime_serde::re::humantime;

use super::stages::Factor;

/// Highest factor on a rate.
const MAX_FACTOR: f64 = 1_000.0;

/// A duration such as `60 s`, `1 day` or `1h 30min`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text)
        .map_err(|_| format!("\"{text}\" is not a duration; write a number and a unit, such as \"60 s\" or \"1 day\""))
}

/// A rate such as `30/s` or `12/min`, as a number per second.
pub(super) fn rate(text: &str) -> Result<f64, String> {
    let advice = "write a number above 0 and a unit, such as \"30/s\" or \"12/min\"";
    let parsed = text.split_once('/').and_then(|(number, unit)| {
        let seconds = match unit.trim() {
            "s" => 1.0,
            "min" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        Some(number.trim().replace('_', "").parse::<f64>().ok()? / seconds)
    });
    match parsed {
        Some(rate) if rate > 0.0 && rate <= 100_000.0 => Ok(rate),
        Some(rate) if rate > 100_000.0 => Err(format!("\"{text}\" is more than 100,000/s; {advice}")),
        _ => Err(format!("\"{text}\" is not a rate; {advice}")),
    }
}

/// A rate such as `30/s`, or `30/s by calendar`: also whether it follows the calendar, if it says so.
pub(super) fn question_rate(text: &str) -> Result<(f64, bool), String> {
    match text.strip_suffix("by calendar") {
        Some(number) => Ok((rate(number.trim_end())?, true)),
        None if text.contains("by") => {
            rate(text).map_err(|error| format!("{error}, or \"30/s by calendar\"")).map(|rate| (rate, false))
        }
        None => Ok((rate(text)?, false)),
    }
}

/// A factor such as `10x`.
pub(super) fn factor(text: &str) -> Result<f64, String> {
    let advice = "write a number and x, such as \"2x\" or \"0.5x\"";
    let number = text.trim().strip_suffix('x').and_then(|number| number.trim().parse::<f64>().ok());
    match number {
        Some(factor) if (0.0..=MAX_FACTOR).contains(&factor) => Ok(factor),
        Some(_) => Err(format!("\"{text}\" is out of range; the lowest factor is 0x, the highest {MAX_FACTOR}x")),
        None => Err(format!("\"{text}\" is not a factor; {advice}")),
    }
}

/// A factor such as `10x`, or a ramp such as `1x to 10x`.
pub(super) fn ramp(text: &str) -> Result<Factor, String> {
    let (from, to) = text.split_once(" to ").unwrap_or((text, text));
    match (factor(from), factor(to)) {
        (Ok(from), Ok(to)) => Ok(Factor { from, to }),
        (Err(error), _) | (_, Err(error)) if error.contains("out of range") => Err(error),
        _ => Err(format!(
            "\"{text}\" is not a rate of a stage; write a factor such as \"10x\", or a ramp such as \"1x to 10x\""
        )),
    }
}

/// A percentage such as `95 %`, between `low` and `high` percent inclusive, as a share.
pub(super) fn percent(text: &str, low: f64, high: f64) -> Result<f64, String> {
    let advice = format!("write {low} % to {high} %, such as \"{} %\"", if high > 50.0 { 95 } else { 5 });
    let number = text.strip_suffix('%').and_then(|number| number.trim().parse::<f64>().ok());
    match number {
        // Read as a decimal number, so that 99.99 % is 0.9999 and not the nearest quotient.
        Some(number) if (low..=high).contains(&number) => Ok(format!("{number}e-2").parse().unwrap_or(number / 100.0)),
        Some(_) => Err(format!("\"{text}\" is out of range; {advice}")),
        None => Err(format!("\"{text}\" is not a percentage; {advice}")),
    }
}

/// A duration in its largest unit, as a scenario would write it: `75 s`, `10 min`, `60 days`.
pub fn exact_duration(duration: Duration) -> String {
    const UNITS: [(u128, &str, &str); 6] = [
        (86_400_000_000, "day", "days"),
        (3_600_000_000, "h", "h"),
        (60_000_000, "min", "min"),
        (1_000_000, "s", "s"),
        (1_000, "ms", "ms"),
        (1, "us", "us"),
    ];
    let micros = duration.as_micros();
    let fits = |(unit, ..): &&(u128, &str, &str)| micros > 0 && micros.is_multiple_of(*unit);
    UNITS.iter().find(fits).map_or_else(
        || "0 s".to_owned(),
        |&(unit, one, many)| format!("{} {}", micros / unit, if micros == unit { one } else { many }),
    )
}

/// A measured duration, rounded to three digits or two units: `642 ms`, `1.3 s`, `4 min 55 s`, `8 h 19 min`, `3 days 2 h`.
pub fn brief_duration(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    let two = |whole: u64, one: &str, unit: u64, other: &str| match (whole / unit, whole % unit) {
        (large, 0) => format!("{large} {one}"),
        (large, small) => format!("{large} {one} {small} {other}"),
    };
    let [whole_seconds, minutes, hours] = [1.0, 60.0, 3_600.0].map(|unit| (seconds / unit).round() as u64);
    match seconds {
        0.0..1.0 => format!("{:.0} ms", seconds * 1_000.0),
        1.0..99.95 => format!("{seconds:.1} s"),
        99.95..3_599.5 => two(whole_seconds, "min", 60, "s"),
        3_599.5..172_770.0 => two(minutes, "h", 60, "min"),
        _ => two(hours, "days", 24, "h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_read_as_people_write_them() {
        assert_eq!(duration("60 s"), Ok(Duration::from_mins(1)));
        assert_eq!(duration("1 day"), Ok(Duration::from_hours(24)));
        assert_eq!(rate("12/min"), Ok(0.2));
        assert_eq!(rate("1_000 / s"), Ok(1000.0));
        assert_eq!(question_rate("14/s by calendar"), Ok((14.0, true)));
        assert_eq!((factor("2x"), factor("0.5 x")), (Ok(2.0), Ok(0.5)));
        assert_eq!(ramp("1x to 10x").map(|ramp| ramp.to_string()), Ok("1x to 10x".to_owned()));
        assert_eq!(ramp("10x"), Ok(Factor { from: 10.0, to: 10.0 }));
        assert_eq!(percent("99.5 %", 50.0, 99.999), Ok(0.995));
        assert_eq!(percent("99.99 %", 50.0, 99.999).map(|share| share.to_string()), Ok("0.9999".to_owned()));
    }

    #[test]
    fn durations_are_written_in_the_unit_that_people_would_use() {
        let exact = [75_000, 600_000, 5_184_000_000, 86_400_000, 100, 5_400_000, 0].map(Duration::from_millis);
        assert_eq!(exact.map(exact_duration), ["75 s", "10 min", "60 days", "1 day", "100 ms", "90 min", "0 s"]);
        let brief = [642, 1_284, 99_940, 99_960, 295_000, 3_599_000].map(Duration::from_millis);
        let texts = ["642 ms", "1.3 s", "99.9 s", "1 min 40 s", "4 min 55 s", "59 min 59 s"];
        assert_eq!(brief.map(brief_duration), texts);
        let brief = [3_599_600, 14_978_000, 172_800_000, 266_400_000].map(Duration::from_millis);
        assert_eq!(brief.map(brief_duration), ["1 h", "4 h 10 min", "2 days", "3 days 2 h"]);
    }

    #[test]
    fn a_value_without_its_unit_is_rejected() {
        assert!(duration("60").is_err());
        assert!(rate("30").is_err() && rate("0/s").is_err() && rate("nan/s").is_err() && rate("3/d").is_err());
        assert!(factor("2").is_err() && factor("-1x").is_err() && ramp("1x-2x").is_err() && ramp("1x to 2y").is_err());
        assert!(question_rate("14/s by night").is_err());
        assert!(percent("95", 50.0, 99.0).is_err() && percent("101 %", 50.0, 99.0).is_err());
    }
}
