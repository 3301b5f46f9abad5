//! Answers, as stores return them and as the plan expects them: a correct answer is an equal one.

use sluice_schemas::records::{Channel, Customer, EventType, InteractionType};
use uuid::Uuid;

use crate::target::QueryError;

/// An answer of a store, or the one that is expected of it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Answer {
    /// A customer with all its columns, or none.
    Customer(Option<Box<Customer>>),
    /// Identifiers of communications, newest first.
    Timeline(Vec<Uuid>),
    /// Communications by status, without zeros, in order of [`EventType`].
    Statuses(Vec<(EventType, u64)>),
    /// Number of matching rows.
    Rows(u64),
    /// Number of matching documents.
    Hits(u64),
    /// Counts by channel and type, without zeros, in order.
    Events(Vec<(Channel, EventType, u64)>),
    /// Name, count and sum of each metric, in order of name. Sums are exact in an f64.
    Metrics(Vec<(String, u64, f64)>),
    /// Count and money of each type, without zeros, in order of [`InteractionType`].
    Interactions(Vec<(InteractionType, u64, i64)>),
    /// Campaign, events and successes, in order of the UUID's bytes; nil is "no campaign".
    Campaigns(Vec<(Uuid, u64, u64)>),
}

/// Reads a label, such as a channel or a status, that `store` returned as text.
pub(super) fn parse_label<T: Copy>(
    store: &'static str,
    all: &[T],
    as_str: fn(T) -> &'static str,
    text: &str,
) -> Result<T, QueryError> {
    let label = all.iter().copied().find(|value| as_str(*value) == text);
    label.ok_or(QueryError::Unreadable { store, what: "a label that no record has" })
}

/// Rows in order, or the first error among them.
pub(super) fn sorted<T: Ord>(rows: impl Iterator<Item = Result<T, QueryError>>) -> Result<Vec<T>, QueryError> {
    let mut rows: Vec<T> = rows.collect::<Result<_, _>>()?;
    rows.sort_unstable();
    Ok(rows)
}
