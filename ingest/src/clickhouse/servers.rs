//! Detects several servers behind one address: rows that one of them accepted may be missing on another.
//! Two servers count only if their responses alternate: a server that another one replaces, such as a restarted
//! container, does not. This module sends no request: the client reports the server of each response.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Maximum number of names that are remembered.
const MAX_NAMES: usize = 16;

/// The servers that have responded.
#[derive(Debug, Default)]
pub(super) struct Servers(Mutex<Seen>);

#[derive(Debug, Default)]
struct Seen {
    last: String,
    before: BTreeSet<String>,
    alternating: Option<[String; 2]>,
}

impl Servers {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records a response from a server of this name.
    pub(super) fn add(&self, name: &str) {
        let mut seen = self.seen();
        if seen.last == name {
            return;
        }
        let last = std::mem::replace(&mut seen.last, name.to_owned());
        if seen.before.contains(name) {
            seen.alternating = Some([last.clone(), name.to_owned()]);
        }
        if !last.is_empty() && seen.before.len() < MAX_NAMES {
            seen.before.insert(last);
        }
    }

    /// Two servers that alternate, if any.
    pub(super) fn alternating(&self) -> Option<[String; 2]> {
        self.seen().alternating.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alternating(names: &[&str]) -> Option<[String; 2]> {
        let servers = Servers::default();
        for name in names {
            servers.add(name);
        }
        servers.alternating()
    }

    #[test]
    fn alternating_servers_are_detected_and_a_replaced_one_is_not() {
        assert_eq!(alternating(&["a", "a", "b", "b", "c"]), None);
        assert_eq!(alternating(&["a", "b", "b", "a"]), Some(["b".to_owned(), "a".to_owned()]));
        assert_eq!(alternating(&[""]), None);
    }
}
