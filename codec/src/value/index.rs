//! `value["key"]` and `value[0]`, which never panic.

use std::ops::Index;

use super::{Map, Value};

/// Returns the value under a key, or null if the key is missing; [`Map::get`] distinguishes the
/// two. It never panics.
impl Index<&str> for Map {
    type Output = Value;

    fn index(&self, key: &str) -> &Value {
        self.get(key).unwrap_or(NULL)
    }
}

/// Returns the value under a key, or null if the key is missing or this is not a map. It never
/// panics.
impl Index<&str> for Value {
    type Output = Self;

    fn index(&self, key: &str) -> &Self {
        self.get(key).unwrap_or(NULL)
    }
}

/// Returns an element, or null if the list is shorter or this is not a list. It never panics.
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
