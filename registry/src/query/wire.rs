use agentwire_codec::{Map, Value};

use super::{Query, capability::Path};
use crate::FieldError;

/// How many capabilities and metadata one query may ask for on a wire. Each is looked for in everything that is
/// registered.
const MAX_CONDITIONS: usize = 32;

impl Query {
    /// As it stands in the payload of a `find` (PROTOCOL 12); what is not asked for is left out.
    #[must_use]
    pub fn to_map(&self) -> Map {
        let mut map = Map::new();
        if let Some(name) = &self.name {
            map.insert("name", &**name);
        }
        if !self.capabilities.is_empty() {
            let paths = self.capabilities.iter();
            let paths = paths.map(|path| path.iter().map(|key| &**key).collect::<Value>());
            map.insert("capabilities", paths.collect::<Value>());
        }
        if let Some(version) = &self.version {
            map.insert("version", version.to_string());
        }
        if !self.metadata.is_empty() {
            map.insert("metadata", self.metadata.clone());
        }
        map
    }

    /// Reads the payload of a `find`. A capability may be a list of keys, or text with dots between them. Keys
    /// that are not known are ignored.
    ///
    /// # Errors
    ///
    /// If anything known is not what it should be, or there are more than 32 capabilities or metadata.
    pub fn from_map(map: &Map) -> Result<Self, FieldError> {
        let present = |key| map.get(key).filter(|value| !value.is_null());
        let mut query = Self::new();
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
            let problem = FieldError::new("version", "a version requirement such as \"^1.2\"");
            let version = version.as_str().and_then(|text| text.parse().ok());
            query.version = Some(version.ok_or(problem)?);
        }
        if let Some(metadata) = present("metadata") {
            let metadata = metadata.as_map().filter(|map| map.len() <= MAX_CONDITIONS);
            let problem = FieldError::new("metadata", "an object of at most 32 entries");
            query.metadata = metadata.ok_or(problem)?.clone();
        }
        Ok(query)
    }
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

#[cfg(test)]
mod tests {
    use agentwire_codec::map;

    use super::*;

    #[test]
    fn it_comes_back_as_it_was() {
        let query = Query::new()
            .name("weather")
            .capability("languages.ja")
            .capability_path(["a.b"])
            .tool("forecast")
            .version(">=1.2, <3".parse().unwrap())
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
    fn what_is_wrong_is_named() {
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
