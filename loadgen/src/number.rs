//! Numbers as people read them, on the terminal and in reports. Nothing is measured or judged here.

/// A number with thousands separators.
pub fn separated(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A count with what is counted, a word whose plural ends in "s".
pub fn counted(count: u64, what: &str) -> String {
    format!("{} {what}{}", separated(count), if count == 1 { "" } else { "s" })
}

/// A rate per second: two decimals, and three digits for less than one.
pub fn rate(per_second: f64) -> String {
    let text = match per_second {
        ..=0.0 => return "0".to_owned(),
        ..1.0 => format!("{:.*}", (2.0 - per_second.log10().floor()).min(9.0) as usize, per_second),
        _ => format!("{per_second:.2}"),
    };
    without_zeros(&text).to_owned()
}

/// A number with decimals, without the zeros at its end.
fn without_zeros(text: &str) -> &str {
    text.trim_end_matches('0').trim_end_matches('.')
}

/// A share as a percentage, without trailing zeros: two decimals, and four close to 0 % and 100 %.
pub fn percent(share: f64) -> String {
    let percent = share * 100.0;
    let close_to_an_end = percent.min(100.0 - percent);
    let text = if close_to_an_end < 0.1 { format!("{percent:.4}") } else { format!("{percent:.2}") };
    format!("{} %", without_zeros(&text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn low_rates_have_digits_too() {
        let rates = [0.0, 10.0 / 3_600.0, 10.0 / 60.0, 1.0, 9.8, 12.345, 2_000.0].map(rate);
        assert_eq!(rates, ["0", "0.00278", "0.167", "1", "9.8", "12.35", "2000"]);
    }

    #[test]
    fn shares_close_to_an_end_have_more_decimals() {
        let shares = [0.0, 0.000_01, 0.05, 0.123_456, 0.5, 0.999_9, 1.0].map(percent);
        assert_eq!(shares, ["0 %", "0.001 %", "5 %", "12.35 %", "50 %", "99.99 %", "100 %"]);
    }

    #[test]
    fn only_one_is_singular() {
        let counts = [0, 1, 2_000].map(|count| counted(count, "wrong answer"));
        assert_eq!(counts, ["0 wrong answers", "1 wrong answer", "2,000 wrong answers"]);
    }

    #[test]
    fn thousands_are_separated() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(separated), ["0", "999", "1,000", "1,234,567"]);
    }
}
