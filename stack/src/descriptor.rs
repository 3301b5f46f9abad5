//! What the stack has to know about a service: version, programs, nodes and readiness query. Starts and stops nothing.

use std::time::Duration;

use futures::future::BoxFuture;

use crate::{
    artifact::{Artifact, tools::Tool},
    error::Error,
    layout::Layout,
    node::Node,
    service::Service,
};

/// What the verbs need to know about a store.
pub(crate) trait Descriptor: Sync {
    fn version(&self) -> &'static str;

    /// Programs to fetch before the first start.
    fn artifacts(&self) -> Vec<&'static Artifact>;

    /// What must be installed on the machine to run it.
    fn tools(&self) -> &'static [Tool] {
        &[]
    }

    /// Services that must be ready first.
    fn dependencies(&self) -> &'static [Service] {
        &[]
    }

    /// How long it may take to answer its readiness query.
    fn deadline(&self) -> Duration {
        Duration::from_mins(3)
    }

    fn nodes(&self, layout: &Layout) -> Vec<Node>;

    /// Writes configuration and creates empty data folders; may be repeated.
    fn prepare<'a>(&'a self, _layout: &'a Layout) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// Puts a store together that is more than its processes; done in a moment when it was done before.
    fn assemble<'a>(&'a self, _layout: &'a Layout) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// One readiness query; `Err` says in a few words what is not there yet.
    fn ready<'a>(&'a self, layout: &'a Layout) -> BoxFuture<'a, Result<(), String>>;
}
