//! What the stores and topics look like.
//!
//! # Layout
//! - [`records`]: the record types and their wire formats
//! - [`stores`]: where the stores are and how to sign in
//! - [`names`]: the platform's names, and the same under a namespace
//! - [`secret`]: a credential that never shows itself
//! - [`connect`]: one way to reach each store

pub mod connect;
pub mod names;
pub mod records;
pub mod secret;
pub mod stores;
