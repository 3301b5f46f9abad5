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

/// A share as a percentage, without trailing zeros: two decimals, and four close to 0 % and 100 %.
pub fn percent(share: f64) -> String {
    let percent = share * 100.0;
    let close_to_an_end = percent.min(100.0 - percent);
    let text = if close_to_an_end < 0.1 { format!("{percent:.4}") } else { format!("{percent:.2}") };
    format!("{} %", text.trim_end_matches('0').trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_close_to_an_end_have_more_decimals() {
        let shares = [0.0, 0.000_01, 0.05, 0.123_456, 0.5, 0.999_9, 1.0].map(percent);
        assert_eq!(shares, ["0 %", "0.001 %", "5 %", "12.35 %", "50 %", "99.99 %", "100 %"]);
    }

    #[test]
    fn thousands_are_separated() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(separated), ["0", "999", "1,000", "1,234,567"]);
    }
}
