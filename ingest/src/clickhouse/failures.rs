//! Failures of ClickHouse in words: what happened, and what an operator has to do about it. It decides nothing.

use std::fmt::Display;

use crate::failure::{Class, Failure};

/// A privilege is missing.
const DENIED: [&str; 3] = ["access_denied", "database_access_denied", "readonly"];

/// The same as a fault of the table: it refuses every row, each alone, and no row is known that it takes.
pub(crate) fn every_row_refused(failure: Failure, table: &str) -> Failure {
    let what = format!(
        "{}; table {table} refuses every row, each alone, and none is known that it takes: repair its constraints, \
         defaults or keys",
        failure.what
    );
    Failure { class: Class::Operator, what, ..failure }
}

/// The same where no row is refused alone.
pub(crate) fn no_row_refused(failure: Failure, table: &str) -> Failure {
    let what = format!("{}; no row is refused alone by a temporary copy of table {table}", failure.what);
    Failure { what, ..failure }
}

/// The same, met while looking for the rows that are refused.
pub(crate) fn in_search(failure: Failure) -> Failure {
    let is_denied = DENIED.contains(&failure.code.as_str());
    let remedy = if is_denied { "; grant what docs/operations.md lists under refused rows" } else { "" };
    let what = format!("rows are refused, and they cannot be searched for: {}{remedy}", failure.what);
    let class = if failure.class == Class::Row { Class::Operator } else { failure.class };
    Failure { class, what, ..failure }
}

/// Something else than ClickHouse answered, or something stands between that changes its answers: nobody knows what
/// became of the request.
pub(crate) fn not_an_answer(missing_proof: &str) -> Failure {
    let what = format!(
        "not an answer of ClickHouse ({missing_proof}); look what stands between the worker and ClickHouse: it has to pass \
         ClickHouse's answers on with all their headers"
    );
    Failure::new(Class::Transient, what)
}

/// The same, which befell a view of the table.
pub(crate) fn in_view(mut failure: Failure, name: &str) -> Failure {
    failure.what = format!("{}, while ClickHouse wrote to view {name}", failure.what);
    failure
}

/// The same, met while a view's rows were computed anew.
pub(crate) fn in_rebuild(failure: Failure, view: &impl Display) -> Failure {
    if failure.code == "query_with_same_id_is_already_running" {
        let what = "something between this program and ClickHouse sends requests again that were not answered in time; it \
                    must not do that with INSERTs";
        return Failure { what: what.to_owned(), ..failure };
    }
    let is_its_own = failure.may_be_of_a_row();
    let remedy = if is_its_own { "; repair the view" } else { "" };
    let what = format!("{}, while the rows of view {view} were computed anew{remedy}", failure.what);
    let class = if is_its_own { Class::Operator } else { failure.class };
    Failure { class, what, ..failure }
}

/// The same as a fault of the table's views, which somebody has to repair.
pub(crate) fn refused_by_a_view(failure: Failure) -> Failure {
    let what = format!("{}, though the table has taken the rows: a view refuses them; repair the view", failure.what);
    Failure { class: Class::Operator, what, ..failure }
}

/// The table's columns have other types than those that this worker encodes rows for.
pub(crate) fn table_changed(table: &str) -> Failure {
    let what = format!(
        "columns of table {table} have other types than when this worker started; restart it, or change them back"
    );
    Failure::new(Class::Operator, what)
}

/// ClickHouse has acknowledged rows for the first time, and its table does not show them.
pub(crate) fn invisible_rows(table: &str) -> Failure {
    let what = format!(
        "ClickHouse has acknowledged rows that table {table} does not show; look for a replica that lags, for several \
         servers behind one address, and for what deletes rows, a TTL or a mutation. They are not sent again while this \
         worker runs"
    );
    Failure::new(Class::Operator, what)
}

/// Rows that were just acknowledged are in the table more than once.
pub(crate) fn doubled_rows(table: &str) -> Failure {
    let what = format!(
        "rows that this worker has just written are in table {table} more than once: somebody else has written them \
         too, or ClickHouse has taken a repeated INSERT twice; compare, correct the table or decide with \
         `sluice ingest offsets accept`"
    );
    Failure::new(Class::Operator, what)
}

/// ClickHouse takes rows again and again, and its table does not show them.
pub(crate) fn vanished_rows(table: &str) -> Failure {
    let what = format!(
        "ClickHouse acknowledges rows that table {table} then lacks; look for what deletes them, a TTL or a mutation"
    );
    Failure::new(Class::Operator, what)
}

/// No answer, or half of one: the write may or may not have taken place.
pub(crate) fn unanswered(error: &reqwest::Error) -> Failure {
    let what = if error.is_timeout() {
        "no answer from ClickHouse in time"
    } else if error.is_connect() {
        "no connection to ClickHouse"
    } else {
        "the connection to ClickHouse broke"
    };
    Failure::new(Class::Transient, what)
}
