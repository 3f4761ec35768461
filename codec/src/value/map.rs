//! Maps that keep the order of their keys.

use std::{
    fmt,
    hash::{BuildHasher, Hash, Hasher, RandomState},
    slice, vec,
};

use hashbrown::HashTable;

use super::Value;

/// A map from text to values that preserves insertion order.
///
/// As in Python, inserting an existing key replaces the value and keeps the position. Most maps are
/// small and are searched linearly. A larger map has a hash table with a random key, so that a peer
/// cannot choose map keys that make lookups slow.
///
/// ```
/// # mod agentwire { pub use agentwire_codec::*; }
/// use agentwire::Map;
///
/// let mut map = Map::new();
/// map.insert("unit", "°C");
/// map.insert("value", 21.5);
/// assert_eq!(map.keys().collect::<Vec<_>>(), ["unit", "value"]);
/// ```
#[derive(Clone, Default)]
pub struct Map {
    entries: Vec<(String, Value)>,
    index: Option<Box<Index>>,
}

/// The hash table of a larger map, which maps keys to their positions.
#[derive(Clone, Default)]
struct Index {
    slots: HashTable<Slot>,
    hasher: RandomState,
}

#[derive(Clone, Copy)]
struct Slot {
    /// The hash of the key, which the table needs again when it grows.
    hash: u64,
    position: usize,
}

impl Map {
    /// Creates an empty map without allocating.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    pub(crate) fn with_capacity(entries: usize) -> Self {
        Self {
            entries: Vec::with_capacity(entries),
            index: None,
        }
    }

    pub(crate) fn capacity(&self) -> usize {
        self.entries.capacity()
    }

    pub(crate) fn reserve_exact(&mut self, entries: usize) {
        self.entries.reserve_exact(entries);
    }

    /// Returns the number of entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Returns true if the map contains no entries.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Returns the value for `key`.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.position(key).map(|position| &self.entries[position].1)
    }

    /// Returns a mutable reference to the value for `key`.
    pub fn get_mut(&mut self, key: &str) -> Option<&mut Value> {
        self.position(key)
            .map(|position| &mut self.entries[position].1)
    }

    /// Returns true if the map contains `key`.
    #[must_use]
    pub fn contains_key(&self, key: &str) -> bool {
        self.position(key).is_some()
    }

    /// Sets the value for `key` and returns the previous value.
    pub fn insert(&mut self, key: impl Into<String>, value: impl Into<Value>) -> Option<Value> {
        self.insert_entry(key.into(), value.into())
    }

    fn insert_entry(&mut self, key: String, value: Value) -> Option<Value> {
        let position = match &mut self.index {
            Some(index) => index.find_or_add(&self.entries, &key),
            None => self.position(&key).unwrap_or(self.entries.len()),
        };
        if let Some((_, known)) = self.entries.get_mut(position) {
            return Some(std::mem::replace(known, value));
        }
        self.entries.push((key, value));
        if self.index.is_none() && self.entries.len() >= INDEXED_LEN {
            self.reindex();
        }
        None
    }

    /// Removes `key` and returns its value.
    ///
    /// The other entries keep their order, so removal takes time proportional to the number of
    /// entries.
    pub fn remove(&mut self, key: &str) -> Option<Value> {
        let position = self.position(key)?;
        let (_, value) = self.entries.remove(position);
        self.reindex();
        Some(value)
    }

    /// Returns an iterator over the entries in insertion order.
    #[must_use]
    pub fn iter(&self) -> Entries<'_> {
        Entries(self.entries.iter())
    }

    /// Returns an iterator over the keys in insertion order.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.iter().map(|(key, _)| key)
    }

    /// Returns an iterator over the values in insertion order.
    pub fn values(&self) -> impl Iterator<Item = &Value> {
        self.iter().map(|(_, value)| value)
    }

    fn position(&self, key: &str) -> Option<usize> {
        match &self.index {
            Some(index) => index.find(&self.entries, key),
            None => self.entries.iter().position(|(known, _)| known == key),
        }
    }

    fn reindex(&mut self) {
        self.index = None;
        if self.entries.len() >= INDEXED_LEN {
            let mut index = Box::<Index>::default();
            for (position, (key, _)) in self.entries.iter().enumerate() {
                index.find_or_add(&self.entries[..position], key);
            }
            self.index = Some(index);
        }
    }
}

impl Index {
    fn find(&self, entries: &[(String, Value)], key: &str) -> Option<usize> {
        let hash = self.hasher.hash_one(key);
        let slot = self.slots.find(hash, |slot| slot.is(hash, entries, key))?;
        Some(slot.position)
    }

