//! The stores and topics of the platform: their schemas, the records in them, and how to connect. It generates no data
//! and ingests none.
//!
//! # Layout, bottom up
//! A module imports only from those above it.
//!
//! - [`mod@store`]: the stores by name; [`names`]: the platform's names, and the same names under a namespace
//! - [`secret`]: a credential that is never printed; [`stores`]: addresses and logins of the stores
//! - [`records`]: the record types and their wire formats; [`keyspace`]: the Redis key spaces with their TTLs
//! - [`concurrency`]: blocking work off the async runtime; [`sql`]: quoting; [`tenant`]: acting as one tenant under
//!   row-level security; [`rebootstrap`]: Kafka clients that have lost every broker
//! - [`connect`]: the one way to connect to each store; [`elastic`]: a client for Elasticsearch
//! - [`mod@versions`]: the version of each store, asked from the store
//! - `error`: why an operation on the schemas failed ([`SchemaError`])
//! - `lock`: one change of a namespace's schemas at a time
//! - `schema`: one module per store, used by the operations below; they return [`AppliedObject`] and [`Drift`]
//! - [`apply`], [`check`]: bring the stores in line with the files, or compare them
//! - [`runs`]: a namespace for runs, marked in every store; a run drops only objects with the mark
//! - [`mod@search`]: the names of the Redis search indexes on the masters of the cache
//! - [`reserve()`]: one run at a time in a namespace
//! - [`drop_namespace()`]: removes a namespace with all of its contents; for tests and benches only
//!
//! The schema files are next to `src`: `postgres/`, `clickhouse/`, `elasticsearch/`, `kafka/`, `redis/`, `s3/`.

pub mod apply;
pub mod check;
pub mod concurrency;
pub mod connect;
pub mod elastic;
pub mod keyspace;
pub mod names;
pub mod rebootstrap;
pub mod records;
pub mod runs;
pub mod search;
pub mod secret;
pub mod sql;
pub mod store;
pub mod stores;
pub mod tenant;
pub mod versions;

mod drop_namespace;
mod error;
mod lock;
mod reserve;
mod schema;

pub use drop_namespace::drop_namespace;
pub use error::{ForeignObjects, SchemaError};
pub use reserve::{Reservation, ReserveError, reserve};
pub use schema::{AppliedObject, Drift, Outcome};
pub use store::Store;
