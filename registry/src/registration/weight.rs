use agentwire_codec::{Map, Value};

use super::Registration;

/// What a registry needs for one besides what it says: its places in tables and queues.
const PLACES: usize = 1024;

/// What an allocation costs besides its bytes.
const ALLOCATION: usize = 16;

/// From how many entries on a map has an index, and what that takes for each.
const INDEXED_LEN: usize = 16;
const INDEX: usize = 40;

impl Registration {
    /// About how many bytes of memory it takes in a registry. JSON of the same content may be far shorter: `0, ` is
    /// three bytes of it and a whole [`Value`].
    pub(crate) fn weight(&self) -> usize {
        // The name and the endpoint are keys, too.
        PLACES
            + 2 * (self.name.len() + self.endpoint.to_string().len())
            + self.instance.len()
            + of_map(&self.capabilities)
            + of_map(&self.metadata)
    }
}

/// What a value takes behind the place where it stands.
fn of_value(value: &Value) -> usize {
    match value {
        Value::Text(text) => of_text(text.capacity()),
        Value::Bytes(bytes) => of_text(bytes.len()),
        Value::List(list) => {
            let places = of_text(list.capacity() * size_of::<Value>());
            places + list.iter().map(of_value).sum::<usize>()
        }
        Value::Map(map) => of_map(map),
        _ => 0,
    }
}

fn of_map(map: &Map) -> usize {
    if map.is_empty() {
        return 0;
    }
    // One that was read has no more places than entries.
    let index = if map.len() < INDEXED_LEN { 0 } else { INDEX };
    let entries = map
        .iter()
        .map(|(key, value)| of_text(key.len()) + of_value(value));
    of_text(map.len() * (size_of::<(String, Value)>() + index)) + entries.sum::<usize>()
}

fn of_text(bytes: usize) -> usize {
    if bytes == 0 { 0 } else { bytes + ALLOCATION }
}
