//! The failures of operations on Redis: [`Fault`].

use std::{error::Error, fmt, time::Duration};

use agentwire_transport::internal::Untrusted;
use redis::{ErrorKind, RedisError, ServerErrorKind};

use crate::{ErrorSource, RegistryError};

/// The reason why an operation on Redis failed.
#[derive(Debug, Clone, thiserror::Error)]
pub(super) enum Fault {
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
    #[error(transparent)]
    Redis(#[from] ClientError),
    #[error("unexpected reply of a script")]
    UnexpectedReply,
}

/// An error of the Redis client.
#[derive(Debug, Clone)]
pub(super) struct ClientError(RedisError);

impl From<RedisError> for Fault {
    fn from(error: RedisError) -> Self {
        Self::Redis(ClientError(error))
    }
}

impl Fault {
    /// Returns whether the connection should be replaced, because the connection is broken or Redis
    /// does not answer.
    pub(super) fn ends_connection(&self) -> bool {
        match self {
            Self::TimedOut(_) => true,
            Self::Redis(ClientError(error)) => {
                error.is_io_error() || error.is_unrecoverable_error() || self.is_demotion()
            }
            Self::UnexpectedReply => false,
        }
    }

    /// Returns whether the Redis server has become a replica. A new connection may reach the new
    /// primary server.
    pub(super) fn is_demotion(&self) -> bool {
        let Self::Redis(ClientError(error)) = self else {
            return false;
        };
        match error.kind() {
            ErrorKind::Server(ServerErrorKind::ReadOnly | ServerErrorKind::MasterDown) => true,
            // Redis 6 reports a generic script failure, whose detail contains the actual code.
            ErrorKind::Server(ServerErrorKind::ResponseError) => {
                let detail = error.detail().unwrap_or_default();
                detail.contains("-READONLY ") || detail.contains("-MASTERDOWN ")
            }
            _ => false,
        }
    }

    /// Returns whether Redis is reachable but refuses the operation, for example because of a wrong
    /// password, a missing permission or a lack of memory.
    pub(super) fn is_refusal(&self) -> bool {
        let Self::Redis(ClientError(error)) = self else {
            return false;
        };
        match error.kind() {
            // These conditions are temporary.
            ErrorKind::Server(
                ServerErrorKind::BusyLoading
                | ServerErrorKind::MasterDown
                | ServerErrorKind::ReadOnly
                | ServerErrorKind::TryAgain,
            ) => false,
            // Redis is running a script of another client, which is also temporary.
            ErrorKind::Extension => error.code() != Some("BUSY"),
            ErrorKind::Server(_) => !self.is_demotion(),
            ErrorKind::AuthenticationFailed | ErrorKind::RESP3NotSupported => true,
            _ => false,
        }
    }

    /// Returns whether the fault is a refusal that persists until an operator intervenes.
    pub(super) fn is_permanent(&self) -> bool {
        matches!(self, Self::Redis(error) if error.is_permanent())
    }

    /// Converts the fault into an error. `registry` is the address of the registry.
    pub(super) fn into_error(self, registry: &str) -> RegistryError {
        let registry = registry.to_owned();
        let (is_refusal, is_invalid_reply) = (self.is_refusal(), self.is_invalid_reply());
        let source: ErrorSource = match self {
            Self::Redis(error) => error.into(),
            other => other.into(),
        };
        if is_refusal {
            RegistryError::Refused { registry, source }
        } else if is_invalid_reply {
            RegistryError::InvalidAnswer { registry, source }
        } else {
            RegistryError::Unavailable { registry, source }
        }
    }

    fn is_invalid_reply(&self) -> bool {
        match self {
            Self::TimedOut(_) => false,
            Self::Redis(ClientError(error)) => matches!(
                error.kind(),
                ErrorKind::Parse | ErrorKind::UnexpectedReturnType
            ),
            Self::UnexpectedReply => true,
        }
    }
}

impl ClientError {
    fn is_permanent(&self) -> bool {
        match self.0.kind() {
            ErrorKind::Server(ServerErrorKind::NoPerm)
            | ErrorKind::AuthenticationFailed
            | ErrorKind::RESP3NotSupported => true,
            _ => matches!(self.0.code(), Some("NOAUTH" | "WRONGPASS")),
        }
    }
}

/// Returns whether the error is a [`RegistryError::Refused`] that persists until an operator
/// intervenes.
pub(super) fn is_permanent(error: &RegistryError) -> bool {
    let RegistryError::Refused { source, .. } = error else {
        return false;
    };
    source
        .downcast_ref::<ClientError>()
        .is_some_and(ClientError::is_permanent)
}

/// Escapes and shortens the text, because the server may have sent it.
impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Untrusted(&self.0).fmt(f)?;
        match hint(&self.0) {
            Some(hint) => write!(f, "; {hint}"),
            None => Ok(()),
        }
    }
}

impl Error for ClientError {
    /// Skips the direct source, because a `RedisError` already displays its source.
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source()?.source()
    }
}

