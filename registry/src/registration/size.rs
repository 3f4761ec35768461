//! Estimates how much memory a registration takes.

use agentwire_codec::{Map, Value};

use super::Registration;

impl Registration {
    /// Returns about how many bytes of memory the registration takes in a registry.
    ///
    /// JSON of the same content may be far shorter: `0, ` is three bytes of JSON and a whole
    /// [`Value`].
    pub(crate) fn approximate_size(&self) -> usize {
        // The name and the endpoint are also keys of the tables.
        OVERHEAD
            + 2 * (self.name.len() + self.endpoint.to_string().len())
            + self.instance.len()
            + self.machine.as_ref().map_or(0, String::len)
            + map_size(&self.capabilities)
            + map_size(&self.metadata)
    }
}

/// Returns what a value takes on the heap, without the `Value` itself.
fn value_size(value: &Value) -> usize {
    match value {
        Value::Text(text) => allocation_size(text.capacity()),
        Value::Bytes(bytes) => allocation_size(bytes.len()),
        Value::List(list) => {
            let elements = allocation_size(list.capacity() * size_of::<Value>());
            elements + list.iter().map(value_size).sum::<usize>()
        }
        Value::Map(map) => map_size(map),
        _ => 0,
    }
}

fn map_size(map: &Map) -> usize {
    if map.is_empty() {
        return 0;
    }
    // A decoded map has no spare capacity.
    let index = if map.len() < INDEXED_LEN { 0 } else { INDEX };
    let entries = map
        .iter()
        .map(|(key, value)| allocation_size(key.len()) + value_size(value));
    allocation_size(map.len() * (size_of::<(String, Value)>() + index)) + entries.sum::<usize>()
}

fn allocation_size(bytes: usize) -> usize {
    if bytes == 0 { 0 } else { bytes + ALLOCATION }
}

/// The fixed cost of a registration: its entries in tables and queues.
const OVERHEAD: usize = 1024;

/// The overhead of an allocation.
const ALLOCATION: usize = 16;

/// A map of this many entries or more has an index, which takes `INDEX` bytes for each of them.
const INDEXED_LEN: usize = 16;
const INDEX: usize = 40;