    /// Returns the position of `key`. A new key is added at the position after the last entry.
    fn find_or_add(&mut self, entries: &[(String, Value)], key: &str) -> usize {
        let hash = self.hasher.hash_one(key);
        let known = |slot: &Slot| slot.is(hash, entries, key);
        let new = || Slot {
            hash,
            position: entries.len(),
        };
        let slot = self
            .slots
            .entry(hash, known, |slot| slot.hash)
            .or_insert_with(new);
        slot.get().position
    }
}

impl Slot {
    fn is(&self, hash: u64, entries: &[(String, Value)], key: &str) -> bool {
        self.hash == hash && entries[self.position].0 == key
    }
}

impl PartialEq for Map {
    fn eq(&self, other: &Self) -> bool {
        self.entries == other.entries
    }
}

impl Eq for Map {}

impl Hash for Map {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.entries.hash(state);
    }
}

impl<K: Into<String>, V: Into<Value>> FromIterator<(K, V)> for Map {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        let mut map = Self::new();
        map.extend(entries);
        map
    }
}

impl<K: Into<String>, V: Into<Value>> Extend<(K, V)> for Map {
    fn extend<I: IntoIterator<Item = (K, V)>>(&mut self, entries: I) {
        for (key, value) in entries {
            self.insert(key, value);
        }
    }
}

impl<K: Into<String>, V: Into<Value>, const N: usize> From<[(K, V); N]> for Map {
    fn from(entries: [(K, V); N]) -> Self {
        entries.into_iter().collect()
    }
}

/// An iterator over the entries of a [`Map`], in insertion order.
#[derive(Clone)]
pub struct Entries<'a>(slice::Iter<'a, (String, Value)>);

impl<'a> Iterator for Entries<'a> {
    type Item = (&'a str, &'a Value);

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next().map(|(key, value)| (key.as_str(), value))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

impl ExactSizeIterator for Entries<'_> {}

/// Formats the number of remaining entries without their content.
impl fmt::Debug for Entries<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entries").field("len", &self.len()).finish()
    }
}

impl<'a> IntoIterator for &'a Map {
    type Item = (&'a str, &'a Value);
    type IntoIter = Entries<'a>;

    fn into_iter(self) -> Entries<'a> {
        self.iter()
    }
}

/// An owning iterator over the entries of a [`Map`], in insertion order.
pub struct IntoEntries(vec::IntoIter<(String, Value)>);

impl Iterator for IntoEntries {
    type Item = (String, Value);

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

impl ExactSizeIterator for IntoEntries {}

/// Formats the number of remaining entries without their content.
impl fmt::Debug for IntoEntries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IntoEntries")
            .field("len", &self.len())
            .finish()
    }
}

impl IntoIterator for Map {
    type Item = (String, Value);
    type IntoIter = IntoEntries;

    fn into_iter(self) -> IntoEntries {
        IntoEntries(self.entries.into_iter())
    }
}

/// The number of entries at which a hash table becomes faster than a linear search.
const INDEXED_LEN: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repeated_key_keeps_its_position_and_takes_the_last_value() {
        let map = Map::from([("a", 1), ("b", 2), ("a", 3)]);
        assert_eq!(map, Map::from([("a", 3), ("b", 2)]));
    }

    #[test]
    fn small_and_large_maps_behave_alike() {
        for len in [0, 1, INDEXED_LEN - 1, INDEXED_LEN, INDEXED_LEN + 1, 1000] {
            let mut map: Map = (0..len).map(|i| (format!("key {i}"), i)).collect();
            assert_eq!(map.len(), len);
            for i in 0..len {
                assert_eq!(map.get(&format!("key {i}")), Some(&Value::from(i)));
                map.insert(format!("key {i}"), -1);
            }
            assert_eq!(map.len(), len);
            assert!(map.values().all(|value| value.as_i64() == Some(-1)));
            assert!(!map.contains_key("another"));
        }
    }

    #[test]
    fn removal_keeps_the_order_of_small_and_large_maps() {
        let mut map: Map = (0..INDEXED_LEN + 2).map(|i| (i.to_string(), i)).collect();
        for i in 0..4 {
            assert_eq!(map.remove(&i.to_string()), Some(Value::from(i)));
        }
        assert_eq!(map.remove("0"), None);
        let rest: Vec<_> = (4..INDEXED_LEN + 2).map(|i| i.to_string()).collect();
        assert_eq!(map.keys().collect::<Vec<_>>(), rest);
        assert!(rest.iter().all(|key| map.contains_key(key)));
    }
}
