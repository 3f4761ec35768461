//! Reports the start and the end of each request of a server: [`RequestReporter`].

use std::{borrow::Cow, fmt, sync::Arc};

use agentwire_codec::{Body, EnvelopeType, ErrorCode, RequestId, Response, Value};
use agentwire_transport::Peer;
use tokio::time::Instant;

use super::{Observer, Observers, Outcome, RequestEvent, Side};

/// What a request asks for.
#[derive(Debug, Clone)]
pub(crate) struct Subject {
    pub(crate) method: &'static str,
    /// The name of the agent or tool, which is never a text that a caller chose.
    pub(crate) name: Option<Arc<str>>,
}

/// Reports the requests of one connection to the observer of a server.
pub(crate) struct RequestReporter {
    observer: Arc<dyn Observer>,
    peer: Peer,
    connection: u64,
}

/// A request whose start was reported. Its end must be reported with one of the methods.
#[must_use]
pub(crate) struct RequestGuard {
    reporter: Arc<RequestReporter>,
    subject: Subject,
    arrival: Instant,
}

impl RequestReporter {
    /// Returns `None` if there is no observer.
    pub(crate) fn new(observers: &Observers, peer: &Peer, connection: u64) -> Option<Arc<Self>> {
        Some(Arc::new(Self {
            observer: Arc::clone(observers.get()?),
            peer: peer.clone(),
            connection,
        }))
    }

    /// Reports the start of a request that arrived at this time.
    pub(crate) fn start(
        self: &Arc<Self>,
        subject: Subject,
        id: &RequestId,
        arrival: Instant,
    ) -> RequestGuard {
        let guard = RequestGuard {
            reporter: Arc::clone(self),
            subject,
            arrival,
        };
        self.observer.request_started(&guard.event(id));
        guard
    }
}

impl RequestGuard {
    /// Reports the outcome that the last answer contains. A tool that failed is a failure.
    pub(crate) fn answered(self, id: &RequestId, answer: &Body) {
        match error_code(answer) {
            Some(code) => self.failed(id, &code),
            None => self.end(id, Outcome::Ok),
        }
    }

    /// Reports that the request failed.
    pub(crate) fn failed(self, id: &RequestId, code: &ErrorCode) {
        self.end(id, Outcome::Failed(code));
    }

    /// Reports that the request was dropped before it was answered.
    pub(crate) fn cancelled(self, id: &RequestId) {
        self.end(id, Outcome::Cancelled);
    }

    fn end(self, id: &RequestId, outcome: Outcome<'_>) {
        let duration = self.arrival.elapsed();
        let observer = &self.reporter.observer;
        observer.request_ended(&self.event(id), outcome, duration);
    }

    fn event<'a>(&'a self, id: &'a RequestId) -> RequestEvent<'a> {
        RequestEvent {
            side: Side::Server,
            method: self.subject.method,
            name: self.subject.name.as_deref().unwrap_or_default(),
            id,
            peer: Some(&self.reporter.peer),
            connection: Some(self.reporter.connection),
        }
    }
}

impl fmt::Debug for RequestReporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestReporter")
            .field("connection", &self.connection)
            .finish_non_exhaustive()
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
