//! Carries the trace context of a request to the calls that are made while it is processed.

#[cfg(any(feature = "grpc", feature = "http"))]
mod headers;
#[cfg(feature = "opentelemetry")]
mod opentelemetry;

use std::sync::Arc;

use agentwire_codec::{Body, Request, TraceContext};
use tracing::Span;

#[cfg(any(feature = "grpc", feature = "http"))]
pub(crate) use self::headers::{BAGGAGE, TRACEPARENT, TRACESTATE, write_headers};

tokio::task_local! {
    /// The trace context of the request that the current task is processing.
    static CURRENT: Arc<TraceContext>;
}

/// Returns the trace context of the request that the current task is processing.
pub(crate) fn current() -> Option<Arc<TraceContext>> {
    CURRENT.try_with(Arc::clone).ok()
}

/// Runs a future whose calls carry a trace context on.
pub(crate) async fn within<T>(
    trace: &Option<Arc<TraceContext>>,
    work: impl Future<Output = T>,
) -> T {
    match trace {
        Some(trace) => CURRENT.scope(Arc::clone(trace), work).await,
        None => work.await,
    }
}

/// Makes the span of a request a child of the caller's span, if spans are exported. Returns the
/// context that calls carry on, which is that of the caller if the span is not exported.
pub(crate) fn enter(
    span: &Span,
    caller: Option<TraceContext>,
    name: &str,
    method: &'static str,
) -> Option<Arc<TraceContext>> {
    #[cfg(feature = "opentelemetry")]
    let caller = opentelemetry::enter(span, caller, "server", name, method);
    let _ = (span, name, method);
    caller.map(Arc::new)
}

/// Makes the span of a layer a child of the span of its request, if spans are exported. Returns the
/// context that calls carry on, which is that of the request if the span is not exported.
pub(crate) fn enter_layer(
    span: &Span,
    request: Option<Arc<TraceContext>>,
    name: &str,
    method: &'static str,
) -> Option<Arc<TraceContext>> {
    #[cfg(feature = "opentelemetry")]
    if !span.is_disabled() {
        let request = request.as_deref().cloned();
        let own = opentelemetry::enter(span, request, "internal", name, method);
        return own.map(Arc::new);
    }
    let _ = (span, name, method);
    request
}

/// Returns the context that a call carries: that of its span, or `parent` if the span is not
/// exported.
pub(crate) fn of_call(
    span: &Span,
    parent: Option<Arc<TraceContext>>,
    name: &str,
    method: &'static str,
) -> Option<Arc<TraceContext>> {
    #[cfg(feature = "opentelemetry")]
    if let Some(own) = opentelemetry::child(span, parent.as_deref(), name, method) {
        return Some(Arc::new(own));
    }
    let _ = (span, name, method);
    parent
}

/// Records on an exported span that a request failed.
pub(crate) fn failed(span: &Span, code: &str) {
    #[cfg(feature = "opentelemetry")]
    opentelemetry::failed(span, code);
    let _ = (span, code);
}

/// Reads the trace context of a request.
pub(crate) fn read_from(request: &Request) -> Option<TraceContext> {
    let metadata = match request {
        Request::Process(call) | Request::Stream(call) => &call.message.metadata,
        Request::Execute(call) => &call.metadata,
        _ => return None,
    };
    if metadata.is_empty() {
        return None;
    }
    TraceContext::read_from(metadata)
}

/// Writes a trace context to a request.
pub(crate) fn write_to(trace: &TraceContext, body: &mut Body) {
    match body {
        Body::Request(Request::Process(call) | Request::Stream(call)) => {
            trace.write_to(&mut call.message.metadata);
        }
        Body::Request(Request::Execute(call)) => trace.write_to(&mut call.metadata),
        _ => {}
    }
}
