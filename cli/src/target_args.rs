//! The options for the agent to call, which all calling commands share.

use std::time::Duration;

use agentwire::{
    Endpoint, FrameLimits, RemoteAgent, RemoteAgentBuilder, RetryPolicy, registry::SharedRegistry,
};
use clap::{
    ArgMatches, Args, Command, FromArgMatches,
    parser::ValueSource::{self, CommandLine},
};

use crate::{
    auth_args::TokenArgs,
    codec::{CodecArg, PeerArg},
    endpoint_args::parse_connect_endpoint,
    exit::{CliError, Exit},
    frame_limit::parse_frame_limit,
    logging, otlp,
    registry_url::{Opening, RegistryUrl, parse_registry_url},
    timeout::parse_timeout,
    tls_args::TlsClientArgs,
};

/// The agent to call, and how to call it.
///
/// The arguments select either one endpoint or the instances that a registry knows. The command
/// line has precedence over the environment, and in the environment the endpoint has precedence
/// over the registry. [`resolve`](Self::resolve) makes the selection.
#[derive(Debug)]
pub(crate) struct TargetArgs {
    flags: Flags,
    endpoint_source: Option<ValueSource>,
    registry_source: Option<ValueSource>,
}

#[derive(Debug, Args)]
struct Flags {
    /// The agent to call, such as unix:///path/to/socket or tcp://host:port; leave ENDPOINT out if
    /// --registry finds the agent
    // The endpoint and the registry are parsed in `resolve`, because the first positional argument
    // need not be an endpoint, and an unused variable of the environment must not fail the command.
    #[arg(value_name = "ENDPOINT", env = ENDPOINT_VARIABLE)]
    endpoint: Option<String>,

    /// Find the agent --name in this registry and call one of its instances, instead of ENDPOINT
    // The URL of a Redis server may contain a password.
    #[arg(long, value_name = "URL", env = REGISTRY_VARIABLE, hide_env_values = true)]
    registry: Option<String>,

    /// The name of the agent; most servers with a single agent accept any name
    #[arg(long)]
    name: Option<String>,

    /// The encoding of the request
    #[arg(long, default_value = "json")]
    codec: CodecArg,

    /// The kind of the server; go refuses messages that would end the process of a Go server
    #[arg(long, value_name = "KIND", default_value = "any")]
    peer: PeerArg,

    /// The maximum time to wait for a reply, or for each chunk, such as 500ms or 1m30s
    #[arg(long, value_name = "DURATION", default_value = "30s", env = "AGENTWIRE_TIMEOUT",
          value_parser = parse_timeout)]
    timeout: Duration,

    /// The maximum size of a frame to send and to accept, such as 16MiB
    #[arg(long, value_name = "SIZE", default_value = "10MiB", value_parser = parse_frame_limit)]
    frame_limit: FrameLimits,

    #[command(flatten)]
    token: TokenArgs,

    #[command(flatten)]
    tls: TlsClientArgs,
}

impl TargetArgs {
    /// Selects the agent to call.
    ///
    /// `operand` is the positional argument after ENDPOINT. If ENDPOINT was left out, clap has
    /// stored the operand as the endpoint, and this method moves the operand to its place. ENDPOINT
    /// can be left out if the registry is given, or if the environment holds a default and the
    /// argument is not an endpoint.
    pub(crate) fn resolve(self, operand: &mut Option<String>) -> Result<Target, CliError> {
        let default = || std::env::var(ENDPOINT_VARIABLE).ok();
        self.resolve_with(operand, default)
    }

    /// Selects the agent to call for a command without another positional argument.
    pub(crate) fn resolve_alone(self) -> Result<Target, CliError> {
        // A stand-in for the operand makes sure that ENDPOINT is not used as the operand.
        self.resolve(&mut Some(String::new()))
    }

