//! The options for the agent to call and the message to send, which `call` and `stream` share.

use std::{
    fs,
    io::{self, Read},
    time::Duration,
};

use agentwire::{
    Endpoint, FrameLimits, Map, Message, RemoteAgent, RemoteAgentBuilder, RetryPolicy, Value,
};
use agentwire_codec::{DecodeFault, json};
use clap::Args;

use crate::{
    codec::CodecArg,
    endpoint_args::parse_connect_endpoint,
    exit::{CliError, Exit},
    frame_limit::parse_frame_limit,
    registry_url::{RegistryUrl, parse_registry_url},
    timeout::parse_timeout,
};

/// The agent to call and the message to send.
#[derive(Debug, Args)]
pub(crate) struct MessageArgs {
    /// The agent to call: unix:///path/to/socket or tcp://host:port
    #[arg(value_parser = parse_connect_endpoint, required_unless_present = "registry")]
    endpoint: Option<Endpoint>,

    /// Find the agent --name in this registry and call one of its instances, instead of ENDPOINT
    #[arg(long, value_name = "URL", value_parser = parse_registry_url,
          requires = "name", conflicts_with = "endpoint")]
    registry: Option<RegistryUrl>,

    /// The name of the agent; most servers with a single agent accept any name
    #[arg(long)]
    name: Option<String>,

    /// The role of the sender
    #[arg(long, default_value = "user")]
    role: String,

    #[command(flatten)]
    content: ContentArgs,

    /// The metadata of the message, as a JSON object
    #[arg(long, value_name = "JSON", value_parser = parse_metadata)]
    metadata: Option<Map>,

    /// The encoding of the request
    #[arg(long, default_value = "json")]
    codec: CodecArg,

    /// The maximum time to wait for a reply, or for each chunk, such as 500ms or 1m30s
    #[arg(long, value_name = "DURATION", default_value = "30s",
          value_parser = parse_timeout)]
    timeout: Duration,

    /// The maximum size of a frame to send and to accept, such as 16MiB
    #[arg(long, value_name = "SIZE", default_value = "10MiB", value_parser = parse_frame_limit)]
    frame_limit: FrameLimits,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct ContentArgs {
    /// The content, as plain text; - reads standard input, @FILE a file, and @@TEXT stands for a
    /// text that begins with @
    #[arg(long, allow_hyphen_values = true)]
    text: Option<String>,

    /// The content, as JSON, or - to read JSON from standard input; integers of any size and NaN
    /// are allowed
    #[arg(long, value_name = "JSON", value_parser = parse_content, allow_hyphen_values = true)]
    content: Option<Content>,
}

#[derive(Debug, Clone)]
enum Content {
    Stdin,
    Inline(Value),
}

impl MessageArgs {
    /// Creates the client and the message. If the content is `-`, reads it from standard input.
    pub(crate) fn prepare(self) -> Result<(RemoteAgent, Message), CliError> {
        if self.role.is_empty() {
            return Err(CliError::new(Exit::Usage, "--role must not be empty"));
        }
        let remote = self.client()?;
        let mut message = Message::new(self.role, self.content.read()?);
        message.metadata = self.metadata.unwrap_or_default();
        Ok((remote, message))
    }

    fn client(&self) -> Result<RemoteAgent, CliError> {
        let remote = match (&self.endpoint, &self.registry, &self.name) {
            (None, Some(registry), Some(name)) => {
                // Use at most half of the timeout, so that a failed lookup is reported before the
                // call times out.
                let registry = registry.open((self.timeout / 2).min(REGISTRY_TIMEOUT))?;
                self.configure(RemoteAgent::discover(registry, name))
                    .build()
            }
            (Some(endpoint), None, name) => {
                let name = name.as_deref().unwrap_or_default();
                self.configure(RemoteAgent::builder(endpoint).name(name))
                    .build()
            }
            // clap rejects all other combinations.
            _ => {
                let problem = "either ENDPOINT or --registry with --name is required";
                return Err(CliError::new(Exit::Usage, problem));
            }
        };
        Ok(remote?)
    }

    fn configure<D>(&self, builder: RemoteAgentBuilder<D>) -> RemoteAgentBuilder<D> {
        builder
            // Do not retry, so that the user of the command sees the first failure immediately.
            .retry(RetryPolicy::never())
            .format(self.codec.into())
            .timeout(self.timeout)
            .frame_limits(self.frame_limit)
    }
}

impl ContentArgs {
    fn read(self) -> Result<Value, CliError> {
        match (self.text, self.content) {
            (_, Some(Content::Inline(content))) => Ok(content),
            (_, Some(Content::Stdin)) => parse_stdin(),
            // clap requires exactly one of the two options.
            (text, None) => read_text(text.unwrap_or_default()).map(Value::from),
        }
    }
}

/// Returns the text that the option `--text` stands for.
fn read_text(text: String) -> Result<String, CliError> {
    let (bytes, source) = if text == "-" {
        (read_stdin()?, "standard input".to_owned())
    } else if let Some(literal) = text.strip_prefix("@@") {
        return Ok(format!("@{literal}"));
    } else if let Some(path) = text.strip_prefix('@') {
        let bytes = fs::read(path).map_err(|error| {
            CliError::from_error(Exit::Usage, &error).context(format!("cannot read {path:?}"))
        })?;
        (bytes, format!("{path:?}"))
    } else {
        return Ok(text);
    };
    String::from_utf8(bytes).map_err(|error| {
        let context = format!("the --text in {source} is not UTF-8");
        CliError::from_error(Exit::Usage, &error.utf8_error()).context(context)
    })
}

fn parse_stdin() -> Result<Value, CliError> {
    json::from_slice(&read_stdin()?).map_err(|fault| {
        CliError::from_error(Exit::Usage, &fault).context("invalid --content on standard input")
    })
}

fn read_stdin() -> Result<Vec<u8>, CliError> {
    let mut bytes = Vec::new();
    io::stdin().read_to_end(&mut bytes).map_err(|error| {
        CliError::from_error(Exit::Unreachable, &error).context("cannot read standard input")
    })?;
    Ok(bytes)
}

fn parse_content(text: &str) -> Result<Content, DecodeFault> {
    match text {
        "-" => Ok(Content::Stdin),
        _ => json::from_slice(text.as_bytes()).map(Content::Inline),
    }
}

pub(crate) fn parse_metadata(text: &str) -> Result<Map, String> {
    match json::from_slice(text.as_bytes()) {
        Ok(Value::Map(map)) => Ok(map),
        Ok(other) => Err(format!("expected a JSON object, found {}", other.kind())),
        Err(fault) => Err(fault.to_string()),
    }
}

/// The maximum timeout of registry lookups. A registry answers from memory, so a slower registry is
/// considered unreachable.
const REGISTRY_TIMEOUT: Duration = Duration::from_secs(3);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_must_be_an_object() {
        assert_eq!(parse_metadata("{}"), Ok(Map::new()));
        for text in ["", "[]", "null", "{", "1"] {
            assert!(parse_metadata(text).is_err(), "{text}");
        }
    }

    #[test]
    fn content_keeps_numbers_that_most_json_parsers_lose() {
        for text in ["NaN", "-Infinity", "1180591620717411303424", "-0.0", "1.0"] {
            let Ok(Content::Inline(value)) = parse_content(text) else {
                panic!("{text}");
            };
            assert_eq!(value.to_string(), text);
        }
    }
}
