//! Selects dead letters by topic, reason, tenant and the time at which they became dead letters. It performs no I/O.

use std::collections::BTreeSet;

use uuid::Uuid;

use crate::dead_letter::letter::Letter;

/// Conditions on a letter; `None` matches any value.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Topic of the record, with its namespace.
    pub topic: Option<String>,
    /// Reason of the letter.
    pub reason: Option<String>,
    /// Tenant of the record.
    pub tenant: Option<Uuid>,
    /// Earliest time of the letter, in milliseconds since 1970.
    pub since_ms: Option<i64>,
    /// Time that the letter must precede, in milliseconds since 1970.
    pub until_ms: Option<i64>,
}

impl Filter {
    /// Whether `letter` matches.
    pub fn matches(&self, letter: &Letter) -> bool {
        self.topic.as_ref().is_none_or(|topic| *topic == letter.source.topic)
            && self.reason.as_ref().is_none_or(|reason| *reason == letter.reason)
            && self.tenant.is_none_or(|tenant| letter.tenant == Some(tenant))
            && self.since_ms.is_none_or(|since| letter.at_ms >= since)
            && self.until_ms.is_none_or(|until| letter.at_ms < until)
    }
}

/// Topics and reasons of letters that the filter excluded, to help correct a mistyped name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FilteredOut {
    /// Topics with their namespace.
    pub topics: BTreeSet<String>,
    /// Reasons.
    pub reasons: BTreeSet<String>,
}

impl FilteredOut {
    /// Adds a letter that does not match.
    pub fn add(&mut self, letter: &Letter) {
        for (known, name) in [(&mut self.topics, &letter.source.topic), (&mut self.reasons, &letter.reason)] {
            if !known.contains(name) {
                known.insert(name.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dead_letter::letter::tests::letter;
    use sluice_schemas::records::dead_letter_header as header;

    #[test]
    fn each_condition_is_independent() {
        // A dead letter of `ns.events` since 2000, with reason `wrong_type`, of tenant 1.
        let (usual, without_tenant) = (letter(&[]).unwrap(), letter(&[(header::TENANT, "")]).unwrap());
        let matches = |filter: Filter| filter.matches(&usual);
        assert!(matches(Filter::default()));
        for (topic, is_match) in [("ns.events", true), ("events", false)] {
            assert_eq!(matches(Filter { topic: Some(topic.to_owned()), ..Filter::default() }), is_match);
        }
        for (reason, is_match) in [("wrong_type", true), ("wrong", false)] {
            assert_eq!(matches(Filter { reason: Some(reason.to_owned()), ..Filter::default() }), is_match);
        }
        let of_tenant = |tenant| Filter { tenant: Some(Uuid::from_u128(tenant)), ..Filter::default() };
        assert!(matches(of_tenant(1)) && !matches(of_tenant(2)) && !of_tenant(1).matches(&without_tenant));
        for (since_ms, until_ms, is_match) in
            [(2000, 2001, true), (2001, 3000, false), (0, 2000, false), (0, 3000, true)]
        {
            let filter = Filter { since_ms: Some(since_ms), until_ms: Some(until_ms), ..Filter::default() };
            assert_eq!(matches(filter), is_match, "{since_ms} to {until_ms}");
        }
    }

    #[test]
    fn all_conditions_must_hold() {
        let both = Filter { reason: Some("wrong_type".to_owned()), since_ms: Some(9000), ..Filter::default() };
        assert!(!both.matches(&letter(&[]).unwrap()));
    }
}
