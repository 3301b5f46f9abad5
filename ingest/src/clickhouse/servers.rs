//! Whether several servers answer at one address: what one of them has taken, another may not have.
//! Names of servers go in, in the order of their answers; two of them come out if they take turns. A server that was
//! replaced by another, as a restarted container is, is not two.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Names that are remembered.
const MOST: usize = 16;

/// The servers that have answered.
#[derive(Debug, Default)]
pub(super) struct Servers(Mutex<Answered>);

#[derive(Debug, Default)]
struct Answered {
    last: String,
    before: BTreeSet<String>,
    turns: Option<[String; 2]>,
}

impl Servers {
    fn answered(&self) -> MutexGuard<'_, Answered> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A server of this name has answered.
    pub(super) fn add(&self, name: &str) {
        let mut seen = self.answered();
        if seen.last == name {
            return;
        }
        let last = std::mem::replace(&mut seen.last, name.to_owned());
        if seen.before.contains(name) {
            seen.turns = Some([last.clone(), name.to_owned()]);
        }
        if !last.is_empty() && seen.before.len() < MOST {
            seen.before.insert(last);
        }
    }

    /// Two that take turns.
    pub(super) fn alternating(&self) -> Option<[String; 2]> {
        self.answered().turns.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turns(names: &[&str]) -> Option<[String; 2]> {
        let servers = Servers::default();
        for name in names {
            servers.add(name);
        }
        servers.alternating()
    }

    #[test]
    fn two_that_take_turns_are_several_and_one_that_was_replaced_is_not() {
        assert_eq!(turns(&["a", "a", "b", "b", "c"]), None);
        assert_eq!(turns(&["a", "b", "b", "a"]), Some(["b".to_owned(), "a".to_owned()]));
        assert_eq!(turns(&[""]), None);
    }
}
