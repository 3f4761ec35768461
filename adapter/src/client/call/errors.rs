//! The errors of a call.

use std::time::Duration;

use super::retry::RetryBudget;
use crate::{
    CallContext, Error,
    client::{channel::failure::Failure, router::NoRoute},
    error::Phase,
};

/// Returns the error of a call whose last attempt failed.
pub(super) fn of_failure(context: CallContext, timeout: Duration, failure: Failure) -> Error {
    match failure {
        Failure::Closed { sent } => Error::ClientClosed {
            context: Box::new(context),
            sent,
        },
        Failure::Connect(source) => Error::ConnectionFailed {
            context: Box::new(context),
            source,
        },
        Failure::TimedOut(phase) => Error::Timeout {
            context: Box::new(context),
            timeout,
            phase,
            source: None,
        },
        #[cfg(feature = "grpc")]
        Failure::Encode(source) => Error::Encode {
            context: Box::new(context),
            source,
        },
        Failure::Unsent(error) => Error::from_write(context, error),
        Failure::Broken(source) => Error::from_broken(context, source),
        Failure::Protocol(source) => Error::from_protocol(context, source),
    }
}

/// Returns the error of a call for which no instance could be chosen.
pub(super) fn of_no_route(context: CallContext, timeout: Duration, no_route: NoRoute) -> Error {
    match no_route {
        NoRoute::Denied(endpoint, error) => Error::from_remote(
            CallContext {
                endpoint: Some(endpoint),
                ..context
            },
            error,
        ),
        NoRoute::Closed => of_failure(context, timeout, Failure::Closed { sent: false }),
        NoRoute::TimedOut => of_failure(context, timeout, Failure::TimedOut(Phase::Resolving)),
        NoRoute::Unknown => Error::NotRegistered {
            context: Box::new(context),
        },
        NoRoute::Unreachable { instances, source } => Error::Unreachable {
            context: Box::new(context),
            instances,
            source,
        },
        NoRoute::Registry(source) => Error::Registry {
            context: Box::new(context),
            source,
        },
    }
}

/// If a call timed out while connecting, adds the last connection error as the source.
pub(super) fn with_connect_error(mut error: Error, retries: &mut RetryBudget) -> Error {
    if let Error::Timeout {
        phase: Phase::Connecting,
        source,
        ..
    } = &mut error
    {
        *source = retries.take_last_connect();
    }
    error
}
