//! The numbers that requests of a rate limit were given. A counter gives none twice; when it has expired, another one starts anew. It
//! never reads a clock.

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use sluice_schemas::keyspace::RATE_TTL;
use sluice_schemas::records::Channel;

/// Redis rounds a time to live to seconds.
const ROUNDING: Duration = Duration::from_secs(1);

/// The numbers that one tenant was given, each with the times between which its counter expires.
#[derive(Debug, Default)]
pub(super) struct Numbers(HashMap<(Channel, u64), RangeInclusive<Duration>>);

impl Numbers {
    /// Notes a number, which was given between two times by a counter with so many seconds left. `false` if the same counter has given it
    /// before.
    pub(super) fn note(
        &mut self,
        channel: Channel,
        (number, ttl): (u64, i64),
        (asked, answered): (Duration, Duration),
    ) -> bool {
        let ttl = Duration::from_secs(u64::try_from(ttl).unwrap_or_default());
        let expires = (asked + ttl).saturating_sub(ROUNDING)..=answered + ttl + ROUNDING;
        let before = self.0.insert((channel, number), expires.clone());
        before.is_none_or(|before| may_differ(&before, &expires))
    }
}

/// Whether these may be two counters, which expire at least a whole time to live apart.
fn may_differ(one: &RangeInclusive<Duration>, other: &RangeInclusive<Duration>) -> bool {
    let first = *one.start().min(other.start());
    let last = *one.end().max(other.end());
    last.saturating_sub(first) >= *RATE_TTL
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_gives_no_number_twice_and_the_next_one_starts_anew() {
        let seconds = |at: u64| (Duration::from_secs(at), Duration::from_secs(at) + Duration::from_millis(5));
        let (email, phone, whole) = (Channel::Email, Channel::Phone, RATE_TTL.as_secs().cast_signed());
        let mut numbers = Numbers::default();
        assert!(numbers.note(email, (1, whole), seconds(10)));
        assert!(numbers.note(email, (2, whole - 2), seconds(12)), "the next one");
        assert!(numbers.note(phone, (2, whole), seconds(12)), "another counter");
        assert!(!numbers.note(email, (2, whole - 2), seconds(12)), "at once");
        assert!(!numbers.note(email, (1, whole - 50), seconds(60)), "by the same counter, just before its end");
        assert!(numbers.note(email, (1, whole), seconds(10 + RATE_TTL.as_secs())), "by the next counter");
        let late = (Duration::from_secs(20), Duration::from_secs(80));
        assert!(numbers.note(email, (2, whole), late), "nobody knows which counter gave it");
    }
}
