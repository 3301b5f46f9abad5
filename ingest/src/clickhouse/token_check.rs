//! Checks before the first record that this server drops a second INSERT with the same token, for this user and its
//! profile.
//! A failure names the remedy. It writes to a temporary table of its own session, never to a shared table.

use super::client::ClickHouse;
use super::failures;
use crate::failure::{Class, Failure};
use crate::fault::{Fault, is_injected};
use uuid::Uuid;

const CREATE: &str = "CREATE TEMPORARY TABLE sluice_token_proof (x UInt8) ENGINE = MergeTree ORDER BY x \
                      SETTINGS non_replicated_deduplication_window = 10";
const INSERT: &str = "INSERT INTO sluice_token_proof (x) VALUES (1)";
const COUNT: &str = "SELECT toUInt8(count()) FROM sluice_token_proof FORMAT RowBinary";
const DROP: &str = "DROP TEMPORARY TABLE sluice_token_proof";
/// Seconds until the server drops an abandoned session with its table.
const SESSION_SECONDS: &str = "60";

/// Inserts the same row twice with one token and fails unless one row is left.
pub async fn check_tokens(clickhouse: &ClickHouse) -> Result<(), Failure> {
    if is_injected(Fault::SkipTokenCheck) {
        return Ok(());
    }
    let id = format!("sluice-{}", Uuid::new_v4());
    let session = [("session_id", id.clone()), ("session_timeout", SESSION_SECONDS.to_owned())];
    clickhouse.query(CREATE, &session).await.map_err(cannot_prepare)?;
    for _ in 0..2 {
        clickhouse.insert_text(INSERT, &id, &session).await?;
    }
    let rows = clickhouse.query(COUNT, &session).await?;
    clickhouse.query(DROP, &session).await?;
    match rows[..] {
        [1] => Ok(()),
        [rows] => Err(tokens_ignored(rows)),
        _ => Err(failures::not_a_response("a body that is not the number of rows")),
    }
}

fn cannot_prepare(failure: Failure) -> Failure {
    if failure.code != "access_denied" {
        return failure;
    }
    let message = format!(
        "{}: the check at start-up needs a temporary table; GRANT CREATE ARBITRARY TEMPORARY TABLE ON *.* and \
         TABLE ENGINE ON MergeTree to this user",
        failure.what
    );
    Failure { what: message, ..failure }
}

fn tokens_ignored(rows: u8) -> Failure {
    let message = format!(
        "two INSERTs with one deduplication token left {rows} rows, so a repeated INSERT would land twice; check \
         deduplicate_insert and insert_deduplicate in the profile of this ClickHouse user"
    );
    Failure::new(Class::Operator, message)
}
