//! Logs the outcomes of calls. The contents of messages are never logged.

use std::{future::Future, pin::Pin};

use agentwire_codec::{Body, ErrorCode};
use tokio::time::Instant;
use tracing::{Instrument, Span};

use crate::Error;

/// Runs a call in its span and logs its outcome and duration.
///
/// The caller pins the call because a future that is passed by value is stored twice in the
/// awaiting future.
pub(super) async fn traced<T>(
    span: Span,
    call: Pin<&mut impl Future<Output = Result<T, Error>>>,
    refusal: impl Fn(&T) -> Option<&ErrorCode>,
) -> Result<T, Error> {
    if span.is_disabled() {
        return call.await;
    }
    let logged = async {
        let start = Instant::now();
        let result = call.await;
        let elapsed = start.elapsed();
        match &result {
            Ok(answer) => match refusal(answer) {
                None => tracing::debug!(?elapsed, "answered"),
                Some(code) => tracing::debug!(?elapsed, %code, "refused"),
            },
            Err(error) => tracing::debug!(?elapsed, code = %error.code(), "failed"),
        }
        result
    };
    logged.instrument(span).await
}

/// Returns the error code if the answer is an error.
pub(super) fn refusal(body: &Body) -> Option<&ErrorCode> {
    match body {
        Body::Error(error) => Some(&error.code),
        _ => None,
    }
}
