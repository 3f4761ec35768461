//! Estimates what encoding an envelope takes: time and memory.

use agentwire_codec::{
    Body, Heartbeat, Map, Message, Register, Request, Response, Unregister, Value,
};

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
                self.spend_texts([result.error.as_deref()])
                    && self.spend(&result.data, 0)
                    && self.spend_map(&result.metadata, 0)
            }
            Body::Response(Response::Other(payload)) | Body::Request(Request::Other(payload)) => {
                self.spend_map(payload, 0)
            }
            Body::Request(Request::Process(call) | Request::Stream(call)) => {
                let key = call.delivery.idempotency_key.as_deref();
                self.spend_texts([Some(&*call.agent_name), key])
                    && self.spend_message(&call.message)
            }
            Body::Request(Request::Execute(execute)) => {
                let key = execute.delivery.idempotency_key.as_deref();
                self.spend_texts([Some(&*execute.tool_name), key])
                    && self.spend_map(&execute.kwargs, 0)
                    && self.spend_map(&execute.metadata, 0)
            }
            Body::Error(error) => {
                self.spend_texts([error.code.as_str(), &*error.message].map(Some))
                    && self.spend_map(&error.details, 0)
            }
            Body::Raw(raw) => self.spend_map(&raw.payload, 0) && self.spend_map(&raw.unknown, 0),
            Body::Register(register) => {
                let Register {
                    version,
                    instance,
                    machine,
                    owner,
                    ..
                } = &**register;
                self.spend_texts([&*register.agent_name, &*register.endpoint].map(Some))
                    && self.spend_texts([version, instance, machine, owner].map(Option::as_deref))
                    && self.spend_map(&register.capabilities, 0)
                    && self.spend_map(&register.metadata, 0)
            }
            Body::Heartbeat(heartbeat) => {
                let Heartbeat {
                    endpoint,
                    instance,
                    owner,
                    ..
                } = heartbeat;
                self.spend_texts([&*heartbeat.agent_name, &*heartbeat.status].map(Some))
                    && self.spend_texts([endpoint, instance, owner].map(Option::as_deref))
                    && self.spend_map(&heartbeat.metadata, 0)
            }
            Body::Unregister(unregister) => {
                let Unregister {
                    agent_name,
                    endpoint,
                    instance,
                    owner,
                    ..
                } = unregister;
                let texts = [agent_name, endpoint, instance, owner];
                self.spend_texts(texts.map(Option::as_deref))
                    && self.spend_map(&unregister.metadata, 0)
            }
            _ => true,
        }
    }

    fn spend_message(&mut self, message: &Message) -> bool {
        self.spend_texts([Some(message.role.as_str())])
            && self.spend(&message.content, 0)
            && self.spend_map(&message.metadata, 0)
    }

    /// Spends the cost of texts that are no values. Returns `false` if the budget is exhausted.
    fn spend_texts<const N: usize>(&mut self, texts: [Option<&str>; N]) -> bool {
        let bytes = texts.into_iter().flatten().map(str::len).sum::<usize>();
        self.bytes = self.bytes.saturating_add(bytes);
        let rest = self
            .left
            .checked_sub(if self.counts_text { bytes } else { 0 });
        self.left = rest.unwrap_or(0);
        rest.is_some()
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
    use agentwire_codec::{Call, EnvelopeType, Execute, RawBody, WireError};

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
    fn every_text_of_an_envelope_counts() {
        const LEN: usize = INLINE_COST + 1;
        let text = || "x".repeat(LEN);
        let call =
            |agent_name, message| Body::from(Request::Process(Call::new(agent_name, message)));
        let execute = |change: fn(&mut Execute, String)| {
            let mut execute = Execute::new("tool", Map::new());
            change(&mut execute, text());
            Body::from(Request::Execute(execute))
        };
        let register = |change: fn(&mut Register, String)| {
            let mut register = Register::new("agent", "tcp://host:1");
            change(&mut register, text());
            Body::from(register)
        };
        let mut heartbeat = Heartbeat::healthy("agent");
        heartbeat.owner = Some(text());
        let mut raw = RawBody::new(EnvelopeType::Request, Map::new());
        raw.unknown.insert("key", text());
        for (index, body) in [
            call(text(), Message::user("x")),
            call("agent".into(), Message::new(&*text(), "x")),
            call(
                "agent".into(),
                Message::user("x").with_metadata("key", text()),
            ),
            execute(|execute, text| execute.tool_name = text),
            execute(|execute, text| execute.metadata = Map::from([("key", text)])),
            execute(|execute, text| execute.kwargs = Map::from([(&*text, 0)])),
            execute(|execute, text| execute.delivery.idempotency_key = Some(text)),
            register(|register, text| register.agent_name = text),
            register(|register, text| register.machine = Some(text)),
            register(|register, text| register.capabilities = Map::from([("key", text)])),
            register(|register, text| register.metadata = Map::from([("key", text)])),
            heartbeat.into(),
            WireError::new("CODE", text()).into(),
            raw.into(),
        ]
        .iter()
        .enumerate()
        {
            assert!(approximate_memory(body, usize::MAX) >= LEN, "case {index}");
            assert!(is_costly(body), "case {index}");
        }
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
