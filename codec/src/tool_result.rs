//! What a tool returns.

use std::fmt;

use agentwire_text::Untrusted;
use serde::{Serialize, de::DeserializeOwned};

use crate::{Map, Value, ValueError, fingerprint::PrivateText, from_value, to_value};

/// The result of a tool (PROTOCOL 3).
///
/// ```
/// use agentwire_codec::{ToolResult, from_value};
///
/// let result = ToolResult::success(vec![3, 4]);
/// assert_eq!(result.parse::<(u8, u8)>()?, (3, 4));
///
/// let failure = ToolResult::failure("no such city").into_result().unwrap_err();
/// assert_eq!(failure.to_string(), "no such city");
/// # Ok::<(), agentwire_codec::ValueError>(())
/// ```
///
/// Like a [`Message`](crate::Message), it implements serde's `Serialize` and `Deserialize` in the
/// shape that it has on the wire.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ToolResult {
    /// Whether the tool succeeded.
    pub success: bool,
    /// The output.
    pub data: Value,
    /// Why the tool failed. A failure must give a reason.
    pub error: Option<String>,
    /// Facts about the run.
    pub metadata: Map,
}

impl ToolResult {
    /// Creates a success.
    #[must_use]
    pub fn success(data: impl Into<Value>) -> Self {
        Self {
            success: true,
            data: data.into(),
            error: None,
            metadata: Map::new(),
        }
    }

    /// Creates a success whose data is any type that serde can serialize.
    ///
    /// # Errors
    ///
    /// The errors of [`to_value`].
    pub fn success_from<T: Serialize>(data: T) -> Result<Self, ValueError> {
        to_value(data).map(Self::success)
    }

    /// Creates a failure with its reason.
    #[must_use]
    pub fn failure(error: impl Into<String>) -> Self {
        Self {
            success: false,
            data: Value::Null,
            error: Some(error.into()),
            metadata: Map::new(),
        }
    }

    /// Adds one entry to the metadata.
    #[must_use]
    pub fn with_metadata(mut self, key: impl Into<String>, value: impl Into<Value>) -> Self {
        self.metadata.insert(key, value);
        self
    }

    /// Parses the data into any type that serde can deserialize, whether the tool succeeded or not.
    ///
    /// # Errors
    ///
    /// The errors of [`from_value`]: they say what `T` expects and what the data holds.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, ValueError> {
        from_value(self.data.clone())
    }

    /// Returns the data of a success, and turns a failure into an error.
    ///
    /// # Errors
    ///
    /// [`ToolFailure`] if [`success`](Self::success) is false.
    pub fn into_result(self) -> Result<Value, ToolFailure> {
        if self.success {
            return Ok(self.data);
        }
        Err(ToolFailure {
            error: self.error.unwrap_or_default(),
            data: self.data,
            metadata: self.metadata,
        })
    }
}

/// Shows the structure without the content; `{:#?}` shows all of the content. See
/// [`Value`](Value#impl-Debug-for-Value).
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

/// A [`ToolResult`] that is a failure, as an error.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[error("{}", Untrusted(error))]
pub struct ToolFailure {
    /// Why the tool failed.
    pub error: String,
    /// The output that the tool returned all the same, often null.
    pub data: Value,
    /// Facts about the run.
    pub metadata: Map,
}

/// Shows the structure without the content; `{:#?}` shows all of the content. See
/// [`Value`](Value#impl-Debug-for-Value).
impl fmt::Debug for ToolFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ToolFailure")
            .field("error", &PrivateText(&self.error))
            .field("data", &self.data)
            .field("metadata", &self.metadata)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_becomes_its_data_or_an_error() {
        let result = ToolResult::success_from([1, 2]).unwrap();
        assert_eq!(result.into_result().unwrap(), Value::from(vec![1, 2]));

        let mut result = ToolResult::failure("disk full").with_metadata("left", 0);
        result.data = "half".into();
        let failure = result.into_result().unwrap_err();
        assert_eq!(failure.to_string(), "disk full");
        assert_eq!(failure.data, "half");
        assert_eq!(failure.metadata["left"], 0);
        let outline = format!("{failure:?}");
        assert!(
            !outline.contains("disk") && !outline.contains("half"),
            "{outline}"
        );
    }
}
