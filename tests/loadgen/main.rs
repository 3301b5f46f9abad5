//! The promises of loadgen, on real stores; a file per promise.

mod account_counts_every_difference;
mod account_is_exact;
mod drive_fails_slow_and_broken_stores;
mod drive_stops_at_once;
mod proxy;
mod world;
