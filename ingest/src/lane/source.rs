//! One pipeline, ready to run. Plain data.

use std::sync::Arc;

use crate::batch::limits::Limits;
use crate::decode::Decoder;
use crate::write::destination::Destination;

/// One pipeline, ready to run.
#[derive(Debug)]
pub struct Source {
    /// Where its batches go.
    pub destination: Arc<Destination>,
    /// Decodes its records.
    pub decoder: Decoder,
    /// Identifies the decoder and its configuration.
    pub fingerprint: u64,
    /// When its batches are sealed.
    pub limits: Limits,
}
