//! What a question consists of: the trait that each file of a question implements. It says neither when nor how often a
//! question is asked.

use std::time::Duration;

use futures::future::BoxFuture;

use super::answer::Answer;
use super::key::Key;
use super::store::Store;
use super::subject::Subject;
use super::tally::Tally;
use crate::population::{Population, Tenant, rng::KeyedRng};
use crate::target::{QueryError, Targets};

/// A store's reply to one question.
pub(crate) type Reply<'a> = BoxFuture<'a, Result<Answer, QueryError>>;

/// One question.
pub(super) trait Definition: Sync {
    /// The name in scenarios and reports.
    fn name(&self) -> &'static str;

    /// The store that answers.
    fn store(&self) -> Store;

    /// The store behind it, which is asked if that one does not hold the answer.
    fn backing_store(&self) -> Option<Store> {
        None
    }

    /// Whether asking may change what the store holds.
    fn writes(&self) -> bool {
        false
    }

    /// Whether it is about what the drive writes, so that its right answer has bounds.
    fn is_live(&self) -> bool {
        false
    }

    /// The exact texts that are sent. `docs/scenarios.md` quotes each of them.
    fn texts(&self) -> &'static [&'static str];

    /// Draws a key for a tenant.
    fn draw_key(&self, population: &Population, tenant: &Tenant, rng: &mut KeyedRng) -> Key;

    /// Sends the question and reads the reply.
    fn ask<'a>(&self, targets: &'a Targets, subject: Subject<'a>) -> Reply<'a>;

    /// How long the cached values last that the load writes and the question expects.
    fn cached_for(&self) -> Option<Duration> {
        None
    }

    /// An empty tally for one tenant's past of that many days.
    fn tally(&self, days: usize) -> Box<dyn Tally>;
}
