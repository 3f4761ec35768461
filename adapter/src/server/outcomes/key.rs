//! Whose request a key belongs to, and what the request is.

use agentwire_codec::{Body, Format, Request};

use crate::server::{owner::Owner, service::Caller};

/// Whose request has the key. Callers do not see each other's outcomes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) owner: Owner,
    pub(super) key: String,
}

impl Key {
    /// Returns the key of a request, unless the request has none.
    pub(super) fn of(body: &Body, caller: &Caller) -> Option<Self> {
        Some(Self {
            key: text_of(body, caller)?,
            owner: Owner::of(caller),
        })
    }
}

/// Returns the idempotency key of a request: that of its payload, or else that of its headers.
fn text_of(body: &Body, caller: &Caller) -> Option<String> {
    let delivery = match body {
        Body::Request(Request::Process(call) | Request::Stream(call)) => &call.delivery,
        Body::Request(Request::Execute(call)) => &call.delivery,
        _ => return None,
    };
    let carried = caller.carried.as_deref();
    let carried = carried.and_then(|carried| carried.idempotency_key.as_deref());
    delivery
        .idempotency_key
        .clone()
        .or_else(|| carried.map(str::to_owned))
}

/// Returns bytes that differ for different requests. A deadline and a trace context differ from
/// attempt to attempt, so they do not count.
pub(super) fn identity_of(body: &Body) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut put = |text: &str| {
        bytes.extend_from_slice(text.as_bytes());
        bytes.push(0xc1);
    };
    match body {
        Body::Request(request @ (Request::Process(call) | Request::Stream(call))) => {
            put(request.method().unwrap_or_default());
            put(&call.agent_name);
            put(&call.message.role);
            let content = &call.message.content;
            // A value that cannot be encoded has not been decoded either.
            let _ = Format::MessagePack.encode_value(content, &mut bytes);
        }
        Body::Request(Request::Execute(call)) => {
            put("execute");
            put(&call.tool_name);
            let kwargs = call.kwargs.clone().into();
            let _ = Format::MessagePack.encode_value(&kwargs, &mut bytes);
        }
        _ => {}
    }
    bytes
}
