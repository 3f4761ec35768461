//! Estimates the memory usage of registrations.

use agentwire_codec::{Map, Value};

use super::Registration;

impl Registration {
    /// Returns the approximate number of bytes that the registration uses in a registry.
    ///
    /// The JSON encoding may be much smaller. For example, `0, ` has three bytes as JSON, but uses
    /// the memory of a whole [`Value`].
    pub(crate) fn approximate_size(&self) -> usize {
        // The name and the endpoint are also stored as keys of tables.
        OVERHEAD
            + 2 * (self.name.len() + self.endpoint.to_string().len())
            + self.instance.len()
            + self.machine.as_ref().map_or(0, String::len)
            + map_size(&self.capabilities)
            + map_size(&self.metadata)
    }
}

/// Returns the heap memory of a value, without the `Value` itself.
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
    // Decoded maps have no spare capacity.
    let index = if map.len() < INDEXED_LEN { 0 } else { INDEX };
    let entries = map
        .iter()
        .map(|(key, value)| allocation_size(key.len()) + value_size(value));
    allocation_size(map.len() * (size_of::<(String, Value)>() + index)) + entries.sum::<usize>()
}

fn allocation_size(bytes: usize) -> usize {
    if bytes == 0 { 0 } else { bytes + ALLOCATION }
}

/// The fixed cost of a registration, for its entries in tables and queues.
const OVERHEAD: usize = 1024;

/// The overhead of an allocation.
const ALLOCATION: usize = 16;

/// The minimum number of entries of a map with an index. The index uses `INDEX` bytes per entry.
const INDEXED_LEN: usize = 16;
const INDEX: usize = 40;
