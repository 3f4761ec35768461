//! Adds to a request what its server should know about its delivery.

use std::sync::Arc;

use agentwire_codec::{Body, Request, RequestId, TraceContext};
use agentwire_transport::{Endpoint, internal::MAX_TIMEOUT};
use tracing::{Span, field};

use crate::{
    client::{
        config::{CallOptions, Config},
        router::Destination,
    },
    trace,
};

/// The span of a call and the trace context that the request contains.
#[derive(Default)]
pub(super) struct Traced {
    pub(super) span: Option<Span>,
    pub(super) context: Option<Arc<TraceContext>>,
}

/// Adds the trace context, the deadline and the idempotency key of a call, as far as the settings
/// ask for them. Returns the span of the call and its trace context if the client sends them.
pub(super) fn prepare(
    body: &mut Body,
    config: &Config,
    destination: &Destination,
    options: &CallOptions,
) -> Traced {
    let traced = if config.sends_trace_context {
        put_trace(body, config, destination, options)
    } else {
        Traced::default()
    };
    let is_stream = matches!(body, Body::Request(Request::Stream(_)));
    let delivery = match body {
        Body::Request(Request::Process(call) | Request::Stream(call)) => &mut call.delivery,
        Body::Request(Request::Execute(call)) => &mut call.delivery,
        _ => return traced,
    };
    if config.sends_deadlines {
        let timeout = options.timeout.unwrap_or(config.timeout);
        let total = options.total_timeout;
        let left = if is_stream {
            total
        } else {
            Some(total.map_or(timeout, |total| total.min(timeout)))
        };
        delivery.deadline_ms = left.map(|left| {
            let millis = left.min(MAX_TIMEOUT).as_millis();
            u64::try_from(millis).unwrap_or(u64::MAX)
        });
    }
    let random = || RequestId::random().to_string();
    delivery.idempotency_key = match &options.idempotency_key {
        Some(key) => Some(key.clone()),
        None => config.is_idempotent.then(random),
    };
    traced
}

/// Adds a trace context to a request, and returns the span of the call.
fn put_trace(
    body: &mut Body,
    config: &Config,
    destination: &Destination,
    options: &CallOptions,
) -> Traced {
    let method = method(body);
    let span = span(destination.endpoint(), config, method, None);
    let parent = options.trace_context.as_ref().map(Arc::clone);
    let parent = parent.or_else(trace::current);
    let context = trace::of_call(&span, parent, &config.name, method);
    if let Some(context) = &context {
        trace::write_to(context, body);
    }
    Traced {
        span: Some(span),
        context,
    }
}

/// Creates the span of a call.
pub(super) fn span(
    endpoint: Option<&Endpoint>,
    config: &Config,
    method: &'static str,
    id: Option<&RequestId>,
) -> Span {
    tracing::debug_span!(
        "call",
        endpoint = endpoint.map(field::display),
        agent = config.name,
        method,
        id = id.map(field::display),
        otel.name = field::Empty,
        otel.kind = field::Empty,
    )
}

fn method(body: &Body) -> &'static str {
    match body {
        Body::Request(Request::Process(_)) => "process",
        Body::Request(Request::Stream(_)) => "stream",
        Body::Request(Request::Execute(_)) => "execute",
        other => other.kind().as_str(),
    }
}
