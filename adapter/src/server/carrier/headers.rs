//! What the headers of a request say: a credential, a trace context and an idempotency key.

use std::sync::Arc;

use agentwire_codec::{Delivery, Map, TraceContext};
use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::time::Instant;

use crate::{
    Credential,
    server::service::{Caller, Carried},
    trace::{BAGGAGE, TRACEPARENT, TRACESTATE},
};

/// Returns the caller of a request, with what its headers and its deadline add to the caller of the
/// connection. Returns `None` if they add nothing.
pub(super) fn caller(
    connection: &Caller,
    headers: &HeaderMap,
    deadline: Option<Instant>,
) -> Option<Caller> {
    let credential = Credential::from_headers(headers);
    let trace = trace_context(headers);
    let idempotency_key = headers.get(IDEMPOTENCY_KEY).and_then(read_key);
    if credential.is_none() && trace.is_none() && idempotency_key.is_none() && deadline.is_none() {
        return None;
    }
    let mut caller = connection.clone();
    if credential.is_some() {
        caller.credential = credential;
    }
    caller.carried = Some(Box::new(Carried {
        trace,
        idempotency_key,
        deadline,
    }));
    Some(caller)
}

/// Reads the trace context. Two headers `traceparent` contradict each other, so they count as none;
/// several headers `tracestate` or `baggage` are one list.
fn trace_context(headers: &HeaderMap) -> Option<TraceContext> {
    let mut parents = headers.get_all(TRACEPARENT).iter();
    let (Some(parent), None) = (parents.next(), parents.next()) else {
        return None;
    };
    let mut fields = Map::from([(TRACEPARENT.as_str(), parent.to_str().ok()?)]);
    for name in [TRACESTATE, BAGGAGE] {
        let values = headers.get_all(&name).iter();
        let values: Vec<_> = values.filter_map(|value| value.to_str().ok()).collect();
        if !values.is_empty() {
            fields.insert(name.as_str(), values.join(","));
        }
    }
    Some(TraceContext::from_fields(fields))
}

/// Reads an idempotency key, which the draft of the header puts in quotes and most programs do not.
fn read_key(value: &HeaderValue) -> Option<Arc<str>> {
    let text = value.to_str().ok()?;
    let inner = text
        .strip_prefix('"')
        .and_then(|text| text.strip_suffix('"'));
    let key = inner.unwrap_or(text);
    Delivery::is_usable_key(key).then(|| key.into())
}

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pairs = pairs.iter();
        pairs
            .map(|(name, value)| {
                (
                    HeaderName::from_static(name),
                    HeaderValue::from_static(value),
                )
            })
            .collect()
    }

    #[test]
    fn lists_are_joined_and_contradictions_ignored() {
        let context = trace_context(&headers(&[
            ("traceparent", "a parent"),
            ("tracestate", "a=1"),
            ("tracestate", "b=2"),
            ("baggage", "c=3"),
        ]));
        let context = context.unwrap();
        assert_eq!(context.traceparent(), Some("a parent"));
        assert_eq!(context.tracestate(), Some("a=1,b=2"));
        let twice = headers(&[("traceparent", "a"), ("traceparent", "b")]);
        assert_eq!(trace_context(&twice), None);
        assert_eq!(trace_context(&headers(&[("tracestate", "a=1")])), None);
    }

    #[test]
    fn a_key_may_be_quoted() {
        for (text, key) in [
            ("\"k 1\"", Some("k 1")),
            ("k1", Some("k1")),
            ("\"\"", None),
            ("", None),
        ] {
            let value = HeaderValue::from_static(text);
            assert_eq!(read_key(&value).as_deref(), key);
        }
    }
}
