//! What the errors of both versions of HTTP mean to a call.

use std::{error::Error as StdError, io};

use agentwire_transport::TlsError;

use crate::client::channel::{failure::Failure, http2};

/// Returns the failure of an answer that has ended too early.
pub(super) fn broken(error: hyper::Error) -> Failure {
    if error.is_incomplete_message() {
        return Failure::Broken(None);
    }
    Failure::Broken(Some(io_error(error).into()))
}

/// Returns the failure of an answer whose stream of HTTP/2 has failed.
pub(super) fn broken_stream(error: h2::Error) -> Failure {
    http2::failure(error, true, violation)
}

/// Returns the failure of an attempt whose server has violated the rules of HTTP/2.
pub(super) fn violation(error: h2::Error) -> Failure {
    let error = io::Error::new(io::ErrorKind::InvalidData, error);
    Failure::Broken(Some(error.into()))
}

/// Converts an error of hyper. The cause of a failed handshake of TLS is kept.
pub(super) fn io_error(error: hyper::Error) -> io::Error {
    let mut source = error.source();
    while let Some(cause) = source {
        if let Some(io) = cause.downcast_ref::<io::Error>() {
            let inner = io.get_ref();
            return match inner.and_then(|inner| inner.downcast_ref::<TlsError>()) {
                Some(tls) => io::Error::new(io.kind(), tls.clone()),
                None => io::Error::new(io.kind(), io.to_string()),
            };
        }
        source = cause.source();
    }
    let kind = if error.is_parse() {
        io::ErrorKind::InvalidData
    } else {
        io::ErrorKind::ConnectionReset
    };
    io::Error::new(kind, error)
}
