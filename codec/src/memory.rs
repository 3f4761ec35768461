//! The memory that decoded values take: a meter for readers, and a bound that is known before
//! anything is decoded.
//!
//! Each node of a value is charged a constant that covers its place in its container, the spare
//! capacity of the container, and the overhead of the allocator. The bytes of texts are covered by
//! the length of the payload.

use crate::{Format, json, msgpack};

/// Counts the memory that values take while they are decoded.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Meter {
    limit: usize,
    left: usize,
}

/// The memory that the decoded values may take is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MemoryExceeded {
    pub(crate) limit: usize,
}

/// What the parts of a value cost in one format. The formats differ in how containers grow.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Costs {
    /// A list that is not empty, without its elements.
    pub(crate) list: usize,
    /// An element of a list.
    pub(crate) element: usize,
    /// A map that is not empty, without its entries.
    pub(crate) map: usize,
    /// An entry of a map, with its key.
    pub(crate) entry: usize,
    /// A text or bytes, without their content.
    pub(crate) text: usize,
}

impl Meter {
    /// Creates a meter for a payload of `len` bytes.
    pub(crate) fn new(limit: usize, len: usize) -> Self {
        Self {
            limit,
            left: limit.saturating_sub(len),
        }
    }

    /// Charges for a part of a value that is kept.
    pub(crate) fn charge(&mut self, bytes: usize) -> Result<(), MemoryExceeded> {
        match self.left.checked_sub(bytes) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => Err(MemoryExceeded { limit: self.limit }),
        }
    }

    /// Returns how much was charged, with the length of the payload.
    pub(crate) fn used(&self) -> usize {
        self.limit - self.left
    }
}

/// An upper bound of the memory that an envelope takes when it is decoded, found by one fast pass
/// over its payload.
///
/// The pass may follow a payload that is still arriving, and may be divided into steps. It does not
/// check the payload. The bound of a payload that is not valid has no meaning.
///
/// ```
/// use agentwire_codec::{Format, MemoryBound};
///
/// let payload = br#"{"numbers": [1, 2, 3]}"#;
/// let mut bound = MemoryBound::new(Format::Json);
/// bound.scan(&payload[..10], usize::MAX);
/// bound.scan(payload, usize::MAX);
/// assert_eq!(bound.bytes(), Format::Json.memory_bound(payload));
/// ```
#[derive(Debug, Clone)]
pub struct MemoryBound {
    format: Format,
    /// How many bytes of the payload were scanned.
    pub(crate) offset: usize,
    /// Whether `offset` is inside a text of JSON.
    pub(crate) in_text: bool,
    pub(crate) counts: Counts,
}

/// How many parts of each kind a payload seems to have.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counts {
    /// Lists that are not empty.
    pub(crate) lists: usize,
    /// Maps that are not empty.
    pub(crate) maps: usize,
    /// Elements of lists and entries of maps; in MessagePack, the keys of maps as well.
    pub(crate) children: usize,
    /// Entries of maps.
    pub(crate) entries: usize,
    /// Texts, with the keys of maps, and bytes.
    pub(crate) texts: usize,
}

impl MemoryBound {
    /// Starts a pass over a payload of this format.
    #[must_use]
    pub fn new(format: Format) -> Self {
        Self {
            format,
            offset: 0,
            in_text: false,
            counts: Counts::default(),
        }
    }

    /// Continues the pass. `arrived` holds the payload from its first byte to the last that has
    /// arrived. The pass stops after about `at_most` further bytes. Returns whether it has
    /// reached the end of `arrived`; a token whose end has not arrived is left for the next call.
    pub fn scan(&mut self, arrived: &[u8], at_most: usize) -> bool {
        let end = self.offset.saturating_add(at_most).min(arrived.len());
        match self.format {
            Format::Json => json::scan_memory(self, arrived, end),
            Format::MessagePack => msgpack::scan_memory(self, arrived, end),
        }
        end == arrived.len()
    }

