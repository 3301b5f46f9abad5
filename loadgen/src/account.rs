//! The account: produced = landed + dead-lettered, per tenant and kind, to the record, in every store.
//! A plan, what the drive says was acknowledged, and the stores go in; an [`Account`] comes out. Never repairs anything.

mod canonical;
mod ledger;

pub use ledger::{Account, Differences, EXAMPLES, Ledger, NO_TENANT, Origin, Provenance, Recomputed};
