//! Texts of ClickHouse failures: what happened, and what an operator must do about it. It decides nothing.

use std::fmt::Display;

use crate::failure::{Class, Failure};

/// Codes of a missing privilege.
const DENIED: [&str; 3] = ["access_denied", "database_access_denied", "readonly"];

/// Turns a failure into a fault of the table: it refuses every row alone, and it is not known to accept any row.
pub(crate) fn every_row_refused(failure: Failure, table: &str) -> Failure {
    let what = format!(
        "{}; table {table} refuses every row, each alone, and is not known to accept any row: repair its constraints, \
         defaults or keys",
        failure.what
    );
    Failure { class: Class::Operator, what, ..failure }
}

/// Adds to a failure that no row is refused alone.
pub(crate) fn no_row_refused(failure: Failure, table: &str) -> Failure {
    let what = format!("{}; no row is refused alone by a temporary copy of table {table}", failure.what);
    Failure { what, ..failure }
}

/// Adds to a failure that it occurred during the search for refused rows.
pub(crate) fn in_search(failure: Failure) -> Failure {
    let is_denied = DENIED.contains(&failure.code.as_str());
    let remedy = if is_denied { "; grant what docs/operations.md lists under refused rows" } else { "" };
    let what = format!("rows are refused, and the search for them failed: {}{remedy}", failure.what);
    let class = if failure.class == Class::Row { Class::Operator } else { failure.class };
    Failure { class, what, ..failure }
}

/// The response is not ClickHouse's, or a proxy altered it: the outcome of the request is unknown.
pub(crate) fn not_a_response(missing_proof: &str) -> Failure {
    let what = format!(
        "not a ClickHouse response ({missing_proof}); check what stands between the worker and ClickHouse: it must pass on \
         ClickHouse's responses with all headers"
    );
    Failure::new(Class::Transient, what)
}

/// Adds to a failure that it occurred in a view of the table.
pub(crate) fn in_view(mut failure: Failure, name: &str) -> Failure {
    failure.what = format!("{}, while ClickHouse wrote to view {name}", failure.what);
    failure
}

/// Adds to a failure that it occurred while a view's rows were recomputed.
pub(crate) fn in_rebuild(failure: Failure, view: &impl Display) -> Failure {
    if failure.code == "query_with_same_id_is_already_running" {
        let what = "something between this program and ClickHouse resends requests that received no response in \
                    time; it must not do that with INSERTs";
        return Failure { what: what.to_owned(), ..failure };
    }
    let is_view_fault = failure.may_be_row_fault();
    let remedy = if is_view_fault { "; repair the view" } else { "" };
    let what = format!("{}, while the rows of view {view} were recomputed{remedy}", failure.what);
    let class = if is_view_fault { Class::Operator } else { failure.class };
    Failure { class, what, ..failure }
}

/// Turns a failure into a fault of the table's views, which an operator must repair.
pub(crate) fn refused_by_a_view(failure: Failure) -> Failure {
    let what =
        format!("{}, though the table has accepted the rows: a view refuses them; repair the view", failure.what);
    Failure { class: Class::Operator, what, ..failure }
}

/// The table's columns have other types than those that this worker encodes rows for.
pub(crate) fn table_changed(table: &str) -> Failure {
    let what = format!(
        "columns of table {table} have other types than when this worker started; restart it, or change them back"
    );
    Failure::new(Class::Operator, what)
}

/// ClickHouse acknowledged rows that its table does not show, for the first time.
pub(crate) fn invisible_rows(table: &str) -> Failure {
    let what = format!(
        "ClickHouse has acknowledged rows that table {table} does not show; look for a lagging replica, for several \
         servers behind one address, and for a TTL or a mutation that deletes rows. They are not sent again while this \
         worker runs"
    );
    Failure::new(Class::Operator, what)
}

/// Rows that were just acknowledged are in the table more than once.
pub(crate) fn duplicated_rows(table: &str) -> Failure {
    let what = format!(
        "rows that this worker has just written are in table {table} more than once: another process has written them \
         too, or ClickHouse has accepted a repeated INSERT twice; compare, correct the table or decide with \
         `sluice ingest offsets accept`"
    );
    Failure::new(Class::Operator, what)
}

/// ClickHouse repeatedly accepts rows that its table then does not show.
pub(crate) fn vanished_rows(table: &str) -> Failure {
    let what = format!(
        "ClickHouse acknowledges rows that table {table} then lacks; look for a TTL or a mutation that deletes them"
    );
    Failure::new(Class::Operator, what)
}

/// No response, or only part of one: it is unknown whether the write took place.
pub(crate) fn unanswered(error: &reqwest::Error) -> Failure {
    let what = if error.is_timeout() {
        "no response from ClickHouse in time"
    } else if error.is_connect() {
        "no connection to ClickHouse"
    } else {
        "the connection to ClickHouse broke"
    };
    Failure::new(Class::Transient, what)
}
