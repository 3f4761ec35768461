//! The options that all servers share: timeouts, shares and memory.

use std::{sync::Arc, time::Duration};

use agentwire::{
    Endpoint, LocalAgentBuilder, ProxyBuilder, TlsServer, auth::Security, http::HttpOptions,
    observer::Observer, registry::RegistryServerBuilder, transport::Listener,
};
use clap::Args;

use crate::{
    admin::{Admin, AdminUrl, parse_admin_url},
    auth_args::SecurityArgs,
    doors::{Doors, SocketArgs},
    exit::CliError,
    frame_limit::parse_memory_budget,
    logging,
    socket_file::SocketFiles,
    timeout::parse_timeout,
    tls_args::TlsServerArgs,
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

    /// Serve metrics, health checks and a page that shows them at this address, such as
    /// http://127.0.0.1:9090; with port 0, the system chooses a free port
    ///
    /// The server prints "admin on http://HOST:PORT" before it listens. The paths are /metrics for
    /// Prometheus, /health, /ready, /live, /connections, /stats, and / for people. With --auth,
    /// /metrics, /connections and /stats need the permission `metrics`, with a bearer token or with
    /// the token as the password of any user.
    #[arg(long, value_name = "URL", value_parser = parse_admin_url)]
    admin: Option<AdminUrl>,

    /// Serve POST /invoke, POST /invoke/stream and GET /auth over HTTP, too, with bare messages
    #[arg(long)]
    invoke_routes: bool,

    /// Let web pages of this origin, such as https://console.example, call the server over HTTP;
    /// can be repeated
    #[arg(long, value_name = "ORIGIN")]
    allow_origin: Vec<String>,

    #[command(flatten)]
    sockets: SocketArgs,

    #[command(flatten)]
    security: SecurityArgs,

    #[command(flatten)]
    tls: TlsServerArgs,
}

impl ServerArgs {
    /// Returns the administrative endpoint, if there is one.
    pub(crate) fn admin(&self) -> Option<Admin> {
        self.admin.clone().map(Admin::new)
    }

    fn http_options(&self) -> HttpOptions {
        let options = HttpOptions::new().invoke_routes(self.invoke_routes);
        let origins = self.allow_origin.iter();
        origins.fold(options, HttpOptions::allowed_origin)
    }

    /// Returns whether the server listens on a socket that it has not bound.
    pub(crate) fn has_sockets(&self) -> bool {
        self.sockets.has_sockets()
    }

    /// Applies the options to the builder of a server that listens on `endpoints` and on the passed
    /// sockets. Add the doors to the builder inside the runtime.
    pub(crate) fn apply<B: ServerBuilder>(
        &self,
        builder: B,
        endpoints: Vec<Endpoint>,
        admin: Option<&Admin>,
    ) -> Result<(B, Doors), CliError> {
        // With a certificate, a passed socket is encrypted, too.
        let is_plain = !endpoints.iter().any(Endpoint::is_secure);
        if !(is_plain && self.has_sockets()) {
            self.tls.check(&endpoints)?;
        }
        let tls = self.tls.server()?;
        let doors = self.sockets.open(endpoints, tls.clone())?;
        let mut builder = builder.with_settings(self);
        for observer in admin.into_iter().flat_map(Admin::observers) {
            builder = builder.with_observer(observer);
        }
        let builder = match self.security.open(B::IS_REGISTRY)? {
            Some(security) => {
                if let (Some(admin), true) = (admin, self.security.authenticates()) {
                    admin.protect(security.clone());
                }
                builder.with_security(security)
            }
            None => builder,
        };
        let builder = match tls {
            Some(tls) => builder.with_tls(tls),
            None => builder,
        };
        Ok((builder, doors))
    }
}

/// The builder of a server. The builders of the library have the same setters but no common trait.
pub(crate) trait ServerBuilder {
    const IS_REGISTRY: bool;

    #[must_use]
    fn with_settings(self, args: &ServerArgs) -> Self;

    #[must_use]
    fn with_tls(self, tls: TlsServer) -> Self;

    #[must_use]
    fn with_observer(self, observer: Arc<dyn Observer>) -> Self;

    #[must_use]
    fn with_security(self, security: Security) -> Self;

    #[must_use]
    fn with_endpoint(self, endpoint: Endpoint) -> Self;

    #[must_use]
    fn with_socket_files(self, files: SocketFiles) -> Self;

    #[must_use]
    fn with_listener(self, listener: Listener) -> Self;
}

macro_rules! server_builders {
    ($($builder:ty, $is_registry:literal;)*) => {$(
        impl ServerBuilder for $builder {
            const IS_REGISTRY: bool = $is_registry;

            fn with_settings(self, args: &ServerArgs) -> Self {
                let builder = self
                    .idle_timeout(args.idle_timeout)
                    .shutdown_timeout(args.grace)
                    .memory_budget(args.memory_budget)
                    .http_options(args.http_options());
                let builder = match args.max_connections_per_peer {
                    Some(connections) => builder.max_connections_per_peer(connections),
                    None => builder,
                };
                match logging::requests::of_server() {
                    Some(observer) => builder.observer(observer),
                    None => builder,
                }
            }

            fn with_tls(self, tls: TlsServer) -> Self {
                self.tls(tls)
            }

            fn with_observer(self, observer: Arc<dyn Observer>) -> Self {
                self.observer(observer)
            }

            fn with_security(self, security: Security) -> Self {
                self.security(security)
            }

            fn with_socket_files(self, files: SocketFiles) -> Self {
                let builder = match files.mode {
                    Some(mode) => self.socket_mode(mode),
                    None => self,
                };
                match files.group {
                    Some(group) => builder.socket_group(group),
                    None => builder,
                }
            }

            fn with_endpoint(self, endpoint: Endpoint) -> Self {
                self.endpoint(endpoint)
            }

            fn with_listener(self, listener: Listener) -> Self {
                self.listener(listener)
            }
        }
    )*};
}

server_builders! {
    LocalAgentBuilder, false;
    ProxyBuilder, false;
    RegistryServerBuilder, true;
}
