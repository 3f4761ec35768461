//! The options that all servers share: timeouts, shares and memory.

use std::time::Duration;

use agentwire::{
    Endpoint, LocalAgentBuilder, ProxyBuilder, TlsServer, auth::Security,
    registry::RegistryServerBuilder,
};
use clap::Args;

use crate::{
    auth_args::SecurityArgs, exit::CliError, frame_limit::parse_memory_budget,
    timeout::parse_timeout, tls_args::TlsServerArgs,
};

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

    #[command(flatten)]
    security: SecurityArgs,

    #[command(flatten)]
    tls: TlsServerArgs,
}

impl ServerArgs {
    /// Applies the options to the builder of a server that listens on `endpoints`.
    pub(crate) fn apply<B: ServerBuilder>(
        &self,
        builder: B,
        endpoints: &[Endpoint],
    ) -> Result<B, CliError> {
        self.tls.check(endpoints)?;
        let builder = builder.with_settings(self);
        let builder = match self.security.open()? {
            Some(security) => builder.with_security(security),
            None => builder,
        };
        Ok(match self.tls.server()? {
            Some(tls) => builder.with_tls(tls),
            None => builder,
        })
    }
}

/// The builder of a server. The builders of the library have the same setters but no common trait.
pub(crate) trait ServerBuilder {
    #[must_use]
    fn with_settings(self, args: &ServerArgs) -> Self;

    #[must_use]
    fn with_tls(self, tls: TlsServer) -> Self;

    #[must_use]
    fn with_security(self, security: Security) -> Self;
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

            fn with_tls(self, tls: TlsServer) -> Self {
                self.tls(tls)
            }

            fn with_security(self, security: Security) -> Self {
                self.security(security)
            }
        }
    )*};
}

server_builders! { LocalAgentBuilder ProxyBuilder RegistryServerBuilder }