/// Returns what the user can do about an error.
fn hint(error: &RedisError) -> Option<&'static str> {
    let detail = error.detail().unwrap_or_default();
    let code = error.code().unwrap_or_default();
    let says = |word: &str| code == word || detail.contains(word);
    let known = HINTS
        .iter()
        .find(|(words, _)| words.iter().any(|word| says(word)));
    if let Some((_, hint)) = known {
        return Some(hint);
    }
    let is_silent_end = error.is_io_error() && error.is_connection_dropped();
    (is_silent_end || error.kind() == ErrorKind::Parse).then_some(NOT_REDIS)
}

/// Words of Redis in its errors, and what to do about them.
const HINTS: [(&[&str], &str); 17] = [
    (
        &["NOAUTH", "unauthenticated"],
        "put the password into the URL: redis://user:password@host",
    ),
    (
        &["WRONGPASS", "invalid password"],
        "check the user and the password in the URL",
    ),
    (
        &["DENIED", "protected mode"],
        "Redis is in protected mode: set a password, or let it listen on loopback addresses only",
    ),
    (
        &["MOVED", "ASK"],
        "redirections of a Redis cluster are not followed: use the address of the node that owns \
         the slot",
    ),
    (
        &["CROSSSLOT"],
        "the keys of a namespace have one hash tag, so this Redis must store them itself, and not \
         by a proxy",
    ),
    (
        &["CLUSTERDOWN"],
        "the Redis cluster lacks nodes: see CLUSTER INFO",
    ),
    (
        &["undeclared key"],
        "this server is not Redis: connect to Redis directly",
    ),
    (
        &["WRONGTYPE"],
        "other data is stored under these keys: use another namespace",
    ),
    (
        &["READONLY"],
        "this Redis is a replica: use the address of its primary",
    ),
    (
        &["MASTERDOWN"],
        "this Redis is a replica without its primary: use the address of the primary",
    ),
    (
        &["NOREPLICAS"],
        "Redis has fewer replicas than min-replicas-to-write: restore the replicas",
    ),
    (&["OOM"], "Redis has no memory left: raise its maxmemory"),
    (
        &["MISCONF"],
        "Redis cannot save its data: see its log, and check its disk",
    ),
    (
        &["BUSY"],
        "a script of another client blocks Redis: wait, or run SCRIPT KILL",
    ),
    (
        &["LOADING"],
        "Redis is starting: wait until it has loaded its data",
    ),
    (
        &["NOPERM"],
        "grant the user the rights that the documentation of RedisRegistry lists",
    ),
    (
        &["unknown command", "unsupported command"],
        "a proxy, or a server other than Redis 6 or newer, does not support this command: connect \
         to Redis directly",
    ),
];

/// The hint for a server that ends the connection or answers with something else.
const NOT_REDIS: &str = "if this persists, check the port: it may be a TLS port, a proxy without \
                         its Redis, a Redis in protected mode, or another service";

#[cfg(test)]
mod tests {
    use std::io;

    use agentwire_transport::internal::Chain;

    use super::*;

    fn extension(code: &str, detail: &str) -> Fault {
        redis::make_extension_error(code.into(), Some(detail.into())).into()
    }

    fn server(kind: ServerErrorKind, detail: &str) -> Fault {
        RedisError::from((ErrorKind::Server(kind), "said", detail.to_owned())).into()
    }

    fn lost() -> Fault {
        RedisError::from(io::Error::other("cut in two")).into()
    }

    #[test]
    fn every_fault_is_retryable_and_names_the_registry() {
        let parse_error = RedisError::from((ErrorKind::Parse, "invalid"));
        let script = "Error running script: @user_script: 7: ";
        for (fault, unavailable, ends_connection) in [
            (Fault::TimedOut(Duration::from_secs(5)), true, true),
            (lost(), true, true),
            (extension("WRONGPASS", "no"), false, false),
            (
                extension("BUSY", "Redis is busy running a script"),
                true,
                false,
            ),
            (server(ServerErrorKind::ReadOnly, "a replica"), true, true),
            (server(ServerErrorKind::MasterDown, "alone"), true, true),
            (server(ServerErrorKind::BusyLoading, "soon"), true, false),
            (
                server(
                    ServerErrorKind::ResponseError,
                    &format!("{script}-READONLY You can't write against a read only replica."),
                ),
                true,
                true,
            ),
            (server(ServerErrorKind::ResponseError, script), false, false),
            (server(ServerErrorKind::NoPerm, "no"), false, false),
            (parse_error.into(), false, true),
            (Fault::UnexpectedReply, false, false),
        ] {
            assert_eq!(fault.ends_connection(), ends_connection, "{fault}");
            let error = fault.into_error("redis://host:6379");
            assert_eq!(error.is_unavailable(), unavailable, "{error:?}");
            assert!(error.is_retryable());
            assert!(error.to_string().contains("redis://host:6379"), "{error}");
        }
    }

    #[test]
    fn the_source_is_kept_and_displayed_once() {
        for (fault, words) in [
            (lost(), "cut in two"),
            (extension("WRONGPASS", "no way"), "no way"),
        ] {
            let error = fault.into_error("redis://host");
            let text = Chain(&error).to_string();
            assert_eq!(text.matches(words).count(), 1, "{text}");
        }
    }
}
