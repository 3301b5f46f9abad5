//! What the stores and topics look like.
//!
//! # Layout
//! - [`records`]: the record types and their wire formats
//! - [`stores`]: where the stores are and how to sign in
//! - [`names`]: the platform's names, and the same under a namespace
//! - [`secret`]: a credential that never shows itself
//! - [`connect`] and [`rebootstrap`]: one way to reach each store, and to find Kafka again
//! - [`elastic`]: Elasticsearch over HTTP, which believes only Elasticsearch's own answers
//! - [`keyspace`]: the Redis keys with their TTLs
//! - [`apply`], [`check`]: bring the stores to what the files say, compare
//! - [`runs`]: a namespace of a run, marked in every store; only what carries the mark is dropped
//! - [`drop_namespace()`]: removes a namespace whatever is in it; for tests and benches, no verb calls it
//! - [`reserve()`]: one run at a time in a namespace
//!
//! The files themselves lie beside `src`: `postgres/`, `clickhouse/`, `elasticsearch/`, `kafka/`, `redis/`, `s3/`.

pub mod apply;
pub mod check;
pub mod connect;
pub mod elastic;
pub mod keyspace;
pub mod names;
pub mod rebootstrap;
pub mod records;
pub mod runs;
pub mod secret;
pub mod stores;

mod drop_namespace;
mod error;
mod facts;
mod lock;
mod marker;
mod migration;
mod reserve;
mod schema;
mod store;

pub use drop_namespace::drop_namespace;
pub use error::SchemaError;
pub use reserve::{Reservation, ReserveError, reserve};
pub use store::Store;
