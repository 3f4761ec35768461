use std::{error::Error, fmt, time::Duration};

use redis::{ErrorKind, RedisError, ServerErrorKind};

use crate::{ErrorSource, RegistryError};

/// Why an operation on Redis failed.
#[derive(Debug, Clone, thiserror::Error)]
pub(super) enum Fault {
    #[error("it did not answer within {0:?}")]
    TimedOut(Duration),
    #[error(transparent)]
    Redis(#[from] Cause),
    #[error("{0}")]
    Nonsense(&'static str),
}

/// What the client of Redis says.
#[derive(Debug, Clone)]
pub(super) struct Cause(RedisError);

impl From<RedisError> for Fault {
    fn from(error: RedisError) -> Self {
        Self::Redis(Cause(error))
    }
}

impl Fault {
    /// True if the connection that it happened on is of no more use. One that does not answer is not waited for
    /// again: it may lead nowhere.
    pub(super) fn ends_connection(&self) -> bool {
        match self {
            Self::TimedOut(_) => true,
            Self::Redis(Cause(error)) => {
                error.is_io_error() || error.is_unrecoverable_error() || self.is_demotion()
            }
            Self::Nonsense(_) => false,
        }
    }

    /// True if this Redis follows another one now. Whoever connects again may find that one.
    pub(super) fn is_demotion(&self) -> bool {
        let Self::Redis(Cause(error)) = self else {
            return false;
        };
        match error.kind() {
            ErrorKind::Server(ServerErrorKind::ReadOnly | ServerErrorKind::MasterDown) => true,
            // Redis 6 says within scripts that a script has failed, and tells why behind it.
            ErrorKind::Server(ServerErrorKind::ResponseError) => {
                let detail = error.detail().unwrap_or_default();
                detail.contains("-READONLY ") || detail.contains("-MASTERDOWN ")
            }
            _ => false,
        }
    }

    /// True if Redis is there and does not want to: a wrong password, a right or memory that is missing.
    pub(super) fn is_refusal(&self) -> bool {
        let Self::Redis(Cause(error)) = self else {
            return false;
        };
        match error.kind() {
            // It will be ready by itself.
            ErrorKind::Server(
                ServerErrorKind::BusyLoading
                | ServerErrorKind::MasterDown
                | ServerErrorKind::ReadOnly
                | ServerErrorKind::TryAgain,
            ) => false,
            // So it will once it is done with somebody's script.
            ErrorKind::Extension => error.code() != Some("BUSY"),
            ErrorKind::Server(_) => !self.is_demotion(),
            ErrorKind::AuthenticationFailed | ErrorKind::RESP3NotSupported => true,
            _ => false,
        }
    }

    /// True for a refusal that only a person mends.
    pub(super) fn is_forbidden(&self) -> bool {
        matches!(self, Self::Redis(cause) if cause.is_forbidden())
    }

    pub(super) fn at(self, registry: &str) -> RegistryError {
        let registry = registry.to_owned();
        let (is_refusal, is_nonsense) = (self.is_refusal(), self.is_nonsense());
        let source: ErrorSource = match self {
            Self::Redis(cause) => cause.into(),
            other => other.into(),
        };
        match () {
            () if is_refusal => RegistryError::Refused { registry, source },
            () if is_nonsense => RegistryError::InvalidAnswer { registry, source },
            () => RegistryError::Unavailable { registry, source },
        }
    }

    fn is_nonsense(&self) -> bool {
        match self {
            Self::TimedOut(_) => false,
            Self::Redis(Cause(error)) => matches!(
                error.kind(),
                ErrorKind::Parse | ErrorKind::UnexpectedReturnType
            ),
            Self::Nonsense(_) => true,
        }
    }
}

impl Cause {
    fn is_forbidden(&self) -> bool {
        match self.0.kind() {
            ErrorKind::Server(ServerErrorKind::NoPerm)
            | ErrorKind::AuthenticationFailed
            | ErrorKind::RESP3NotSupported => true,
            _ => matches!(self.0.code(), Some("NOAUTH" | "WRONGPASS")),
        }
    }
}

/// The same, of what has come of a fault.
pub(super) fn is_forbidden(error: &RegistryError) -> bool {
    let RegistryError::Refused { source, .. } = error else {
        return false;
    };
    source
        .downcast_ref::<Cause>()
        .is_some_and(Cause::is_forbidden)
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Error for Cause {
    /// A `RedisError` speaks in the words of its source, which would be told twice.
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source()?.source()
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    fn told(code: &str, detail: &str) -> Fault {
        redis::make_extension_error(code.into(), Some(detail.into())).into()
    }

    fn server(kind: ServerErrorKind, detail: &str) -> Fault {
        RedisError::from((ErrorKind::Server(kind), "said", detail.to_owned())).into()
    }

    fn lost() -> Fault {
        RedisError::from(io::Error::other("cut in two")).into()
    }

    #[test]
    fn all_of_them_may_go_well_later_and_say_where() {
        let nonsense = RedisError::from((ErrorKind::Parse, "invalid"));
        let script = "Error running script: @user_script: 7: ";
        for (fault, unavailable, ends_connection) in [
            (Fault::TimedOut(Duration::from_secs(5)), true, true),
            (lost(), true, true),
            (told("WRONGPASS", "no"), false, false),
            (told("BUSY", "Redis is busy running a script"), true, false),
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
            (nonsense.into(), false, true),
            (Fault::Nonsense("it told no position"), false, false),
        ] {
            assert_eq!(fault.ends_connection(), ends_connection, "{fault}");
            let error = fault.at("redis://host:6379");
            assert_eq!(error.is_unavailable(), unavailable, "{error:?}");
            assert!(error.is_retryable());
            assert!(error.to_string().contains("redis://host:6379"), "{error}");
        }
    }

    #[test]
    fn what_it_comes_from_is_kept_and_told_once() {
        for (fault, words) in [
            (lost(), "cut in two"),
            (told("WRONGPASS", "no way"), "no way"),
        ] {
            let error = fault.at("redis://host");
            let mut told = error.to_string();
            let mut source = error.source();
            while let Some(error) = source {
                told += &format!(": {error}");
                source = error.source();
            }
            assert_eq!(told.matches(words).count(), 1, "{told}");
        }
    }
}