    /// Returns the bound for the part of the payload that was scanned.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let costs = match self.format {
            Format::Json => json::COSTS,
            Format::MessagePack => msgpack::COSTS,
        };
        let counts = self.counts;
        let keys = match self.format {
            Format::Json => 0,
            Format::MessagePack => counts.entries,
        };
        let elements = counts.children.saturating_sub(counts.entries);
        [
            (counts.lists, costs.list),
            (elements.saturating_sub(keys), costs.element),
            (counts.maps, costs.map),
            (counts.entries, costs.entry),
            (counts.texts.saturating_sub(counts.entries), costs.text),
        ]
        .into_iter()
        .fold(self.offset, |sum, (count, cost)| {
            sum.saturating_add(count.saturating_mul(cost))
        })
    }
}

/// The memory that the values of a decoded payload may take unless another limit is set: 128 MiB.
///
/// The envelopes of 10 MiB that applications send stay far below. A payload made of millions of
/// tiny values exceeds it: ten million zeros would take 400 MB.
pub const DEFAULT_MEMORY_LIMIT: usize = 128 * 1024 * 1024;

/// What the allocator adds to a small allocation, rounding included.
pub(crate) const ALLOCATION: usize = 32;

/// A list of at least this many elements grows by a quarter at a time, so that little of its
/// capacity is spare.
pub(crate) const LARGE_LIST: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Call, DecodeFault, Envelope, Map, Message, Request, RequestId, Value, value};

    fn payload(format: Format, content: &Value) -> Vec<u8> {
        let request = Request::Process(Call::new("a", Message::user(content.clone())));
        let mut payload = Vec::new();
        let envelope = Envelope::new(RequestId::random(), request);
        format.encode(&envelope, &mut payload).unwrap();
        payload
    }

    fn values() -> Vec<Value> {
        let map: Map = (0..2000).map(|i| (format!("key {i}"), i)).collect();
        vec![
            Value::Null,
            "x".repeat(100_000).into(),
            "quotes \" and \\, [brackets], {braces}: \u{1f980} \n".into(),
            vec![0; 5000].into(),
            vec![Value::List(vec![]); 500].into(),
            vec![Value::from("text"); 500].into(),
            vec![value!({"a": 0}); 500].into(),
            vec![value!([[[1], [2, 3]], {"a": {"b": [1.5, -1, 70_000, "long enough to have a length byte"]}}]); 300].into(),
            map.into(),
        ]
    }

    #[test]
    fn the_bound_covers_what_is_charged_and_is_not_far_from_it() {
        for format in [Format::Json, Format::MessagePack] {
            for value in values() {
                let payload = payload(format, &value);
                let (_, memory) = format.decode_within(&payload, usize::MAX).unwrap();
                let bound = format.memory_bound(&payload);
                assert!(memory <= bound, "{memory} of {bound} for {value:?}");
                assert!(bound <= memory + 4096, "{memory} of {bound} for {value:?}");
            }
        }
    }

    #[test]
    fn the_bound_does_not_depend_on_how_the_payload_arrives() {
        for format in [Format::Json, Format::MessagePack] {
            for value in values() {
                let payload = payload(format, &value);
                for step in [1, 7, 1000] {
                    let mut bound = MemoryBound::new(format);
                    for arrived in (0..payload.len()).step_by(step) {
                        bound.scan(&payload[..arrived], usize::MAX);
                    }
                    while !bound.scan(&payload, step) {}
                    assert_eq!(bound.bytes(), format.memory_bound(&payload), "{value:?}");

                    let mut stepped = MemoryBound::new(format);
                    while !stepped.scan(&payload, step) {}
                    assert_eq!(stepped.bytes(), bound.bytes(), "{value:?}");
                }
            }
        }
    }

    #[test]
    fn a_payload_at_the_limit_is_decoded_and_one_above_is_refused_with_its_id() {
        for format in [Format::Json, Format::MessagePack] {
            for value in values() {
                let payload = payload(format, &value);
                let (envelope, memory) = format.decode_within(&payload, usize::MAX).unwrap();
                assert!(memory >= payload.len());
                assert_eq!(format.decode_within(&payload, memory).unwrap().1, memory);
                if memory == payload.len() {
                    continue;
                }
                let error = format.decode_within(&payload, memory - 1).unwrap_err();
                assert_eq!(error.id(), Some(&envelope.id));
                assert!(
                    matches!(*error.fault(), DecodeFault::Memory { limit } if limit == memory - 1),
                    "{error}"
                );
            }
        }
    }
}
