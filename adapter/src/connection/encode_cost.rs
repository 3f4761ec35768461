//! Estimates what encoding an envelope takes: time and memory.

use agentwire_codec::{Body, Map, Message, Request, Response, Value};

/// Returns whether encoding may take more than about a millisecond.
///
/// The number of visited values is bounded.
pub(crate) fn is_costly(body: &Body) -> bool {
    let mut budget = Budget {
        left: INLINE_COST,
        counts_text: true,
        bytes: 0,
    };
    !budget.spend_body(body)
}

/// Returns about how many bytes the values of an envelope take. If there are too many values to
/// visit, returns `max`.
pub(crate) fn approximate_memory(body: &Body, max: usize) -> usize {
    let mut budget = Budget {
        left: MAX_VISITED * VALUE_COST,
        counts_text: false,
        bytes: 0,
    };
    if budget.spend_body(body) {
        budget.bytes
    } else {
        max
    }
}

/// Returns about how many bytes the values of a message take, or `None` if there are too many
/// values to visit.
#[cfg(feature = "cache")]
pub(crate) fn message_memory(message: &Message) -> Option<usize> {
    let mut budget = Budget {
        left: MAX_VISITED * VALUE_COST,
        counts_text: false,
        bytes: 0,
    };
    budget.spend_message(message).then_some(budget.bytes)
}

/// A budget for visiting values. Each value costs [`VALUE_COST`].
struct Budget {
    left: usize,
    /// Whether each byte of text costs 1.
    counts_text: bool,
    /// The memory of the visited values.
    bytes: usize,
}

impl Budget {
    /// Spends the cost of an envelope. Returns `false` if the budget is exhausted.
    fn spend_body(&mut self, body: &Body) -> bool {
        match body {
            Body::Response(Response::Message(message)) | Body::StreamChunk(message) => {
                self.spend_message(message)
            }
            Body::Response(Response::Tool(result)) => {
                self.spend(&result.data, 0) && self.spend_map(&result.metadata, 0)
            }
            Body::Response(Response::Other(payload)) | Body::Request(Request::Other(payload)) => {
                self.spend_map(payload, 0)
            }
            Body::Request(Request::Process(call) | Request::Stream(call)) => {
                self.spend_message(&call.message)
            }
            Body::Request(Request::Execute(execute)) => self.spend_map(&execute.kwargs, 0),
            Body::Error(error) => self.spend_map(&error.details, 0),
            Body::Raw(raw) => self.spend_map(&raw.payload, 0),
            _ => true,
        }
    }

    fn spend_message(&mut self, message: &Message) -> bool {
        self.spend(&message.content, 0) && self.spend_map(&message.metadata, 0)
    }

    /// Spends the cost of a value. Returns `false` if the budget is exhausted or the value is
    /// nested too deeply to be encoded.
    fn spend(&mut self, value: &Value, depth: usize) -> bool {
        let bytes = match value {
            Value::Text(text) => text.len(),
            Value::Bytes(bytes) => bytes.len(),
            _ => 0,
        };
        self.take(bytes)
            && match value {
                Value::List(list) => {
                    depth < MAX_DEPTH && list.iter().all(|value| self.spend(value, depth + 1))
                }
                Value::Map(map) => self.spend_map(map, depth + 1),
                _ => true,
            }
    }

    fn spend_map(&mut self, map: &Map, depth: usize) -> bool {
        depth < MAX_DEPTH
            && map
                .iter()
                .all(|(key, value)| self.take(key.len()) && self.spend(value, depth + 1))
    }

    fn take(&mut self, bytes: usize) -> bool {
        self.bytes = self.bytes.saturating_add(size_of::<Value>() + bytes);
        let text = if self.counts_text { bytes } else { 0 };
        let rest = self.left.checked_sub(VALUE_COST.saturating_add(text));
        self.left = rest.unwrap_or(0);
        rest.is_some()
    }
}

/// The maximum cost of an envelope that is encoded inline. Encoding an ASCII text of 4 MiB takes
/// half a millisecond, or about 10 ms if all characters are escaped. Encoding 16,384 small values
/// takes about a millisecond.
const INLINE_COST: usize = 4 * 1024 * 1024;

const VALUE_COST: usize = 256;

/// The maximum number of values that are visited to estimate their memory: visiting them takes less
/// than a millisecond.
const MAX_VISITED: usize = 64 * 1024;

/// The maximum depth of the recursion. Deeper values cannot be encoded (PROTOCOL 4.8).
const MAX_DEPTH: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(content: impl Into<Value>) -> Body {
        Response::Message(Message::agent(content)).into()
    }

    #[test]
    fn usual_messages_and_large_texts_are_cheap() {
        assert!(!is_costly(&reply("hello")));
        assert!(!is_costly(&reply("x".repeat(1024 * 1024))));
        assert!(!is_costly(&Body::StreamEnd));
    }

    #[test]
    fn many_values_and_huge_texts_are_costly() {
        assert!(is_costly(&reply("x".repeat(INLINE_COST))));
        let many: Value = (0..20_000).map(Value::from).collect();
        assert!(is_costly(&reply(many.clone())));
        let nested = Message::agent("x").with_metadata("list", Value::List(vec![many]));
        assert!(is_costly(&Body::StreamChunk(nested)));
    }

    #[test]
    fn a_value_of_any_depth_is_estimated_without_deep_recursion() {
        let deep = (0..10_000).fold(Value::Null, |inner, _| Value::List(vec![inner]));
        let body = reply(deep);
        assert!(is_costly(&body));
        // Dropping a deeply nested value also recurses.
        std::mem::forget(body);
    }
}
