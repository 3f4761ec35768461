use std::fmt;

use crate::{Map, Value, fingerprint::PrivateText};

/// What a tool returned (PROTOCOL 3).
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ToolResult {
    /// Whether it did what it was asked.
    pub success: bool,
    /// What came of it.
    pub data: Value,
    /// Why it failed. A failure must have it.
    pub error: Option<String>,
    /// What there is to say about it.
    pub metadata: Map,
}

impl ToolResult {
    /// A success.
    #[must_use]
    pub fn success(data: impl Into<Value>) -> Self {
        Self {
            success: true,
            data: data.into(),
            error: None,
            metadata: Map::new(),
        }
    }

    /// Adds an entry to the metadata.
    #[must_use]
    pub fn with_metadata(mut self, key: impl Into<String>, value: impl Into<Value>) -> Self {
        self.metadata.insert(key, value);
        self
    }

    /// A failure and its reason.
    #[must_use]
    pub fn failure(error: impl Into<String>) -> Self {
        Self {
            success: false,
            data: Value::Null,
            error: Some(error.into()),
            metadata: Map::new(),
        }
    }
}

/// `{:?}` shows the structure without the content, `{:#?}` all of the content, as
/// [`Value`](crate::Value#impl-Debug-for-Value) does.
impl fmt::Debug for ToolResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ToolResult")
            .field("success", &self.success)
            .field("data", &self.data)
            .field("error", &self.error.as_deref().map(PrivateText))
            .field("metadata", &self.metadata)
            .finish()
    }
}
