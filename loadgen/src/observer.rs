//! What a session and its trials report while they work, for a terminal or a log. An observer never changes what they
//! do.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::drive::Progress;

/// Watches a session and its trials. Methods return at once; some are called from several threads.
pub trait Observer: std::fmt::Debug + Send + Sync {
    /// A step begins.
    fn step_started(&self, text: &str);
    /// The current step has advanced.
    fn step_advanced(&self, text: &str);
    /// The current step is done; `text` says what it did.
    fn step_finished(&self, text: &str);
    /// A load begins, of that many records by kind. Kinds whose number is not known in advance are omitted.
    fn load_started(&self, expected: &BTreeMap<String, u64>);
    /// A store has accepted `more` records of a kind.
    fn loaded(&self, kind: &str, more: u64);
    /// A store holds `count` of the expected records of a kind already, which are not loaded again.
    fn kept(&self, kind: &str, count: u64);
    /// A drive begins.
    fn drive_started(&self);
    /// A snapshot of the drive, to keep or to read.
    fn driving(&self, progress: &Arc<Progress>);
}

/// Several observers, each of which watches everything.
#[derive(Debug)]
pub struct Observers(pub Vec<Arc<dyn Observer>>);

impl Observer for Observers {
    fn step_started(&self, text: &str) {
        self.0.iter().for_each(|one| one.step_started(text));
    }

    fn step_advanced(&self, text: &str) {
        self.0.iter().for_each(|one| one.step_advanced(text));
    }

    fn step_finished(&self, text: &str) {
        self.0.iter().for_each(|one| one.step_finished(text));
    }

    fn load_started(&self, expected: &BTreeMap<String, u64>) {
        self.0.iter().for_each(|one| one.load_started(expected));
    }

    fn loaded(&self, kind: &str, more: u64) {
        self.0.iter().for_each(|one| one.loaded(kind, more));
    }

    fn kept(&self, kind: &str, count: u64) {
        self.0.iter().for_each(|one| one.kept(kind, count));
    }

    fn drive_started(&self) {
        self.0.iter().for_each(|one| one.drive_started());
    }

    fn driving(&self, progress: &Arc<Progress>) {
        self.0.iter().for_each(|one| one.driving(progress));
    }
}
