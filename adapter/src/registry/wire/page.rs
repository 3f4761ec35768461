//! The pages of a list of registrations.

use std::{cmp::Ordering, sync::Arc};

use agentwire_codec::{Map, Value, json, map};
use agentwire_registry::{
    Registration,
    backend::{FieldError, RegistrationExt},
};

/// A page of registrations that fits into a frame. A budget limits the length of the page as JSON,
/// but the first registration is always accepted.
#[derive(Debug)]
pub(in crate::registry) struct Page {
    list: Vec<Value>,
    /// The length of the registrations as JSON, in bytes.
    size: usize,
    /// The limit on `size`. Only the first registration may exceed this limit.
    budget: usize,
    scratch: Vec<u8>,
}

#[derive(Debug, Clone)]
pub(in crate::registry) struct Cursor(Registration);

impl Page {
    pub(in crate::registry) fn new(budget: usize) -> Self {
        Self {
            list: Vec::new(),
            size: 0,
            budget,
            scratch: Vec::new(),
        }
    }

    /// Appends a registration, which must be portable. Returns `false` if the page is full.
    pub(in crate::registry) fn push(&mut self, registration: &Registration) -> bool {
        let value = Value::Map(registration.to_map());
        self.scratch.clear();
        // Ignore errors. If the value cannot be encoded, sending the answer fails later.
        let _ = json::write(&value, &mut self.scratch);
        let len = self.scratch.len();
        if !self.list.is_empty() && self.size + len > self.budget {
            return false;
        }
        self.size += len;
        self.list.push(value);
        true
    }

    pub(in crate::registry) fn into_list(self) -> Value {
        Value::List(self.list)
    }
}

impl Cursor {
    /// Encodes the cursor for the page after `last`. The server sends the cursor in an answer, and
    /// the client returns it in the request for the next page.
    pub(in crate::registry) fn to_map(last: &Registration) -> Map {
        let mut map = map! {"name": (&*last.name), "endpoint": (last.endpoint.to_string())};
        if let Some(version) = &last.version {
            map.insert("version", version.to_string());
        }
        map
    }

    /// Decodes the cursor of a request, if there is one.
    pub(in crate::registry) fn read(payload: &Map) -> Result<Option<Self>, FieldError> {
        match payload.get("after") {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Map(after)) => Registration::from_map(after.clone())
                .map(|after| Some(Self(after)))
                .map_err(|_| FieldError::new("after", "the `next` of an answer")),
            Some(_) => Err(FieldError::new("after", "the `next` of an answer")),
        }
    }

    /// Changes the name to the one that the registry keeps.
    pub(in crate::registry) fn renamed(mut self, rename: impl FnOnce(String) -> String) -> Self {
        self.0.name = rename(std::mem::take(&mut self.0.name));
        self
    }

    /// Returns the name of the last registration of the previous page.
    pub(in crate::registry) fn name(&self) -> &str {
        &self.0.name
    }

    /// Removes all registrations up to and including the cursor from an ordered list.
    pub(in crate::registry) fn skip(&self, registrations: &mut Vec<Arc<Registration>>) {
        let is_listed = |registration: &Arc<Registration>| {
            registration.listing_order(&self.0) != Ordering::Greater
        };
        let listed = registrations.partition_point(is_listed);
        registrations.drain(..listed);
    }
}

/// Decodes a list of registrations, and omits registrations whose endpoints this process cannot
/// call. The returned length of the list includes omitted registrations.
pub(in crate::registry) fn read_page(
    payload: &mut Map,
) -> Result<(Vec<Arc<Registration>>, usize), FieldError> {
    let list = payload.get_mut("registrations").map(std::mem::take);
    let Some(Value::List(list)) = list else {
        return Err(FieldError::new("registrations", "a list"));
    };
    let len = list.len();
    let mut page = Vec::with_capacity(len);
    for value in list {
        let Value::Map(map) = value else {
            return Err(FieldError::new("registrations", "a list of objects"));
        };
        match Registration::from_map(map) {
            Ok(registration) => page.push(Arc::new(registration)),
            Err(error) if error.field() == "endpoint" => {
                tracing::debug!("ignoring a registration with an unsupported endpoint");
            }
            Err(error) => return Err(error),
        }
    }
    Ok((page, len))
}

#[cfg(test)]
mod tests {
    use agentwire_codec::Timestamp;

    use super::*;

    fn agents(count: usize) -> Vec<Arc<Registration>> {
        let made = (0..count).map(|number| {
            let endpoint = format!("tcp://host:{}", 1000 + number).parse().unwrap();
            let time: Timestamp = "2025-11-08T12:34:56+00:00".parse().unwrap();
            // All registrations have the same length.
            Arc::new(
                Registration::new(format!("agent {number:03}"), endpoint).with_registered_at(time),
            )
        });
        made.collect()
    }

    #[test]
    fn a_page_is_full_at_its_budget_but_holds_one_registration() {
        let all = agents(100);
        let one = Value::Map(all[0].to_map()).to_string().len();
        for (budget, expected) in [(0, 1), (one, 1), (10 * one + 9, 10), (usize::MAX, 100)] {
            let mut page = Page::new(budget);
            let pushed = all.iter().take_while(|agent| page.push(agent)).count();
            assert_eq!(pushed, expected, "of a budget of {budget}");
            assert_eq!(page.into_list().as_list().unwrap().len(), expected);
        }
    }

    #[test]
    fn a_cursor_continues_after_its_registration_even_if_that_is_gone() {
        let all = agents(10);
        let request = map! {"after": (Cursor::to_map(&all[3]))};
        let cursor = Cursor::read(&request).unwrap().unwrap();
        for mut list in [all.clone(), [&all[..3], &all[4..]].concat()] {
            cursor.skip(&mut list);
            assert_eq!(list.len(), 6);
            assert!(list[0].is_same_offer(&all[4]));
        }
        assert!(Cursor::read(&Map::new()).unwrap().is_none());
        for nonsense in [Value::from(7), map! {"name": "x"}.into()] {
            assert!(Cursor::read(&map! {"after": nonsense}).is_err());
        }
    }

    #[test]
    fn an_unsupported_endpoint_does_not_hide_other_registrations() {
        let list = value_of(agents(2), "h3://host:80");
        let (page, len) = read_page(&mut map! {"registrations": list}).unwrap();
        assert_eq!((page.len(), len), (2, 3));
        for nonsense in [
            Value::Null,
            7.into(),
            vec![7].into(),
            vec![Map::new()].into(),
        ] {
            assert!(read_page(&mut map! {"registrations": nonsense}).is_err());
        }
    }

    fn value_of(agents: Vec<Arc<Registration>>, odd: &str) -> Value {
        let mut list: Vec<Map> = agents.iter().map(|agent| agent.to_map()).collect();
        list.insert(1, map! {"name": "odd", "endpoint": odd});
        list.into()
    }
}
