//! The account: produced = landed + dead-lettered, per tenant and kind, to the record, in every store.
//! It never repairs anything.
//!
//! Each slice (kind, origin, tenant) is first compared by a tally: rows, identities, and a digest over every column,
//! computed here from the seed and in the store from its rows. If tallies differ, so do those of some buckets of identities;
//! the entries of these are fetched, and the differences counted and named.
//!
//! # Layout
//! - `settle`: waits until everything has landed
//! - `ledger`, `slice`, `canonical`: the account as a value, what a store should contain, and the text of a record
//! - `reconcile`, `page`: the comparison of one set of records, and of a whole table, tenant by tenant
//! - `ingested`, `clickhouse`, `dead_letters`: what ingest writes
//! - `relational`, `postgres`, `documents`, `redis`: PostgreSQL, Elasticsearch and Redis
//! - `time_limit`, `error`: how long a store may take, and why a part of the account is missing

mod canonical;
mod clickhouse;
mod dead_letters;
mod documents;
mod error;
mod ingested;
mod ledger;
mod page;
mod postgres;
mod reconcile;
mod redis;
mod relational;
mod settle;
mod slice;
mod time_limit;

use crate::plan::Totals;
use crate::run_context::RunContext;

pub use error::AccountError;
pub use ledger::{Account, Differences, EXAMPLES, Ledger, NO_TENANT, Origin, Provenance, Recomputed, Sampled};
pub use settle::{Settled, count_letters, settle};

/// Draws up the account. `acknowledged` comes from the drive, by index of the tenant; it is empty after a load without
/// a drive. A store that does not respond is listed in [`Account::unaccounted`]; the others are still accounted for.
pub async fn balance(context: RunContext<'_>, acknowledged: &[Totals]) -> Account {
    let mut account = Account::default();
    let letters = ingested::dead_letters(context).await;
    let letters = letters.map_err(|why| account.unaccounted.push(why.to_string())).unwrap_or_default();
    let part = Box::pin(ingested::account(context, acknowledged, &letters, &mut account));
    let clickhouse = part.await;
    let postgres = Box::pin(relational::account(context, acknowledged, &mut account)).await;
    let elasticsearch = Box::pin(documents::account(context, &mut account)).await;
    let redis = Box::pin(redis::account(context, &mut account)).await;
    let parts = [clickhouse, postgres, elasticsearch, redis];
    account.unaccounted.extend(parts.into_iter().filter_map(Result::err).map(|why| why.to_string()));
    ingested::unreadable(&letters, &mut account);
    account
}
