//! Kafka topics to ClickHouse tables: consume, decode, batch, write, commit.
