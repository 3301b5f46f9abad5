//! What the stack must know about a service: version, programs, nodes and readiness query. This module starts and stops
//! nothing.

use std::time::Duration;

use futures::future::BoxFuture;

use crate::{
    artifact::{Artifact, tools::Tool},
    error::Error,
    layout::Layout,
    node::Node,
    service::Service,
};

/// A service, as the verbs need it.
pub(crate) trait Descriptor: Sync {
    fn version(&self) -> &'static str;

    /// Programs to fetch before the first start.
    fn artifacts(&self) -> Vec<&'static Artifact>;

    /// Tools that must be installed to run the service.
    fn tools(&self) -> &'static [Tool] {
        &[]
    }

    /// Services that must be ready first.
    fn dependencies(&self) -> &'static [Service] {
        &[]
    }

    /// Maximum time until the service is ready.
    fn deadline(&self) -> Duration {
        Duration::from_mins(3)
    }

    fn nodes(&self, layout: &Layout) -> Vec<Node>;

    /// Writes configuration and creates empty data folders; idempotent.
    fn prepare<'a>(&'a self, _layout: &'a Layout) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// Forms a cluster from the running nodes; idempotent and quick once done.
    fn form_cluster<'a>(&'a self, _layout: &'a Layout) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// One readiness query; the error names briefly what is missing.
    fn ready<'a>(&'a self, layout: &'a Layout) -> BoxFuture<'a, Result<(), String>>;
}
