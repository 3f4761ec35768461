//! Typed values that are attached to a request.

use std::{
    any::{Any, TypeId, type_name},
    fmt,
    sync::Arc,
};

/// The values that are attached to a [`RequestContext`](super::RequestContext), with at most one
/// value of each type.
///
/// Empty extensions do not allocate. Clones share the values until a clone is modified.
///
/// ```
/// use agentwire::RequestContext;
///
/// struct Tenant(u32);
///
/// let mut context = RequestContext::new();
/// context.extensions_mut().insert(Tenant(7));
/// assert_eq!(context.extensions().get::<Tenant>().map(|tenant| tenant.0), Some(7));
/// ```
#[derive(Clone, Default)]
pub struct Extensions(Option<Arc<Vec<Entry>>>);

#[derive(Clone)]
struct Entry {
    id: TypeId,
    type_name: &'static str,
    value: Arc<dyn Any + Send + Sync>,
}

impl Extensions {
    pub(super) const fn new() -> Self {
        Self(None)
    }

    /// Attaches a value, and replaces any existing value of the same type.
    pub fn insert<T: Send + Sync + 'static>(&mut self, value: T) {
        let entry = Entry {
            id: TypeId::of::<T>(),
            type_name: type_name::<T>(),
            value: Arc::new(value),
        };
        let entries = Arc::make_mut(self.0.get_or_insert_default());
        match entries.iter_mut().find(|known| known.id == entry.id) {
            Some(known) => *known = entry,
            None => entries.push(entry),
        }
    }

    /// Returns the value of type `T`, if there is one.
    #[must_use]
    pub fn get<T: Send + Sync + 'static>(&self) -> Option<&T> {
        // There are only a few entries, so a linear search is as fast as a map.
        let mut entries = self.0.iter().flat_map(|entries| entries.iter());
        let entry = entries.find(|entry| entry.id == TypeId::of::<T>())?;
        entry.value.downcast_ref()
    }

    /// Removes the value of type `T`. Returns whether a value was removed.
    pub fn remove<T: Send + Sync + 'static>(&mut self) -> bool {
        if self.get::<T>().is_none() {
            return false;
        }
        if let Some(entries) = &mut self.0 {
            Arc::make_mut(entries).retain(|entry| entry.id != TypeId::of::<T>());
        }
        true
    }
}

/// Prints only the types of the values, because the values may be secret.
impl fmt::Debug for Extensions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let entries = self.0.iter().flat_map(|entries| entries.iter());
        f.debug_set()
            .entries(entries.map(|entry| entry.type_name))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_found_by_its_type_and_replaced_by_the_next() {
        let mut extensions = Extensions::new();
        assert_eq!(extensions.get::<u8>(), None);
        extensions.insert(1_u8);
        extensions.insert("text");
        extensions.insert(2_u8);
        assert_eq!(extensions.get(), Some(&2_u8));
        assert_eq!(extensions.get(), Some(&"text"));
        assert!(extensions.remove::<u8>());
        assert!(!extensions.remove::<u8>());
        assert_eq!(format!("{extensions:?}"), r#"{"&str"}"#);
    }

    #[test]
    fn a_change_does_not_reach_the_clones() {
        let mut one = Extensions::new();
        one.insert(1_u8);
        let mut other = one.clone();
        other.insert(2_u8);
        assert_eq!((one.get(), other.get()), (Some(&1_u8), Some(&2_u8)));
    }
}
