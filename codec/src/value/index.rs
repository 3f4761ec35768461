use std::ops::Index;

use super::{Map, Value};

const NULL: &Value = &Value::Null;

/// The value under a key, or `null` if there is none; [`Map::get`] tells these apart.
impl Index<&str> for Map {
    type Output = Value;

    fn index(&self, key: &str) -> &Value {
        self.get(key).unwrap_or(NULL)
    }
}

/// The value under a key, or `null` if there is none or this is no map. It never panics.
impl Index<&str> for Value {
    type Output = Self;

    fn index(&self, key: &str) -> &Self {
        self.get(key).unwrap_or(NULL)
    }
}

/// An element, or `null` if there are fewer or this is no list. It never panics.
impl Index<usize> for Value {
    type Output = Self;

    fn index(&self, position: usize) -> &Self {
        self.as_list()
            .and_then(|list| list.get(position))
            .unwrap_or(NULL)
    }
}

#[cfg(test)]
mod tests {

    #[test]
    fn a_path_that_leads_nowhere_ends_in_null() {
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
