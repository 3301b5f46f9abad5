//! Kafka topics to ClickHouse tables: consume, decode, batch, write, commit.
pub mod config;
pub mod decode;
