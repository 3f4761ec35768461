use std::time::Duration;

use agentwire_codec::{ErrorCode, WireError};
use redis::{ErrorKind, RedisError, ServerErrorKind};

use crate::RegistryError;

/// Why an operation on Redis failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    #[error("it did not answer within {0:?}")]
    TimedOut(Duration),
    #[error(transparent)]
    Redis(#[from] RedisError),
    #[error("{0}")]
    Nonsense(&'static str),
}

impl Fault {
    /// True if the connection that it happened on is of no more use. One that does not answer is not waited for
    /// again: it may lead nowhere.
    pub(super) fn ends_connection(&self) -> bool {
        match self {
            Self::TimedOut(_) => true,
            Self::Redis(error) => error.is_io_error() || error.is_unrecoverable_error(),
            Self::Nonsense(_) => false,
        }
    }

    pub(super) fn at(self, registry: &str) -> RegistryError {
        let registry = registry.to_owned();
        match self {
            Self::Redis(error) if is_answer(&error) => RegistryError::Remote(WireError::new(
                ErrorCode::INTERNAL_ERROR,
                format!("{registry} refused: {error}"),
            )),
            Self::Redis(error) if is_nonsense(&error) => RegistryError::InvalidAnswer {
                registry,
                source: error.into(),
            },
            Self::Nonsense(_) => RegistryError::InvalidAnswer {
                registry,
                source: self.into(),
            },
            Self::Redis(error) => RegistryError::Unavailable {
                registry,
                source: error.into(),
            },
            Self::TimedOut(_) => RegistryError::Unavailable {
                registry,
                source: self.into(),
            },
        }
    }
}

/// True if Redis is there and does not want to: a wrong password, a right or memory that is missing.
fn is_answer(error: &RedisError) -> bool {
    match error.kind() {
        // It will be ready by itself.
        ErrorKind::Server(
            ServerErrorKind::BusyLoading | ServerErrorKind::MasterDown | ServerErrorKind::TryAgain,
        ) => false,
        ErrorKind::Server(_)
        | ErrorKind::Extension
        | ErrorKind::AuthenticationFailed
        | ErrorKind::RESP3NotSupported => true,
        _ => false,
    }
}

fn is_nonsense(error: &RedisError) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Parse | ErrorKind::UnexpectedReturnType
    )
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn all_of_them_may_go_well_later_and_say_where() {
        let wrong_password = redis::make_extension_error("WRONGPASS".into(), Some("no".into()));
        let nonsense = RedisError::from((ErrorKind::Parse, "invalid"));
        let lost = RedisError::from(io::Error::from(io::ErrorKind::ConnectionReset));
        for (fault, unavailable, ends_connection) in [
            (Fault::TimedOut(Duration::from_secs(5)), true, true),
            (lost.into(), true, true),
            (wrong_password.into(), false, false),
            (nonsense.into(), false, true),
            (Fault::Nonsense("it told no position"), false, false),
        ] {
            assert_eq!(fault.ends_connection(), ends_connection, "{fault}");
            let error = fault.at("redis://host:6379");
            assert_eq!(error.is_unavailable(), unavailable, "{error}");
            assert!(error.is_retryable());
            assert!(error.to_string().contains("redis://host:6379"), "{error}");
        }
    }
}
