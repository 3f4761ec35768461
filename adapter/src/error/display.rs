//! Implementations of `Display` and `Debug` for [`Error`].

use std::{error::Error as StdError, fmt};

use agentwire_codec::WireError;
use agentwire_transport::internal::{Chain, Escaped, Untrusted, sources};

use super::Error;

/// `{}` prints the error without its sources. `{:#}` also prints the sources, as `error: source:
/// source`.
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if f.alternate() {
            return Chain(self).fmt(f);
        }
        if let Some(context) = self.context() {
            write!(f, "{context}: ")?;
        }
        self.fmt_without_context(f)
    }
}

impl Error {
    /// Displays the error without the endpoint and the request id, which peers of this process must
    /// not see.
    pub(super) fn without_location(&self) -> impl fmt::Display + '_ {
        WithoutLocation(self)
    }

    fn fmt_without_context(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidEndpoint(_) => f.write_str("invalid endpoint"),
            Self::InvalidName(_) => f.write_str("invalid name"),
            Self::Listen(_) => f.write_str("cannot serve the agent"),
            Self::Register(_) => f.write_str("cannot register the agent"),
            Self::InvalidSetting { setting, problem } => {
                write!(f, "invalid setting {setting}: {problem}")
            }
            Self::Encode { .. } => f.write_str("message cannot be sent"),
            Self::UnreadableByPeer {
                peer, key, found, ..
            } => write!(f, "{peer} cannot read the message: its {key} is {found}"),
            Self::ConnectionFailed { .. } => f.write_str("connection failed"),
            Self::NotRegistered { .. } => f.write_str("no agent of that name is registered"),
            Self::Unreachable { instances, .. } => {
                write!(
                    f,
                    "none of its instances can be reached ({instances} registered)"
                )
            }
            Self::Registry { .. } => f.write_str("registry lookup failed"),
            Self::ClientClosed { .. } => f.write_str("the client is closed"),
            Self::Timeout { timeout, phase, .. } => {
                write!(f, "timed out after {timeout:?} while {phase}")
            }
            Self::ConnectionClosed { sent: true, .. } => {
                f.write_str("connection closed before the answer")
            }
            Self::ConnectionClosed { sent: false, .. } => {
                f.write_str("connection closed before the request was sent")
            }
            Self::InvalidMessage { .. } => f.write_str("server sent an invalid message"),
            Self::UnsupportedVersion { .. } => {
                f.write_str("server uses an unsupported protocol version")
            }
            Self::MalformedPayload { .. } => f.write_str("server sent a malformed payload"),
            Self::AgentNotFound { error, .. } => write_remote(f, "agent not found", error),
            Self::AgentUnavailable { error, .. } => write_remote(f, "agent unavailable", error),
            Self::AgentTimeout { error, .. } => write_remote(f, "agent timed out", error),
            Self::ToolNotFound { error, .. } => write_remote(f, "tool not found", error),
            Self::ToolFailed { error, .. } => write_remote(f, "tool failed", error),
            Self::Unsupported { error, .. } => {
                write_remote(f, "not supported by the server", error)
            }
            Self::Unauthenticated { error, .. }
            | Self::PermissionDenied { error, .. }
            | Self::RateLimited { error, .. } => write!(f, "{error}"),
            Self::RemoteExecution { error, .. } => write!(f, "agent failed: {error}"),
        }
    }
}

/// Writes what happened and the text of the server, which may begin with the same words: servers in
/// Python and Rust say `Tool not found: add`.
fn write_remote(f: &mut fmt::Formatter<'_>, what: &str, error: &WireError) -> fmt::Result {
    let text = &error.message;
    let rest = match text.split_at_checked(what.len()) {
        Some((start, rest)) if start.eq_ignore_ascii_case(what) => rest.strip_prefix(": "),
        _ => None,
    };
    write!(f, "{what}: {}", Untrusted(rest.unwrap_or(text)))
}

/// Displays an error without the endpoint and the request id.
struct WithoutLocation<'a>(&'a Error);

impl fmt::Display for WithoutLocation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(context) = self.0.context() {
            context.fmt_names(f)?;
            f.write_str(": ")?;
        }
        self.0.fmt_without_context(f)
    }
}

/// `{:?}` prints the error, followed by each of its sources on a separate line. `unwrap` prints the
/// `{:?}` format, and so does a `main` function that returns an error. `{:#?}` prints the error as
/// a struct.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if f.alternate() {
            return f
                .debug_struct("Error")
                .field("code", &self.code())
                .field("text", &self.to_string())
                .field("context", &self.context())
                .field("remote", &self.remote())
                .field("source", &self.source())
                .finish();
        }
        write!(f, "{self}")?;
        write_causes(f, self.source())
    }
}

/// Writes the source of an error, followed by that source's own chain of sources.
pub(crate) fn write_causes(
    f: &mut fmt::Formatter<'_>,
    source: Option<&(dyn StdError + 'static)>,
) -> fmt::Result {
    let Some(source) = source else {
        return Ok(());
    };
    write!(f, "\n\nCaused by:\n    {}", Escaped(source))?;
    for source in sources(source) {
        write!(f, "\n    {}", Escaped(source))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use agentwire_codec::{ErrorCode, RequestId};
    use agentwire_transport::Endpoint;

    use super::{super::CallContext, *};

    fn disconnected() -> Error {
        let context = CallContext {
            agent: "echo".to_owned(),
            tool: None,
            endpoint: Some(Endpoint::memory("a").unwrap()),
            request_id: Some(RequestId::from("7")),
        };
        Error::from_write(context, std::io::Error::other("cable unplugged"))
    }

    #[test]
    fn words_with_which_the_text_of_a_server_begins_are_shown_once() {
        let shown = |code: ErrorCode, text: &str| {
            let context = CallContext {
                agent: "a".to_owned(),
                tool: None,
                endpoint: None,
                request_id: None,
            };
            let error = Error::from_remote(context, WireError::new(code, text));
            assert_eq!(error.remote().unwrap().message, text);
            error.to_string()
        };
        for text in ["Tool not found: t", "tool not found: t", "t"] {
            let shown = shown(ErrorCode::TOOL_NOT_FOUND, text);
            assert_eq!(shown, "agent \"a\": tool not found: t");
        }
        let missing = shown(ErrorCode::AGENT_NOT_FOUND, "Agent not found: b");
        assert_eq!(missing, "agent \"a\": agent not found: b");
        // Neither the same words elsewhere nor other words are left out.
        for text in [
            "tool not found",
            "no tool not found: t",
            "Tool not föund: t",
        ] {
            let shown = shown(ErrorCode::TOOL_NOT_FOUND, text);
            assert_eq!(shown, format!("agent \"a\": tool not found: {text}"));
        }
    }

    #[test]
    fn an_error_is_shown_with_and_without_its_sources() {
        let error = disconnected();
        let text = "agent \"echo\" at memory://a (request 7): \
                    connection closed before the request was sent";
        let mut sources = Vec::new();
        let mut source = error.source();
        while let Some(found) = source {
            sources.push(found.to_string());
            source = found.source();
        }
        assert!(sources.last().unwrap().contains("cable unplugged"));
        assert_eq!(error.to_string(), text);
        assert_eq!(
            format!("{error:#}"),
            format!("{text}: {}", sources.join(": "))
        );
        let causes = sources.join("\n    ");
        assert_eq!(
            format!("{error:?}"),
            format!("{text}\n\nCaused by:\n    {causes}")
        );
        assert!(format!("{error:#?}").starts_with("Error {"));
    }
}
