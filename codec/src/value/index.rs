//! Indexing with `value["key"]` and `value[0]`, which never panics.

use std::ops::Index;

use super::{Map, Value};

/// Returns the value for a key, or null if the map does not contain the key. Indexing never panics.
/// Use [`Map::get`] to distinguish a missing key from null.
impl Index<&str> for Map {
    type Output = Value;

    fn index(&self, key: &str) -> &Value {
        self.get(key).unwrap_or(NULL)
    }
}

/// Returns the value for a key, or null if the key is missing or the value is not a map. Indexing
/// never panics.
impl Index<&str> for Value {
    type Output = Self;

    fn index(&self, key: &str) -> &Self {
        self.get(key).unwrap_or(NULL)
    }
}

/// Returns the element at a position, or null if the position is out of bounds or the value is not
/// a list. Indexing never panics.
impl Index<usize> for Value {
    type Output = Self;

    fn index(&self, position: usize) -> &Self {
        self.as_list()
            .and_then(|list| list.get(position))
            .unwrap_or(NULL)
    }
}

const NULL: &Value = &Value::Null;

#[cfg(test)]
mod tests {

    #[test]
    fn a_path_that_does_not_exist_yields_null() {
        let value = crate::value!({"a": [{"b": 1}]});
        assert_eq!(value["a"][0]["b"].as_i64(), Some(1));
        for nowhere in [
            &value["x"],
            &value["a"][1],
            &value["a"]["b"],
            &value[0][0]["b"],
        ] {
            assert!(nowhere.is_null());
        }
    }
}
