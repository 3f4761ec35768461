//! The trace context of a request: [`TraceContext`].

use std::fmt;

use crate::{Map, Value, json};

/// The trace context of a request, as [W3C Trace Context] defines it ([PROTOCOL 16.1]).
///
/// A message carries the context as the map `trace_context` in its metadata, with the texts
/// `traceparent` and `tracestate`. All other keys, such as `baggage`, are kept. A context that
/// cannot be parsed is also kept unchanged, so that it can be passed on.
///
/// ```
/// # mod agentwire { pub use agentwire_codec::*; }
/// use agentwire::{Message, TraceContext};
///
/// let text = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
/// let context = TraceContext::from_traceparent(text);
/// assert!(context.is_valid() && context.is_sampled());
///
/// let mut message = Message::user("hello");
/// context.write_to(&mut message.metadata);
/// assert_eq!(message.metadata["trace_context"]["traceparent"], text);
/// assert_eq!(TraceContext::read_from(&message.metadata), Some(context));
/// ```
///
/// [W3C Trace Context]: https://www.w3.org/TR/trace-context/
/// [PROTOCOL 16.1]: https://github.com/agentwire/agentwire/blob/main/PROTOCOL.md#16-keys-of-our-own
#[derive(Clone, PartialEq, Eq)]
pub struct TraceContext {
    fields: Map,
    parent: Option<Parent>,
}

/// The parts of a valid `traceparent`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Parent {
    trace_id: [u8; 16],
    span_id: [u8; 8],
    flags: u8,
}

impl TraceContext {
    /// Creates a context from its parts. The context is not [valid](Self::is_valid) if an id is
    /// zero.
    #[must_use]
    pub fn new(trace_id: [u8; 16], span_id: [u8; 8], is_sampled: bool) -> Self {
        let parent = Parent {
            trace_id,
            span_id,
            flags: u8::from(is_sampled),
        };
        Self::from_traceparent(&parent.to_string())
    }

    /// Creates a context from the text `traceparent`, which is kept even if it is not valid.
    #[must_use]
    pub fn from_traceparent(traceparent: &str) -> Self {
        Self::from_fields(Map::from([("traceparent", traceparent)]))
    }

    /// Creates a context from the map `trace_context` of a message.
    #[must_use]
    pub fn from_fields(fields: Map) -> Self {
        let parent = fields.get("traceparent").and_then(Value::as_str);
        Self {
            parent: parent.and_then(Parent::parse),
            fields,
        }
    }

    /// Reads the context from the metadata of a message. Returns `None` if there is none.
    ///
    /// The metadata of gRPC is text ([PROTOCOL 15.3]), so the map may also be the text of a JSON
    /// object, or of a Python dictionary with the same keys.
    ///
    /// [PROTOCOL 15.3]: https://github.com/agentwire/agentwire/blob/main/PROTOCOL.md#15-other-carriers
    #[must_use]
    pub fn read_from(metadata: &Map) -> Option<Self> {
        match metadata.get(TRACE_CONTEXT)? {
            Value::Map(fields) => Some(Self::from_fields(fields.clone())),
            Value::Text(text) => Some(Self::from_fields(read_text(text)?)),
            _ => None,
        }
    }

    /// Writes the context to the metadata of a message. Replaces an earlier context.
    pub fn write_to(&self, metadata: &mut Map) {
        metadata.insert(TRACE_CONTEXT, self.fields.clone());
    }

    /// Sets the text `tracestate`.
    #[must_use]
    pub fn with_tracestate(mut self, tracestate: impl Into<String>) -> Self {
        self.fields.insert("tracestate", tracestate.into());
        self
    }

    /// Returns the context of a child of this one. All fields except `traceparent` are kept.
    #[must_use]
    pub fn with_span(mut self, trace_id: [u8; 16], span_id: [u8; 8], is_sampled: bool) -> Self {
        let child = Self::new(trace_id, span_id, is_sampled);
        self.fields.extend(child.fields);
        self.parent = child.parent;
        self
    }

    /// Returns whether `traceparent` is valid.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        self.parent.is_some()
    }

    /// Returns the text `traceparent` unchanged, or `None` if there is none.
    #[must_use]
    pub fn traceparent(&self) -> Option<&str> {
        self.fields.get("traceparent")?.as_str()
    }

    /// Returns the text `tracestate` unchanged, or `None` if there is none.
    #[must_use]
    pub fn tracestate(&self) -> Option<&str> {
        self.fields.get("tracestate")?.as_str()
    }

    /// Returns the text of any field, such as `baggage`, or `None` if there is none.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.get(name)?.as_str()
    }

    /// Returns the id of the trace, or `None` if the context is not valid.
    #[must_use]
    pub fn trace_id(&self) -> Option<[u8; 16]> {
        Some(self.parent?.trace_id)
    }

    /// Returns the id of the parent span, or `None` if the context is not valid.
    #[must_use]
    pub fn span_id(&self) -> Option<[u8; 8]> {
        Some(self.parent?.span_id)
    }

    /// Returns whether the caller records the trace.
    #[must_use]
    pub fn is_sampled(&self) -> bool {
        self.parent.is_some_and(|parent| parent.flags & 1 == 1)
    }
}

