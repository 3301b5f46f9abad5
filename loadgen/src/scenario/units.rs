//! Parses values with units: `60 s`, `30/s`, `95 %`. Errors contain what to write instead.

use std::time::Duration;

use humantime_serde::re::humantime;

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

/// A percentage such as `95 %`, between `low` and `high` percent inclusive, as a share.
pub(super) fn percent(text: &str, low: f64, high: f64) -> Result<f64, String> {
    let advice = format!("write {low} % to {high} %, such as \"{} %\"", if high > 50.0 { 95 } else { 5 });
    let number = text.strip_suffix('%').and_then(|number| number.trim().parse::<f64>().ok());
    match number {
        Some(number) if (low..=high).contains(&number) => Ok(number / 100.0),
        Some(_) => Err(format!("\"{text}\" is out of range; {advice}")),
        None => Err(format!("\"{text}\" is not a percentage; {advice}")),
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
        assert_eq!(percent("99.5 %", 50.0, 99.999), Ok(0.995));
    }

    #[test]
    fn a_value_without_its_unit_is_rejected() {
        assert!(duration("60").is_err());
        assert!(rate("30").is_err() && rate("0/s").is_err() && rate("nan/s").is_err() && rate("3/d").is_err());
        assert!(percent("95", 50.0, 99.0).is_err() && percent("101 %", 50.0, 99.0).is_err());
    }
}
