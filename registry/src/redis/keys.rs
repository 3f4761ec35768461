//! The keys in Redis: [`Keys`].

/// All keys of a namespace. Each script receives all of them, because a cluster and Dragonfly
/// refuse scripts that access other keys.
#[derive(Debug)]
pub(super) struct Keys(pub(super) [String; 4]);

impl Keys {
    /// Returns the keys of a namespace. They have one hash tag, so a cluster stores them in one
    /// slot. A hash tag in the namespace has priority.
    pub(super) fn new(namespace: &str) -> Self {
        Self(["ids", "due", "state", "entries"].map(|key| format!("{namespace}{{agents}}:{key}")))
    }
}
