use std::{
    io::{self, Read},
    time::Duration,
};

use agentwire::{Endpoint, Map, Message, RemoteAgent, RemoteAgentBuilder, RetryPolicy, Value};
use agentwire_codec::{DecodeFault, json};
use clap::Args;

use crate::{
    codec::CodecArg,
    exit::{Exit, Failure},
    registry_url::{RegistryUrl, parse_registry_url},
    target::parse_target_endpoint,
    timeout::parse_timeout,
};

/// Whom to call, and with what: the options that `call` and `stream` share.
#[derive(Debug, Args)]
pub(crate) struct MessageArgs {
    /// Where the agent is: unix:///path/to/socket or tcp://host:port
    #[arg(value_parser = parse_target_endpoint, required_unless_present = "registry")]
    endpoint: Option<Endpoint>,

    /// Where a registry is, in place of ENDPOINT: an instance of the agent called --name is found there
    #[arg(long, value_name = "URL", value_parser = parse_registry_url,
          requires = "name", conflicts_with = "endpoint")]
    registry: Option<RegistryUrl>,

    /// The name of the agent that is meant; a server with one agent answers any
    #[arg(long)]
    name: Option<String>,

    /// Who speaks in the message
    #[arg(long, default_value = "user")]
    role: String,

    #[command(flatten)]
    content: ContentArgs,

    /// What to say about the message, a JSON object
    #[arg(long, value_name = "JSON", value_parser = parse_metadata)]
    metadata: Option<Map>,

    /// How to write to the agent
    #[arg(long, default_value = "json")]
    codec: CodecArg,

    /// How long to wait for an answer, or from chunk to chunk, such as 500ms or 1m30s
    #[arg(long, value_name = "DURATION", default_value = "30s",
          value_parser = parse_timeout)]
    timeout: Duration,
}

/// A registry answers from memory: one that takes longer is not there.
const REGISTRY_TIMEOUT: Duration = Duration::from_secs(3);

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct ContentArgs {
    /// The content, as text
    #[arg(long, allow_hyphen_values = true)]
    text: Option<String>,

    /// The content, as JSON, with integers of any size and NaN; `-` reads it from standard input
    #[arg(long, value_name = "JSON", value_parser = parse_content, allow_hyphen_values = true)]
    content: Option<Content>,
}

#[derive(Debug, Clone)]
enum Content {
    Stdin,
    Given(Value),
}

impl MessageArgs {
    /// The agent and the message that the options describe. Reads standard input if they say so.
    pub(crate) fn prepare(self) -> Result<(RemoteAgent, Message), Failure> {
        if self.role.is_empty() {
            return Err(Failure::new(Exit::Usage, "--role must not be empty"));
        }
        let remote = self
            .whom()?
            // People want to know at once.
            .retry(RetryPolicy::never())
            .format(self.codec.into())
            .timeout(self.timeout)
            .build()?;

        let mut message = Message::new(self.role, self.content.read()?);
        message.metadata = self.metadata.unwrap_or_default();
        Ok((remote, message))
    }

    fn whom(&self) -> Result<RemoteAgentBuilder, Failure> {
        match (&self.endpoint, &self.registry, &self.name) {
            (None, Some(registry), Some(name)) => {
                // If it does not answer there must be time left to say so.
                let registry = registry.open((self.timeout / 2).min(REGISTRY_TIMEOUT))?;
                Ok(RemoteAgent::discover(registry, name))
            }
            (Some(endpoint), None, Some(name)) => Ok(RemoteAgent::builder(endpoint).name(name)),
            (Some(endpoint), None, None) => Ok(RemoteAgent::builder(endpoint)),
            // clap lets nothing else pass.
            _ => Err(Failure::new(
                Exit::Usage,
                "ENDPOINT is needed, or --registry with --name",
            )),
        }
    }
}

impl ContentArgs {
    fn read(self) -> Result<Value, Failure> {
        match (self.text, self.content) {
            (_, Some(Content::Given(content))) => Ok(content),
            (_, Some(Content::Stdin)) => read_stdin(),
            // clap sees to it that one of the two is there.
            (text, None) => Ok(text.unwrap_or_default().into()),
        }
    }
}

fn read_stdin() -> Result<Value, Failure> {
    let mut text = Vec::new();
    io::stdin().read_to_end(&mut text).map_err(|error| {
        Failure::from_error(Exit::Unreachable, &error).while_doing("cannot read standard input")
    })?;
    json::from_slice(&text).map_err(|fault| {
        Failure::from_error(Exit::Usage, &fault).while_doing("--content from standard input")
    })
}

fn parse_content(text: &str) -> Result<Content, DecodeFault> {
    match text {
        "-" => Ok(Content::Stdin),
        _ => json::from_slice(text.as_bytes()).map(Content::Given),
    }
}

pub(crate) fn parse_metadata(text: &str) -> Result<Map, String> {
    match json::from_slice(text.as_bytes()) {
        Ok(Value::Map(map)) => Ok(map),
        Ok(other) => Err(format!("a JSON object is needed, not {}", other.kind())),
        Err(fault) => Err(fault.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_object_is_metadata() {
        assert_eq!(parse_metadata("{}"), Ok(Map::new()));
        for text in ["", "[]", "null", "{", "1"] {
            assert!(parse_metadata(text).is_err(), "{text}");
        }
    }

    #[test]
    fn content_keeps_what_json_parsers_usually_lose() {
        for text in ["NaN", "-Infinity", "1180591620717411303424", "-0.0", "1.0"] {
            let Ok(Content::Given(value)) = parse_content(text) else {
                panic!("{text}");
            };
            assert_eq!(value.to_string(), text);
        }
    }
}
