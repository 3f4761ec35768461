//! Reports the start and the end of a request to a server.

use std::{borrow::Cow, fmt, sync::Arc};

use agentwire_codec::{Body, EnvelopeType, ErrorCode, RequestId, Response, Value};
use agentwire_transport::Peer;
use tokio::time::Instant;

use super::{Observer, Outcome, RequestEvent, Side};

/// What a request asks for.
#[derive(Debug, Clone)]
pub(crate) struct Subject {
    pub(crate) method: &'static str,
    /// The name of the agent or tool, which is never a text that a caller chose.
    pub(crate) name: Option<Arc<str>>,
}

/// Reports the end of a request to a server when it is dropped. Unless an outcome was set, the
/// request counts as cancelled.
pub(crate) struct RequestGuard {
    observer: Arc<dyn Observer>,
    subject: Subject,
    id: RequestId,
    peer: Peer,
    connection: u64,
    start: Instant,
    end: End,
}

/// The outcome of a request, if it is known.
#[derive(Debug)]
enum End {
    Unknown,
    Ok,
    Failed(ErrorCode),
}

impl RequestGuard {
    /// Reports the start of a request.
    pub(crate) fn start(
        observer: &Arc<dyn Observer>,
        subject: Subject,
        id: &RequestId,
        peer: &Peer,
        connection: u64,
    ) -> Self {
        let guard = Self {
            observer: Arc::clone(observer),
            subject,
            id: id.clone(),
            peer: peer.clone(),
            connection,
            start: Instant::now(),
            end: End::Unknown,
        };
        guard.observer.request_started(&guard.event());
        guard
    }

    /// Records that the request was answered without an error.
    pub(crate) fn succeeded(&mut self) {
        self.end = End::Ok;
    }

    /// Records the outcome that the last answer contains. A tool that failed is a failure.
    pub(crate) fn answered(&mut self, answer: &Body) {
        match error_code(answer) {
            Some(code) => self.failed(code.into_owned()),
            None => self.succeeded(),
        }
    }

    /// Records that the request failed.
    pub(crate) fn failed(&mut self, code: ErrorCode) {
        self.end = End::Failed(code);
    }

    fn event(&self) -> RequestEvent<'_> {
        RequestEvent {
            side: Side::Server,
            method: self.subject.method,
            name: self.subject.name.as_deref().unwrap_or_default(),
            id: &self.id,
            peer: Some(&self.peer),
            connection: Some(self.connection),
        }
    }
}

impl fmt::Debug for RequestGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestGuard")
            .field("subject", &self.subject)
            .finish_non_exhaustive()
    }
}

impl Drop for RequestGuard {
    fn drop(&mut self) {
        let outcome = match &self.end {
            End::Unknown => Outcome::Cancelled,
            End::Ok => Outcome::Ok,
            End::Failed(code) => Outcome::Failed(code),
        };
        let duration = self.start.elapsed();
        self.observer
            .request_ended(&self.event(), outcome, duration);
    }
}

/// Returns the code of an answer that is an error or the result of a tool that has failed.
pub(crate) fn error_code(answer: &Body) -> Option<Cow<'_, ErrorCode>> {
    match answer {
        Body::Error(error) => Some(Cow::Borrowed(&error.code)),
        Body::Raw(raw) if raw.kind == EnvelopeType::Error => {
            let code = raw.payload.get("error_code").and_then(Value::as_str);
            Some(Cow::Owned(
                code.map_or(ErrorCode::INTERNAL_ERROR, ErrorCode::from),
            ))
        }
        _ if is_failed_tool(answer) => Some(Cow::Owned(ErrorCode::TOOL_EXECUTION_FAILED)),
        _ => None,
    }
}

/// Returns whether the answer is the result of a tool that has failed.
fn is_failed_tool(answer: &Body) -> bool {
    match answer {
        Body::Response(Response::Tool(result)) => !result.success,
        Body::Raw(raw) if raw.kind == EnvelopeType::Response => {
            let result = raw.payload.get("result").and_then(Value::as_map);
            result.and_then(|result| result.get("success")) == Some(&Value::Bool(false))
        }
        _ => false,
    }
}
