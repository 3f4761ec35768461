//! The wire format of queries (PROTOCOL 12).

use agentwire_codec::{Map, Value};

use super::{Query, capability::Path};
use crate::error::FieldError;

pub(crate) fn to_map(query: &Query) -> Map {
    let mut map = Map::new();
    if let Some(name) = &query.name {
        map.insert("name", &**name);
    }
    if !query.capabilities.is_empty() {
        let paths = query.capabilities.iter();
        let paths = paths.map(|path| path.iter().map(|key| &**key).collect::<Value>());
        map.insert("capabilities", paths.collect::<Value>());
    }
    if let Some(version) = &query.version {
        // An invalid requirement is sent unchanged, so that the server refuses it.
        let text = match version.as_result() {
            Ok(requirement) => requirement.to_string(),
            Err(text) => text.to_owned(),
        };
        map.insert("version", text);
    }
    if !query.metadata.is_empty() {
        map.insert("metadata", query.metadata.clone());
    }
    map
}

pub(crate) fn from_map(map: &Map) -> Result<Query, FieldError> {
    let present = |key| map.get(key).filter(|value| !value.is_null());
    let mut query = Query::new();
    if let Some(name) = present("name") {
        let name = name.as_str().ok_or(FieldError::new("name", "text"))?;
        query.name = Some(name.to_owned());
    }
    if let Some(paths) = present("capabilities") {
        let problem = FieldError::new("capabilities", "a list of at most 32 texts or lists");
        let paths = paths
            .as_list()
            .filter(|paths| paths.len() <= MAX_CONDITIONS)
            .ok_or(problem.clone())?;
        for path in paths {
            query
                .capabilities
                .push(read_path(path).ok_or(problem.clone())?);
        }
    }
    if let Some(version) = present("version") {
        let requirement = version.as_str().ok_or(INVALID_VERSION)?;
        query = query.version(requirement);
        query.find_problem().map_or(Ok(()), Err)?;
    }
    if let Some(metadata) = present("metadata") {
        let metadata = metadata.as_map().filter(|map| map.len() <= MAX_CONDITIONS);
        let problem = FieldError::new("metadata", "an object of at most 32 entries");
        query.metadata = metadata.ok_or(problem)?.clone();
    }
    Ok(query)
}

fn read_path(path: &Value) -> Option<Path> {
    match path {
        Value::Text(text) => Some(text.split('.').map(str::to_owned).collect()),
        Value::List(keys) => keys
            .iter()
            .map(|key| key.as_str().map(str::to_owned))
            .collect(),
        _ => None,
    }
}

pub(super) const INVALID_VERSION: FieldError =
    FieldError::new("version", "a version requirement such as \"^1.2\"");

/// The maximum numbers of capabilities and metadata entries in a received query. The numbers are
/// limited because each condition is compared with every registration.
const MAX_CONDITIONS: usize = 32;

#[cfg(test)]
mod tests {
    use agentwire_codec::map;

    use super::*;
    use crate::backend::QueryExt;

    #[test]
    fn a_query_survives_the_round_trip() {
        let query = Query::new()
            .name("weather")
            .capability("languages.ja")
            .capability_path(["a.b"])
            .tool("forecast")
            .version(">=1.2, <3")
            .metadata("zone", "b");
        assert_eq!(Query::from_map(&query.to_map()).unwrap(), query);
        assert_eq!(Query::new().to_map(), Map::new());
        assert_eq!(Query::from_map(&Map::new()).unwrap(), Query::new());
    }

    #[test]
    fn a_capability_may_be_text_with_dots() {
        let read = Query::from_map(&map! {"capabilities": ["languages.ja"], "name": null});
        assert_eq!(read.unwrap(), Query::new().capability("languages.ja"));
    }

    #[test]
    fn an_error_names_the_field() {
        let many = vec![Value::from("a"); MAX_CONDITIONS + 1];
        let wide: Map = (0..=MAX_CONDITIONS).map(|i| (i.to_string(), i)).collect();
        for (field, value) in [
            ("name", Value::from(7)),
            ("capabilities", "a".into()),
            ("capabilities", vec![Value::from(7)].into()),
            ("capabilities", vec![Value::from(vec![7])].into()),
            ("capabilities", many.into()),
            ("version", "one".into()),
            ("version", 1.into()),
            ("metadata", "zone".into()),
            ("metadata", wide.into()),
        ] {
            let error = Query::from_map(&Map::from([(field, value)])).unwrap_err();
            assert_eq!(error.field(), field);
        }
    }
}
