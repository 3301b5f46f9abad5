//! How often the same kind of error is logged.
//! An error's kind and the time go in; whether it is due for a line comes out, with how many were left out since the last
//! one. Each kind has its own interval, so a flood of one never hides another. Pure; it logs nothing itself.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::error::RDKafkaErrorCode;

/// Least time between two reports of one kind.
const EVERY: Duration = Duration::from_secs(10);

/// When each kind of error was last reported. There are as many kinds as Kafka's client has error codes.
#[derive(Debug, Default)]
pub struct LogThrottle(Mutex<HashMap<Option<i32>, Kind>>);

#[derive(Debug)]
struct Kind {
    last: Instant,
    left_out: u64,
}

impl LogThrottle {
    /// Whether to report an error of this kind at `now`; if so, how many before it were not.
    pub fn due(&self, kind: Option<RDKafkaErrorCode>, now: Instant) -> Option<u64> {
        let kind = kind.map(|code| code as i32);
        let mut kinds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match kinds.get_mut(&kind) {
            Some(known) if now.saturating_duration_since(known.last) < EVERY => {
                known.left_out += 1;
                None
            }
            known => {
                let left_out = known.map_or(0, |known| known.left_out);
                kinds.insert(kind, Kind { last: now, left_out: 0 });
                Some(left_out)
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
        let (reports, start) = (LogThrottle::default(), Instant::now());
        assert_eq!(reports.due(Some(BrokerTransportFailure), start), Some(0));
        for n in 1..100 {
            assert_eq!(reports.due(Some(BrokerTransportFailure), start + Duration::from_millis(n)), None);
        }
        assert_eq!(reports.due(Some(SaslAuthenticationFailed), start), Some(0), "another kind is reported at once");
        assert_eq!(reports.due(None, start), Some(0), "so is an error without a code");
        assert_eq!(reports.due(Some(BrokerTransportFailure), start + EVERY), Some(99), "with how many were left out");
        assert_eq!(reports.due(Some(BrokerTransportFailure), start + EVERY), None);
    }
}
