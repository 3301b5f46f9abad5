//! What the modules of ClickHouse share: how a statement is run and how an error is reported. Nothing is retried.

use crate::connect::ConnectError;
use crate::error::{SchemaError, refused};
use crate::store::Store;
use crate::stores::Stores;

pub(super) fn failed(
    stores: &Stores,
    doing: impl Into<String>,
) -> impl FnOnce(clickhouse::error::Error) -> SchemaError {
    let (address, doing) = (stores.clickhouse.url.clone(), doing.into());
    move |error| match error {
        clickhouse::error::Error::Network(cause) => {
            ConnectError::new("ClickHouse", "clickhouse", address, cause.as_ref()).into()
        }
        other => refused(Store::ClickHouse, doing)(other),
    }
}

/// Runs a statement that returns no rows. It counts as done only if the response is ClickHouse's own: a summary in the
/// headers and an empty body. The client itself accepts any 200.
pub(super) async fn execute(query: clickhouse::query::Query) -> Result<(), clickhouse::error::Error> {
    let mut response = query.fetch_bytes("TabSeparated")?;
    let mut is_empty = true;
    while response.next().await?.is_some() {
        is_empty = false;
    }
    if is_empty && response.summary().is_some() {
        return Ok(());
    }
    let reason = "the response is not ClickHouse's; is there a proxy or another server at its address?";
    Err(clickhouse::error::Error::BadResponse(reason.to_owned()))
}
