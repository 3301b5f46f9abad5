//! What a question of a scenario's own is expected to answer. It compares, and knows no store.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The expected answer; an answer is right if every part that is given holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Expected {
    /// Number of rows, hits or elements.
    pub rows: Option<Rows>,
    /// The first value of the first row, as text; `$NAME` is the value of a parameter.
    pub value: Option<String>,
}

/// A number of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Rows {
    /// Exactly so many.
    Exactly(u64),
    /// So many or more.
    AtLeast(u64),
}

impl Rows {
    fn is(self, rows: u64) -> bool {
        match self {
            Self::Exactly(expected) => rows == expected,
            Self::AtLeast(least) => rows >= least,
        }
    }
}

impl std::fmt::Display for Rows {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Exactly(rows) => write!(f, "{rows} are"),
            Self::AtLeast(rows) => write!(f, "at least {rows} are"),
        }
    }
}

impl Expected {
    /// The parameter that the expected value is taken from, if it is one.
    pub fn parameter(&self) -> Option<&str> {
        self.value.as_deref()?.strip_prefix('$')
    }

    /// Compares an answer of that many rows with that first value. The error says what differs, without a value.
    pub fn compare(&self, rows: u64, first: Option<&str>, values: &BTreeMap<&str, &str>) -> Result<(), String> {
        if let Some(expected) = self.rows.filter(|expected| !expected.is(rows)) {
            return Err(format!("it has {rows} rows, and {expected} expected"));
        }
        let Some(value) = self.value.as_deref() else { return Ok(()) };
        let value = self.parameter().map_or(Some(value), |parameter| values.get(parameter).copied());
        match first {
            _ if first == value => Ok(()),
            None => Err("it has no value".to_owned()),
            Some(_) => Err("its first value is not the expected one".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_part_of_an_expectation_is_compared() {
        let values = BTreeMap::from([("total", "12")]);
        let is = |expected: &Expected, rows, first| expected.compare(rows, first, &values).is_ok();
        let nothing = Expected::default();
        assert!(is(&nothing, 0, None) && is(&nothing, 7, Some("x")));
        let rows = |rows| Expected { rows: Some(rows), value: None };
        assert!(is(&rows(Rows::Exactly(2)), 2, None) && !is(&rows(Rows::Exactly(2)), 3, None));
        assert!(is(&rows(Rows::AtLeast(2)), 3, None) && !is(&rows(Rows::AtLeast(2)), 1, None));
        let value = |text: &str| Expected { rows: None, value: Some(text.to_owned()) };
        assert!(is(&value("paid"), 1, Some("paid")) && !is(&value("paid"), 1, Some("open")));
        assert!(!is(&value("paid"), 0, None), "no row has no value");
        assert!(is(&value("$total"), 1, Some("12")) && !is(&value("$total"), 1, Some("13")));
        let differs = |expected: &Expected, rows, first| expected.compare(rows, first, &values).unwrap_err();
        assert_eq!(differs(&rows(Rows::AtLeast(2)), 1, None), "it has 1 rows, and at least 2 are expected");
        assert_eq!(differs(&value("$total"), 0, None), "it has no value");
        assert_eq!(differs(&value("$total"), 1, Some("13")), "its first value is not the expected one");
    }
}
