//! The target of a proxy: [`ProxyTarget`].

use std::time::Duration;

use crate::{
    Error,
    client::{Discovered, FixedEndpoint, Forwarder, RemoteAgentBuilder},
};

/// The server to which a [`Proxy`](super::Proxy) forwards requests: one endpoint, or the instances
/// of an agent that a registry lists.
///
/// [`Proxy::builder`](super::Proxy::builder) converts both kinds of [`RemoteAgentBuilder`] into
/// this type.
#[derive(Debug)]
pub struct ProxyTarget(Target);

#[derive(Debug)]
enum Target {
    Endpoint(RemoteAgentBuilder<FixedEndpoint>),
    Instances(RemoteAgentBuilder<Discovered>),
}

impl ProxyTarget {
    /// Reduces the timeout of the client to `timeout` if it is longer.
    pub(super) fn timeout_at_most(self, timeout: Duration) -> Self {
        Self(match self.0 {
            Target::Endpoint(builder) => Target::Endpoint(builder.timeout_at_most(timeout)),
            Target::Instances(builder) => Target::Instances(builder.timeout_at_most(timeout)),
        })
    }

    pub(super) fn forwarder(self) -> Result<Forwarder, Error> {
        match self.0 {
            Target::Endpoint(builder) => Forwarder::new(builder),
            Target::Instances(builder) => Forwarder::discover(builder),
        }
    }
}

impl From<RemoteAgentBuilder<FixedEndpoint>> for ProxyTarget {
    fn from(builder: RemoteAgentBuilder<FixedEndpoint>) -> Self {
        Self(Target::Endpoint(builder))
    }
}

impl From<RemoteAgentBuilder<Discovered>> for ProxyTarget {
    fn from(builder: RemoteAgentBuilder<Discovered>) -> Self {
        Self(Target::Instances(builder))
    }
}
