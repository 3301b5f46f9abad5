//! The operator's commands on the group's offsets: `sluice ingest offsets show | set | skip | accept`.
//! A change is computed first and committed on request. Kafka accepts no offset from outside while the group has a
//! member, so no offset can change under a running worker.
//!
//! | verb | commits | metadata | the next worker |
//! |---|---|---|---|
//! | `set` | any offset of the log | none | looks up every batch up to the end of the log, and writes what is missing |
//! | `skip` | the first offset after unreadable records, each of which gets a dead letter | none | as after `set` |
//! | `accept` | one past the table's highest offset, unless one is named | an intent without ranges | looks nothing up, unless the table holds more than that |

mod change;
mod error;
mod group;
mod skip;

pub use change::{Change, To, describe_metadata};
pub use error::Error;
pub use group::{Line, Offsets};
pub use skip::{Skip, UNREADABLE};
