//! The options that all servers share: timeouts, shares and memory.

use std::time::Duration;

use agentwire::{LocalAgentBuilder, ProxyBuilder, registry::RegistryServerBuilder};
use clap::Args;

use crate::{frame_limit::parse_memory_budget, timeout::parse_timeout};

/// The options that all servers share.
#[derive(Debug, Args)]
pub(crate) struct ServerArgs {
    /// Close a connection that has had no accepted request for this long
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = parse_timeout)]
    idle_timeout: Duration,

    /// The maximum time to finish the requests in flight after a signal to stop
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = parse_timeout)]
    grace: Duration,

    /// The memory that all requests and answers may use together, such as 512MiB
    #[arg(long, value_name = "SIZE", default_value = "256MiB", value_parser = parse_memory_budget)]
    memory_budget: usize,

    /// The maximum number of open connections of one peer: a user, an IPv4 address or an IPv6
    /// network [default: all for this user and for loopback, a quarter of --max-connections
    /// otherwise]
    #[arg(long, value_name = "N")]
    max_connections_per_peer: Option<usize>,
}

impl ServerArgs {
    /// Applies the options to the builder of a server.
    pub(crate) fn apply<B: ServerBuilder>(&self, builder: B) -> B {
        builder.with_settings(self)
    }
}

/// The builder of a server. The builders of the library have the same setters but no common trait.
pub(crate) trait ServerBuilder {
    #[must_use]
    fn with_settings(self, args: &ServerArgs) -> Self;
}

macro_rules! server_builders {
    ($($builder:ty)*) => {$(
        impl ServerBuilder for $builder {
            fn with_settings(self, args: &ServerArgs) -> Self {
                let builder = self
                    .idle_timeout(args.idle_timeout)
                    .shutdown_timeout(args.grace)
                    .memory_budget(args.memory_budget);
                match args.max_connections_per_peer {
                    Some(connections) => builder.max_connections_per_peer(connections),
                    None => builder,
                }
            }
        }
    )*};
}

server_builders! { LocalAgentBuilder ProxyBuilder RegistryServerBuilder }
