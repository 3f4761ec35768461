//! The headers of a trace context.

use agentwire_codec::TraceContext;
use http::{HeaderMap, HeaderName, HeaderValue};

/// Writes a trace context to the headers of a request, so that gateways and servers of other kinds
/// see it. A context that W3C does not allow is not written.
pub(crate) fn write_headers(trace: &TraceContext, headers: &mut HeaderMap) {
    if !trace.is_valid() {
        return;
    }
    for (name, value) in [
        (TRACEPARENT, trace.traceparent()),
        (TRACESTATE, trace.tracestate()),
        (BAGGAGE, trace.field("baggage")),
    ] {
        // A text that is no header, such as one with a line break, is left out.
        let value = value.and_then(|value| HeaderValue::from_str(value).ok());
        if let Some(value) = value {
            headers.insert(name, value);
        }
    }
}

pub(crate) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
pub(crate) const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
pub(crate) const BAGGAGE: HeaderName = HeaderName::from_static("baggage");