impl Parent {
    /// Parses a `traceparent`. Later versions may have more fields, which are ignored.
    fn parse(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        if bytes.len() < LEN || [2, 35, 52].iter().any(|&dash| bytes[dash] != b'-') {
            return None;
        }
        let [version] = hex(&bytes[..2])?;
        let is_exact = bytes.len() == LEN;
        let is_longer = version > 0 && bytes.get(LEN) == Some(&b'-');
        if version == 0xff || !(is_exact || is_longer) {
            return None;
        }
        let parent = Self {
            trace_id: hex(&bytes[3..35])?,
            span_id: hex(&bytes[36..52])?,
            flags: hex::<1>(&bytes[53..55])?[0],
        };
        (parent.trace_id != [0; 16] && parent.span_id != [0; 8]).then_some(parent)
    }
}

/// Formats the parts as a `traceparent` of version 00.
impl fmt::Display for Parent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let trace_id = u128::from_be_bytes(self.trace_id);
        let span_id = u64::from_be_bytes(self.span_id);
        write!(f, "00-{trace_id:032x}-{span_id:016x}-{:02x}", self.flags)
    }
}

impl fmt::Debug for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.parent {
            Some(parent) => write!(f, "TraceContext({parent})"),
            None => f.write_str("TraceContext(invalid)"),
        }
    }
}

/// Reads a map that a carrier has written as text.
fn read_text(text: &str) -> Option<Map> {
    if text.len() > MAX_TEXT || !text.starts_with('{') {
        return None;
    }
    let value = json::from_slice(text.as_bytes()).or_else(|error| {
        // Python's client for gRPC writes `str(dict)`.
        if text.contains('"') {
            return Err(error);
        }
        json::from_slice(text.replace('\'', "\"").as_bytes())
    });
    match value {
        Ok(Value::Map(fields)) => Some(fields),
        _ => None,
    }
}

/// Parses lower-case hexadecimal digits, as the standard requires.
fn hex<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

const TRACE_CONTEXT: &str = "trace_context";

/// The maximum length of a context as text: that of the headers with the longest allowed values,
/// and some other fields.
const MAX_TEXT: usize = 16 * 1024;

/// The length of a `traceparent` of version 00.
const LEN: usize = 55;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::map;

    const VALID: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_valid_context_has_its_parts() {
        let context = TraceContext::from_traceparent(VALID);
        assert_eq!(context.trace_id().unwrap()[..2], [0x0a, 0xf7]);
        assert_eq!(context.span_id().unwrap()[..2], [0xb7, 0xad]);
        assert!(context.is_sampled());
        let again = TraceContext::new(
            context.trace_id().unwrap(),
            context.span_id().unwrap(),
            true,
        );
        assert_eq!(again, context);
        let not_sampled = VALID.replace("-01", "-00");
        assert!(!TraceContext::from_traceparent(&not_sampled).is_sampled());
    }

    #[test]
    fn only_what_the_standard_allows_is_valid() {
        let later = format!("{}-more", VALID.replacen("00", "cc", 1));
        assert!(TraceContext::from_traceparent(&later).is_valid());
        for invalid in [
            "",
            "00",
            &VALID[..54],
            &format!("{VALID}-more"),
            &format!("{VALID}0"),
            &format!("{}more", VALID.replacen("00", "cc", 1)),
            &VALID.replacen("00", "ff", 1),
            &VALID.replacen("00", "0g", 1),
            &VALID.to_uppercase(),
            &VALID.replace("0af7651916cd43dd8448eb211c80319c", &"0".repeat(32)),
            &VALID.replace("b7ad6b7169203331", &"0".repeat(16)),
            &VALID.replacen('-', "_", 1),
            &"é".repeat(40),
        ] {
            let context = TraceContext::from_traceparent(invalid);
            assert!(!context.is_valid(), "{invalid}");
            assert_eq!(context.traceparent(), Some(invalid), "it is kept");
        }
    }

    #[test]
    fn other_fields_and_other_values_are_kept() {
        let metadata = map! {
            "trace_context": {"traceparent": 7, "tracestate": "a=1", "baggage": "b=2"},
        };
        let context = TraceContext::read_from(&metadata).unwrap();
        assert!(!context.is_valid());
        assert_eq!(context.tracestate(), Some("a=1"));
        assert_eq!(context.field("baggage"), Some("b=2"));
        let mut copy = Map::new();
        context.write_to(&mut copy);
        assert_eq!(copy, metadata);
        let child = context.with_span([1; 16], [2; 8], true);
        child.write_to(&mut copy);
        assert_eq!(copy["trace_context"]["baggage"], "b=2");
        assert!(TraceContext::read_from(&copy).unwrap().is_valid());
        assert_eq!(
            TraceContext::read_from(&map! {"trace_context": "text"}),
            None
        );
        assert_eq!(TraceContext::read_from(&Map::new()), None);
    }

    #[test]
    fn a_context_that_a_carrier_has_written_as_text_is_read() {
        let fields = map! {"traceparent": VALID, "tracestate": "a=1"};
        let expected = TraceContext::from_fields(fields);
        for text in [
            format!(r#"{{"traceparent": "{VALID}", "tracestate": "a=1"}}"#),
            format!("{{'traceparent': '{VALID}', 'tracestate': 'a=1'}}"),
        ] {
            let metadata = map! {"trace_context": (text.as_str())};
            assert_eq!(TraceContext::read_from(&metadata), Some(expected.clone()));
        }
        for text in [
            "{",
            "7",
            "['traceparent']",
            "{'a': 'it\"s'}",
            &format!("{{\"traceparent\": \"{}\"}}", "0".repeat(MAX_TEXT)),
        ] {
            let metadata = map! {"trace_context": text};
            assert_eq!(TraceContext::read_from(&metadata), None, "{text}");
        }
    }
}