    fn resolve_with(
        mut self,
        operand: &mut Option<String>,
        default_endpoint: impl FnOnce() -> Option<String>,
    ) -> Result<Target, CliError> {
        let mut endpoint = self.flags.endpoint.take().filter(|text| !text.is_empty());
        let mut registry = self.flags.registry.take().filter(|text| !text.is_empty());
        let is_given = |source| source == Some(CommandLine);
        let takes_operand = operand.is_none();
        if is_given(self.registry_source) {
            if is_given(self.endpoint_source) {
                if !takes_operand {
                    let problem = "ENDPOINT cannot be used with --registry";
                    return Err(CliError::new(Exit::Usage, problem));
                }
                *operand = endpoint;
            }
            endpoint = None;
        } else if is_given(self.endpoint_source) {
            let is_operand = |text: &str| takes_operand && !text.contains("://");
            if endpoint.as_deref().is_some_and(is_operand) {
                let default = default_endpoint().filter(|text| !text.is_empty());
                let has_default =
                    default.is_some() || registry.is_some() && self.flags.name.is_some();
                if has_default {
                    *operand = std::mem::replace(&mut endpoint, default);
                }
            }
        }
        if endpoint.is_some() {
            registry = None;
        }
        let address = match (endpoint, registry, self.flags.name.take()) {
            (Some(text), _, name) => {
                let endpoint = parse_connect_endpoint(&text).map_err(invalid("ENDPOINT"))?;
                Address::Endpoint(endpoint, name.unwrap_or_default())
            }
            (None, Some(url), Some(name)) => {
                let url = parse_registry_url(&url).map_err(invalid("--registry"))?;
                Address::Registry(url, name)
            }
            (None, Some(_), None) => {
                let problem = "--registry requires the --name of the agent";
                return Err(CliError::new(Exit::Usage, problem));
            }
            (None, None, _) => {
                let problem = "no agent to call: give ENDPOINT, or --registry with --name";
                return Err(CliError::new(Exit::Usage, problem));
            }
        };
        Ok(Target {
            address,
            flags: self.flags,
        })
    }
}

impl Args for TargetArgs {
    fn augment_args(command: Command) -> Command {
        Flags::augment_args(command)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Flags::augment_args_for_update(command)
    }
}

impl FromArgMatches for TargetArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        Ok(Self {
            flags: Flags::from_arg_matches(matches)?,
            endpoint_source: matches.value_source("endpoint"),
            registry_source: matches.value_source("registry"),
        })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// An agent to call.
#[derive(Debug)]
pub(crate) struct Target {
    address: Address,
    flags: Flags,
}

/// Where an agent is found.
#[derive(Debug)]
pub(crate) enum Address {
    /// An endpoint, and the name to ask for there, which may be empty.
    Endpoint(Endpoint, String),
    /// A registry, and the name to look up.
    Registry(RegistryUrl, String),
}

/// The size of the connection pool of a client.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pool {
    pub(crate) connections: usize,
    pub(crate) in_flight: usize,
}

impl Target {
    pub(crate) fn address(&self) -> &Address {
        &self.address
    }

    pub(crate) fn frame_limit(&self) -> FrameLimits {
        self.flags.frame_limit
    }

    /// Creates a client of the registry in which the agent is found. The client does not retry.
    pub(crate) fn open_registry(&self, url: &RegistryUrl) -> Result<SharedRegistry, CliError> {
        let mut opening = self.opening(url);
        opening.retry = RetryPolicy::never();
        opening.open()
    }

    fn opening<'a>(&'a self, url: &'a RegistryUrl) -> Opening<'a> {
        let timeout = self.registry_timeout();
        Opening::new(url, timeout, &self.flags.tls, &self.flags.token)
    }

    /// Returns the maximum time for each answer of the registry.
    pub(crate) fn registry_timeout(&self) -> Duration {
        // Use at most half of the timeout, so that a failed lookup is reported before the call
        // times out.
        (self.flags.timeout / 2).min(REGISTRY_TIMEOUT)
    }

    /// Creates a client, which does not retry, so that the user of the command sees the first
    /// failure immediately.
    pub(crate) fn client(&self) -> Result<RemoteAgent, CliError> {
        self.build(RetryPolicy::never(), None)
    }

    /// Creates a client that retries and has a pool of connections.
    pub(crate) fn pooled_client(&self, pool: Pool) -> Result<RemoteAgent, CliError> {
        self.build(RetryPolicy::default(), Some(pool))
    }

    /// Creates a client for one of several instances of the agent.
    pub(crate) fn client_of(&self, endpoint: &Endpoint) -> Result<RemoteAgent, CliError> {
        let builder = RemoteAgent::builder(endpoint);
        Ok(self
            .configure(builder, RetryPolicy::never(), None)?
            .build()?)
    }

    fn build(&self, retry: RetryPolicy, pool: Option<Pool>) -> Result<RemoteAgent, CliError> {
        Ok(match &self.address {
            Address::Endpoint(endpoint, name) => {
                let builder = RemoteAgent::builder(endpoint).name(name);
                self.configure(builder, retry, pool)?.build()?
            }
            Address::Registry(url, name) => {
                let registry = match pool {
                    None => self.open_registry(url)?,
                    Some(_) => self.opening(url).open()?,
                };
                let builder = RemoteAgent::discover(registry, name);
                self.configure(builder, retry, pool)?.build()?
            }
        })
    }

