//! The account: produced = landed + dead-lettered, per tenant and kind, to the record, in every store.
//! It never repairs anything.
//!
//! Each slice (kind, origin, tenant) is first compared by a tally: rows, identities, and a digest over every column,
//! computed here from the seed and in the store from its rows. If tallies differ, all entries are fetched, and the
//! differences are counted and named.
//!
//! # Layout
//! - `settle`: waits until everything has landed
//! - `ledger`, `slice`, `canonical`: the account as a value, what a store should contain, and the text of a record
//! - `reconcile`, `page`: the comparison of one set of records, and of a whole table, tenant by tenant
//! - `ingested`, `clickhouse`, `dead_letters`: what ingest writes
//! - `relational`, `postgres`, `documents`, `contexts`: PostgreSQL, Elasticsearch and Redis
//! - `error`: why a part of the account is missing

mod canonical;
mod clickhouse;
mod contexts;
mod dead_letters;
mod documents;
mod error;
mod ingested;
mod ledger;
mod page;
mod postgres;
mod reconcile;
mod relational;
mod settle;
mod slice;

use std::time::Duration;

use crate::plan::Totals;
use crate::run_context::RunContext;

pub use error::AccountError;
pub use ledger::{Account, Differences, EXAMPLES, Ledger, NO_TENANT, Origin, Provenance, Recomputed};
pub use settle::{Settled, settle};

/// Timeout of one store's part; a frozen store never responds.
const STORE_TIMEOUT: Duration = Duration::from_mins(1);

/// Draws up the account. `acknowledged` comes from the drive, by index of the tenant; it is empty after a load without
/// a drive. A store that does not respond is listed in [`Account::unaccounted`]; the others are still accounted for.
pub async fn balance(context: RunContext<'_>, acknowledged: &[Totals]) -> Account {
    let mut account = Account::default();
    let letters = within_timeout("Kafka", ingested::dead_letters(context)).await;
    let letters = letters.map_err(|why| account.unaccounted.push(why)).unwrap_or_default();
    let part = Box::pin(ingested::account(context, acknowledged, &letters, &mut account));
    let clickhouse = within_timeout("ClickHouse", part).await;
    let part = Box::pin(relational::account(context, acknowledged, &mut account));
    let postgres = within_timeout("PostgreSQL", part).await;
    let elasticsearch = within_timeout("Elasticsearch", Box::pin(documents::account(context, &mut account))).await;
    let redis = within_timeout("Redis", Box::pin(contexts::account(context, &mut account))).await;
    let parts = [clickhouse, postgres, elasticsearch, redis];
    account.unaccounted.extend(parts.into_iter().filter_map(Result::err));
    ingested::unreadable(&letters, &mut account);
    account
}

/// One store's part, or why it is missing.
async fn within_timeout<T>(store: &str, part: impl Future<Output = Result<T, AccountError>>) -> Result<T, String> {
    match tokio::time::timeout(STORE_TIMEOUT, part).await {
        Ok(done) => done.map_err(|error| error.to_string()),
        Err(_) => Err(format!("read the account from {store}: no response in {} s", STORE_TIMEOUT.as_secs())),
    }
}
