//! The options that all servers share: how long they keep connections, and how long they stop.

use std::time::Duration;

use agentwire::{LocalAgentBuilder, ProxyBuilder, registry::RegistryServerBuilder};
use clap::Args;

use crate::timeout::parse_timeout;

/// The options that all servers share.
#[derive(Debug, Args)]
pub(crate) struct ServerArgs {
    /// Close a connection that has had no request in flight for this long
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = parse_timeout)]
    idle_timeout: Duration,

    /// The maximum time to finish the requests in flight after a signal to stop
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = parse_timeout)]
    grace: Duration,
}

impl ServerArgs {
    /// Applies the options to the builder of a server.
    pub(crate) fn apply<B: ServerBuilder>(&self, builder: B) -> B {
        builder.with_timeouts(self.idle_timeout, self.grace)
    }
}

/// The builder of a server. The builders of the library have the same setters but no common trait.
pub(crate) trait ServerBuilder {
    #[must_use]
    fn with_timeouts(self, idle: Duration, grace: Duration) -> Self;
}

macro_rules! server_builders {
    ($($builder:ty)*) => {$(
        impl ServerBuilder for $builder {
            fn with_timeouts(self, idle: Duration, grace: Duration) -> Self {
                self.idle_timeout(idle).shutdown_timeout(grace)
            }
        }
    )*};
}

server_builders! { LocalAgentBuilder ProxyBuilder RegistryServerBuilder }
