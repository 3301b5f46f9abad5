//! One pipeline, ready to run. It holds values and does no work.

use std::sync::Arc;

use crate::batch::limits::Limits;
use crate::decode::Decoder;
use crate::write::destination::Destination;

/// One pipeline, ready to run.
#[derive(Debug)]
pub struct ReadyPipeline {
    /// Destination of the pipeline's batches.
    pub destination: Arc<Destination>,
    /// Decodes the pipeline's records.
    pub decoder: Decoder,
    /// Identifies the decoder and its configuration.
    pub fingerprint: u64,
    /// Limits at which batches are sealed.
    pub limits: Limits,
}
