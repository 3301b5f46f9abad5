//! One module per store: how its schema is applied, compared and dropped.
//! Never decides order or locking; [`crate::apply`], [`crate::check`] and [`crate::drop_namespace`] do.

pub(crate) mod clickhouse;
pub(crate) mod elasticsearch;
pub(crate) mod kafka;
pub(crate) mod postgres;
pub(crate) mod redis;
pub(crate) mod s3;
