//! What the errors of HTTP/2 and the statuses of gRPC mean to a call.

use std::io;

use agentwire_codec::{Body, ErrorCode, FrameError, WireError, map};
use h2::Reason;

use crate::{
    client::channel::{failure::Failure, http2},
    error::ProtocolError,
    grpc::{Code, Status},
};

/// Returns the failure of an attempt whose stream or connection has failed.
pub(super) fn from_h2(error: h2::Error, is_sent: bool) -> Failure {
    http2::failure(error, is_sent, violation)
}

/// Returns the failure of an attempt whose server has violated the rules of HTTP/2.
pub(super) fn violation(error: h2::Error) -> Failure {
    malformed(format!("HTTP/2: {error}"))
}

/// Returns whether the server has refused a stream because too many were open.
pub(super) fn is_refused(error: &io::Error) -> bool {
    let error = error
        .get_ref()
        .and_then(|error| error.downcast_ref::<h2::Error>());
    error.is_some_and(|error| error.reason() == Some(Reason::REFUSED_STREAM))
}

/// Returns the failure of an answer that is not what gRPC prescribes.
pub(super) fn malformed(problem: String) -> Failure {
    Failure::Protocol(ProtocolError::Grpc { problem })
}

/// Returns what a status means. A status is an answer of the server, but `UNAVAILABLE` says that
/// the server has dropped the call.
pub(super) fn from_status(status: Status) -> Result<Body, Failure> {
    let code = match status.code {
        Code::Ok => return Err(malformed("the answer has no message".to_owned())),
        Code::Unavailable => {
            let error = io::Error::new(io::ErrorKind::ConnectionAborted, status.to_string());
            return Err(Failure::Broken(Some(FrameError::Io(error))));
        }
        Code::Cancelled => ErrorCode::CANCELLED,
        Code::DeadlineExceeded => ErrorCode::AGENT_TIMEOUT,
        Code::NotFound => ErrorCode::AGENT_NOT_FOUND,
        Code::PermissionDenied => ErrorCode::PERMISSION_DENIED,
        Code::Unauthenticated => ErrorCode::UNAUTHENTICATED,
        Code::Unimplemented => ErrorCode::NOT_IMPLEMENTED,
        Code::InvalidArgument => ErrorCode::INVALID_MESSAGE,
        Code::ResourceExhausted => ErrorCode::MALFORMED_PAYLOAD,
        _ => ErrorCode::INTERNAL_ERROR,
    };
    let text = if status.message.is_empty() {
        format!(
            "The server ended the call with the status {}",
            status.code.name()
        )
    } else {
        status.message
    };
    let details = map! {"grpc_status": (status.code.name())};
    Ok(WireError::new(code, text).with_details(details).into())
}
