//! The spans of OpenTelemetry.

use agentwire_codec::TraceContext;
use opentelemetry::{
    Context,
    trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState},
};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// Makes a span a child of the caller's span, and returns the context of the span. Returns the
/// context of the caller if the span is not exported.
pub(super) fn enter(
    span: &Span,
    caller: Option<TraceContext>,
    kind: &'static str,
    name: &str,
    method: &'static str,
) -> Option<TraceContext> {
    if span.is_disabled() {
        return caller;
    }
    if let Some(parent) = caller.as_ref().and_then(remote) {
        // The parent must be set before the context of the span is used. Fails only without a layer
        // that exports spans.
        let _ = span.set_parent(Context::new().with_remote_span_context(parent));
    }
    describe(span, kind, name, method);
    own(span, caller.as_ref()).or(caller)
}

/// Returns the context of the span of a call, or `None` if the span is not exported. The span is a
/// child of the current span; `parent` adds the fields that spans do not have.
pub(super) fn child(
    span: &Span,
    parent: Option<&TraceContext>,
    name: &str,
    method: &'static str,
) -> Option<TraceContext> {
    if span.is_disabled() {
        return None;
    }
    // A call that has been given a parent may run outside of the span of the request.
    if let (true, Some(parent)) = (Span::current().is_none(), parent.and_then(remote)) {
        let _ = span.set_parent(Context::new().with_remote_span_context(parent));
    }
    describe(span, "client", name, method);
    own(span, parent)
}

/// Sets the attributes that the conventions for remote procedure calls define. The name is never a
/// text of a caller.
fn describe(span: &Span, kind: &'static str, name: &str, method: &'static str) {
    span.record("otel.kind", kind);
    span.set_attribute("rpc.system", "agentwire");
    span.set_attribute("rpc.method", method);
    // A client need not know the name of its agent.
    if name.is_empty() {
        span.record("otel.name", method);
    } else {
        span.record("otel.name", format!("{name}/{method}"));
        span.set_attribute("rpc.service", name.to_owned());
    }
}

pub(super) fn failed(span: &Span, code: &str) {
    if !span.is_disabled() {
        span.set_attribute("error.type", code.to_owned());
        span.set_status(opentelemetry::trace::Status::error(""));
    }
}

fn own(span: &Span, fields: Option<&TraceContext>) -> Option<TraceContext> {
    let context = span.context();
    let span = context.span();
    let own = span.span_context();
    if !own.is_valid() {
        return None;
    }
    let (trace_id, span_id) = (own.trace_id().to_bytes(), own.span_id().to_bytes());
    Some(match fields {
        Some(fields) => fields
            .clone()
            .with_span(trace_id, span_id, own.is_sampled()),
        None => TraceContext::new(trace_id, span_id, own.is_sampled()),
    })
}

fn remote(caller: &TraceContext) -> Option<SpanContext> {
    let (trace_id, span_id) = (caller.trace_id()?, caller.span_id()?);
    let flags = if caller.is_sampled() {
        TraceFlags::SAMPLED
    } else {
        TraceFlags::default()
    };
    let state = caller
        .tracestate()
        .and_then(|state| state.parse::<TraceState>().ok());
    Some(SpanContext::new(
        TraceId::from_bytes(trace_id),
        SpanId::from_bytes(span_id),
        flags,
        true,
        state.unwrap_or_default(),
    ))
}
