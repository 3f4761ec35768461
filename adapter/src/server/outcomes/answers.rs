//! The answers to repeated requests.

use std::sync::Arc;

use agentwire_codec::{Body, ErrorCode, Map, Response, Value, WireError};
use tokio::sync::watch;

/// Waits for an outcome.
pub(super) async fn wait(
    mut waiting: watch::Receiver<Option<Arc<Body>>>,
    is_repeated: bool,
) -> Body {
    let outcome = match waiting.wait_for(Option::is_some).await {
        Ok(outcome) => outcome.as_deref().cloned(),
        Err(_) => None,
    };
    match outcome {
        Some(outcome) if is_repeated => marked(outcome),
        Some(outcome) => outcome,
        None => Body::Error(without_outcome()),
    }
}

pub(super) fn without_outcome() -> WireError {
    let text = "The request ended without an outcome";
    WireError::new(ErrorCode::INTERNAL_ERROR, text)
}

/// Marks an answer as the outcome of an earlier request.
pub(super) fn marked(mut answer: Body) -> Body {
    let marks = match &mut answer {
        Body::Response(Response::Message(message)) | Body::StreamChunk(message) => {
            &mut message.metadata
        }
        Body::Response(Response::Tool(result)) => &mut result.metadata,
        Body::Error(error) => &mut error.details,
        _ => return answer,
    };
    marks.insert("idempotent_replay", true);
    answer
}

pub(super) fn conflict() -> WireError {
    let text = "The idempotency key belongs to a different request";
    WireError::new(ErrorCode::INVALID_MESSAGE, text)
        .with_details(Map::from([("reason", "idempotency_key")]))
}

/// Returns whether the answer says that the request was not processed, so that it may be repeated,
/// or that its key belongs to another request.
pub(super) fn is_unstarted(outcome: &Body) -> bool {
    match outcome {
        Body::Error(error) if error.code == ErrorCode::INVALID_MESSAGE => {
            error.details.get("reason") == Some(&Value::from("idempotency_key"))
        }
        Body::Error(error) => {
            [ErrorCode::AGENT_UNAVAILABLE, ErrorCode::RATE_LIMITED].contains(&error.code)
        }
        _ => false,
    }
}
