//! Finds capabilities by their paths.

use agentwire_codec::{Map, Value};

/// The path to a capability: a list of keys, starting with the outermost key.
pub(super) type Path = Vec<String>;

/// Returns whether the value at the path exists and is neither `null` nor `false`.
///
/// In a list, a key selects a text that is equal to the key, or an object whose `name` is equal to
/// the key. For example, the path `tools` → `search` exists in `{"tools": ["search"]}`, in
/// `{"tools": [{"name": "search"}]}` and in `{"tools": {"search": {}}}`.
pub(super) fn has(capabilities: &Map, path: &[String]) -> bool {
    let Some((first, rest)) = path.split_first() else {
        return false;
    };
    capabilities
        .get(first)
        .is_some_and(|value| leads_to(value, rest))
}

fn leads_to(value: &Value, path: &[String]) -> bool {
    let Some((first, rest)) = path.split_first() else {
        return !matches!(value, Value::Null | Value::Bool(false));
    };
    match value {
        Value::Map(map) => map.get(first).is_some_and(|value| leads_to(value, rest)),
        Value::List(list) => list.iter().any(|element| match element {
            Value::Text(text) => text == first && rest.is_empty(),
            Value::Map(map) => {
                map.get("name").and_then(Value::as_str) == Some(first) && leads_to(element, rest)
            }
            _ => false,
        }),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use agentwire_codec::map;

    use super::*;

    fn found(path: &[&str]) -> bool {
        let capabilities = map! {
            "streaming": true,
            "vision": false,
            "audio": null,
            "languages": ["en", "ja"],
            "limits": {"tokens": 4096, "images": 0},
            "tools": [{"name": "search", "parameters": {"query": "text"}}, "double", 7],
        };
        let path: Path = path.iter().map(|key| (*key).to_owned()).collect();
        has(&capabilities, &path)
    }

    #[test]
    fn a_key_is_found_unless_its_value_is_false_or_null() {
        assert!(found(&["streaming"]));
        assert!(found(&["limits"]));
        assert!(!found(&["vision"]));
        assert!(!found(&["audio"]));
        assert!(!found(&["speech"]));
        assert!(!found(&[]));
    }

    #[test]
    fn a_path_leads_through_maps_and_lists() {
        for path in [
            &["languages", "ja"][..],
            &["limits", "tokens"],
            &["limits", "images"],
            &["tools", "search"],
            &["tools", "double"],
            &["tools", "search", "parameters", "query"],
        ] {
            assert!(found(path), "{path:?}");
        }
    }

    #[test]
    fn a_path_beyond_a_leaf_finds_nothing() {
        for path in [
            &["languages", "ja", "kanji"][..],
            &["languages", "fr"],
            &["streaming", "fast"],
            &["tools", "double", "parameters"],
            &["tools", "7"],
            &["search"],
        ] {
            assert!(!found(path), "{path:?}");
        }
    }
}