    /// Applies the options to the builder of a client. All clients of the program are configured
    /// here.
    fn configure<D>(
        &self,
        builder: RemoteAgentBuilder<D>,
        retry: RetryPolicy,
        pool: Option<Pool>,
    ) -> Result<RemoteAgentBuilder<D>, CliError> {
        let mut builder = self.flags.token.apply(builder)?;
        let observer = match &self.address {
            Address::Endpoint(endpoint, _) => logging::requests::of_client(endpoint),
            Address::Registry(..) => logging::requests::of_client("an instance in the registry"),
        };
        if let Some(observer) = observer {
            builder = builder.observer(observer);
        }
        let builder = builder
            .retry(retry)
            .format(self.flags.codec.into())
            .peer(self.flags.peer.into())
            .timeout(self.flags.timeout)
            .send_trace_context(otlp::is_on())
            .frame_limits(self.flags.frame_limit)
            .tls(self.flags.tls.client()?);
        Ok(match pool {
            None => builder,
            Some(pool) => builder
                .max_connections(pool.connections)
                .max_in_flight_per_connection(pool.in_flight),
        })
    }
}

fn invalid(argument: &'static str) -> impl Fn(String) -> CliError {
    move |problem| CliError::new(Exit::Usage, problem).context(argument)
}

/// The maximum timeout of registry lookups. A registry answers from memory, so a slower registry is
/// considered unreachable.
const REGISTRY_TIMEOUT: Duration = Duration::from_secs(3);

const ENDPOINT_VARIABLE: &str = "AGENTWIRE_ENDPOINT";

const REGISTRY_VARIABLE: &str = "AGENTWIRE_REGISTRY";

#[cfg(test)]
mod tests {
    use super::*;

    const EP: &str = "tcp://h:1";
    const URL: &str = "tcp://registry:1";

    /// Resolves the arguments as clap passes them: each is given on the command line, as in
    /// `cli(…)`, or in the environment. Returns the address in short, and the operand.
    fn resolve(
        endpoint: Option<(&str, ValueSource)>,
        registry: Option<(&str, ValueSource)>,
        name: Option<&str>,
        operand: Option<&str>,
        default: Option<&str>,
    ) -> Option<(String, Option<String>)> {
        let owned = |text: &str| text.to_owned();
        let args = TargetArgs {
            flags: Flags {
                endpoint: endpoint.map(|(text, _)| text.to_owned()),
                registry: registry.map(|(text, _)| text.to_owned()),
                name: name.map(owned),
                codec: CodecArg::Json,
                peer: PeerArg::Any,
                timeout: Duration::from_secs(1),
                frame_limit: FrameLimits::default(),
                token: TokenArgs::default(),
                tls: TlsClientArgs::default(),
            },
            endpoint_source: endpoint.map(|(_, source)| source),
            registry_source: registry.map(|(_, source)| source),
        };
        let mut operand = operand.map(owned);
        let target = args
            .resolve_with(&mut operand, || default.map(owned))
            .ok()?;
        let address = match target.address {
            Address::Endpoint(endpoint, name) => format!("{endpoint} {name}"),
            Address::Registry(_, name) => format!("registry {name}"),
        };
        Some((address.trim_end().to_owned(), operand))
    }

    #[test]
    fn the_operand_moves_up_if_the_endpoint_is_left_out() {
        let cli = |text| Some((text, CommandLine));
        let env = |text| Some((text, ValueSource::EnvVariable));
        let found = |address: &str, operand: Option<&str>| {
            Some((address.to_owned(), operand.map(str::to_owned)))
        };
        for (actual, expected) in [
            (
                resolve(cli(EP), None, None, Some("hi"), None),
                found(EP, Some("hi")),
            ),
            (
                resolve(cli(EP), None, Some("n"), None, None),
                found("tcp://h:1 n", None),
            ),
            (
                resolve(cli("hi"), cli(URL), Some("n"), None, None),
                found("registry n", Some("hi")),
            ),
            (
                resolve(cli(EP), cli(URL), Some("n"), Some("hi"), None),
                None,
            ),
            (
                resolve(None, cli(URL), Some("n"), None, None),
                found("registry n", None),
            ),
            (resolve(None, cli(URL), None, None, None), None),
            // The environment.
            (
                resolve(env(EP), None, None, None, Some(EP)),
                found(EP, None),
            ),
            (
                resolve(cli("hi"), None, None, None, Some(EP)),
                found(EP, Some("hi")),
            ),
            (resolve(cli("hi"), None, None, None, None), None),
            (
                resolve(cli("hi"), env(URL), Some("n"), None, None),
                found("registry n", Some("hi")),
            ),
            (
                resolve(None, env(URL), Some("n"), None, None),
                found("registry n", None),
            ),
            (
                resolve(cli(EP), env(URL), None, None, None),
                found(EP, None),
            ),
            (
                resolve(env(EP), env(URL), None, None, Some(EP)),
                found(EP, None),
            ),
            (
                resolve(env(EP), cli(URL), Some("n"), None, Some(EP)),
                found("registry n", None),
            ),
            (resolve(env(""), env(""), None, None, Some("")), None),
        ] {
            assert_eq!(actual, expected);
        }
    }
}
