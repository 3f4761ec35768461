//! The options for the agent to call and the message to send, which `call` and `stream` share.

use std::{
    fs,
    io::{self, Read},
};

use agentwire::{Map, Message, RemoteAgent, Value};
use agentwire_codec::{DecodeFault, json};
use clap::Args;

use crate::{
    exit::{CliError, Exit},
    target_args::TargetArgs,
    wait_args::WaitArgs,
};

/// The agent to call and the message to send.
#[derive(Debug, Args)]
pub(crate) struct MessageArgs {
    #[command(flatten)]
    target: TargetArgs,

    /// The content, as plain text, like --text
    #[arg(value_name = "TEXT", conflicts_with_all = ["text", "content"])]
    positional: Option<String>,

    #[command(flatten)]
    content: ContentArgs,

    /// The role of the sender
    #[arg(long, default_value = "user")]
    role: String,

    /// The metadata of the message, as a JSON object
    #[arg(long, value_name = "JSON", value_parser = parse_metadata)]
    metadata: Option<Map>,

    /// Add text to the metadata of the message; can be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse_header)]
    header: Vec<(String, String)>,

    #[command(flatten)]
    wait: WaitArgs,
}

#[derive(Debug, Args)]
struct ContentArgs {
    /// The content, as plain text; - reads standard input, @FILE a file, and @@TEXT stands for a
    /// text that begins with @
    #[arg(long, allow_hyphen_values = true, conflicts_with = "content")]
    text: Option<String>,

    /// The content, as JSON; - reads JSON from standard input and @FILE from a file; integers of
    /// any size and NaN are allowed
    #[arg(long, value_name = "JSON", value_parser = parse_content, allow_hyphen_values = true)]
    content: Option<Json>,
}

/// A JSON value on the command line, or where to read it.
#[derive(Debug, Clone)]
pub(crate) enum Json {
    Stdin,
    File(String),
    Inline(Value),
}

/// A message and the agent to send it to.
pub(crate) struct Prepared {
    pub(crate) remote: RemoteAgent,
    pub(crate) message: Message,
    pub(crate) wait: WaitArgs,
}

impl MessageArgs {
    /// Creates the client and the message. If the content is `-`, reads it from standard input.
    pub(crate) fn prepare(mut self) -> Result<Prepared, CliError> {
        if self.role.is_empty() {
            return Err(CliError::new(Exit::Usage, "--role must not be empty"));
        }
        let has_option = self.content.text.is_some() || self.content.content.is_some();
        let target = if has_option {
            // The options take the place of TEXT.
            self.target.resolve_alone()?
        } else {
            self.target.resolve(&mut self.positional)?
        };
        let remote = target.client()?;
        let content = self.content.read(self.positional)?;
        let mut message = Message::new(self.role, content);
        message.metadata = self.metadata.unwrap_or_default();
        for (key, value) in self.header {
            message.metadata.insert(key, value);
        }
        let wait = self.wait;
        Ok(Prepared {
            remote,
            message,
            wait,
        })
    }
}

impl ContentArgs {
    fn read(self, positional: Option<String>) -> Result<Value, CliError> {
        match (self.text.or(positional), self.content) {
            (_, Some(content)) => content.read("--content"),
            (Some(text), None) => read_text(text).map(Value::from),
            (None, None) => {
                let problem = "no message: give TEXT, --text <TEXT>|--content <JSON>";
                Err(CliError::new(Exit::Usage, problem))
            }
        }
    }
}

impl Json {
    /// Returns the value, reading it if necessary. Errors name the `option`.
    pub(crate) fn read(self, option: &str) -> Result<Value, CliError> {
        let (bytes, source) = match self {
            Self::Inline(value) => return Ok(value),
            Self::Stdin => (read_stdin()?, "on standard input".to_owned()),
            Self::File(path) => (read_file(&path)?, format!("in {path:?}")),
        };
        json::from_slice(&bytes).map_err(|fault| {
            CliError::from_error(Exit::Usage, &fault)
                .context(format_args!("invalid {option} {source}"))
        })
    }
}

/// Returns the text that the argument TEXT or the option `--text` stands for.
fn read_text(text: String) -> Result<String, CliError> {
    let (bytes, source) = if text == "-" {
        (read_stdin()?, "standard input".to_owned())
    } else if let Some(literal) = text.strip_prefix("@@") {
        return Ok(format!("@{literal}"));
    } else if let Some(path) = text.strip_prefix('@') {
        (read_file(path)?, format!("{path:?}"))
    } else {
        return Ok(text);
    };
    String::from_utf8(bytes).map_err(|error| {
        let context = format!("the text in {source} is not UTF-8");
        CliError::from_error(Exit::Usage, &error.utf8_error()).context(context)
    })
}

fn read_file(path: &str) -> Result<Vec<u8>, CliError> {
    fs::read(path).map_err(|error| {
        CliError::from_error(Exit::Usage, &error).context(format_args!("cannot read {path:?}"))
    })
}

fn read_stdin() -> Result<Vec<u8>, CliError> {
    let mut bytes = Vec::new();
    io::stdin().read_to_end(&mut bytes).map_err(|error| {
        CliError::from_error(Exit::Unreachable, &error).context("cannot read standard input")
    })?;
    Ok(bytes)
}

/// Parses a JSON value, `-` or `@FILE`.
pub(crate) fn parse_content(text: &str) -> Result<Json, DecodeFault> {
    match text.strip_prefix('@') {
        Some(path) => Ok(Json::File(path.to_owned())),
        None if text == "-" => Ok(Json::Stdin),
        None => json::from_slice(text.as_bytes()).map(Json::Inline),
    }
}

fn parse_header(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err(format!("expected KEY=VALUE, found {text:?}")),
    }
}

pub(crate) fn parse_metadata(text: &str) -> Result<Map, String> {
    match json::from_slice(text.as_bytes()) {
        Ok(Value::Map(map)) => Ok(map),
        Ok(other) => Err(format!("expected a JSON object, found {}", other.kind())),
        Err(fault) => Err(fault.to_string()),
    }
}

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
            let Ok(Json::Inline(value)) = parse_content(text) else {
                panic!("{text}");
            };
            assert_eq!(value.to_string(), text);
        }
    }
}
