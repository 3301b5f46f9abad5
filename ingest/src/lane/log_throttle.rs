//! Limits how often the same kind of error is logged.
//! Each kind has its own interval, so a flood of one never hides another. It logs nothing itself.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::error::RDKafkaErrorCode;

/// Minimum time between two reports of one kind.
const INTERVAL: Duration = Duration::from_secs(10);

/// When each kind of error was last reported; the error codes of Kafka's client bound its size.
#[derive(Debug, Default)]
pub struct LogThrottle(Mutex<HashMap<Option<i32>, Kind>>);

#[derive(Debug)]
struct Kind {
    last: Instant,
    suppressed: u64,
}

impl LogThrottle {
    /// Returns how many errors of this kind were suppressed since the last report, if one is due at `now`.
    pub fn due(&self, kind: Option<RDKafkaErrorCode>, now: Instant) -> Option<u64> {
        let kind = kind.map(|code| code as i32);
        let mut kinds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match kinds.get_mut(&kind) {
            Some(entry) if now.saturating_duration_since(entry.last) < INTERVAL => {
                entry.suppressed += 1;
                None
            }
            entry => {
                let suppressed = entry.map_or(0, |entry| entry.suppressed);
                kinds.insert(kind, Kind { last: now, suppressed: 0 });
                Some(suppressed)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use RDKafkaErrorCode::{BrokerTransportFailure, SaslAuthenticationFailed};

    #[test]
    fn a_flood_of_one_kind_hides_no_other() {
        let (throttle, start) = (LogThrottle::default(), Instant::now());
        assert_eq!(throttle.due(Some(BrokerTransportFailure), start), Some(0));
        for n in 1..100 {
            assert_eq!(throttle.due(Some(BrokerTransportFailure), start + Duration::from_millis(n)), None);
        }
        assert_eq!(throttle.due(Some(SaslAuthenticationFailed), start), Some(0), "another kind is reported at once");
        assert_eq!(throttle.due(None, start), Some(0), "so is an error without a code");
        assert_eq!(
            throttle.due(Some(BrokerTransportFailure), start + INTERVAL),
            Some(99),
            "with the number suppressed"
        );
        assert_eq!(throttle.due(Some(BrokerTransportFailure), start + INTERVAL), None);
    }
}
