//! The results of tools.

use std::fmt;

use agentwire_text::Untrusted;
use serde::{Serialize, de::DeserializeOwned};

use crate::{Map, Value, ValueError, fingerprint::PrivateText, from_value, to_value};

/// The result of a tool ([PROTOCOL 3]).
///
/// ```
/// # mod agentwire { pub use agentwire_codec::*; }
/// use agentwire::{ToolResult, from_value};
///
/// let result = ToolResult::success(vec![3, 4]);
/// assert_eq!(result.parse::<(u8, u8)>()?, (3, 4));
///
/// let failure = ToolResult::failure("no such city").into_result().unwrap_err();
/// assert_eq!(failure.to_string(), "no such city");
/// # Ok::<(), agentwire::ValueError>(())
/// ```
///
/// Like [`Message`](crate::Message), `ToolResult` implements serde's `Serialize` and `Deserialize`
/// in the same form as on the wire.
///
/// [PROTOCOL 3]: https://github.com/agentwire/agentwire/blob/main/PROTOCOL.md#3-messages-and-tool-results
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ToolResult {
    /// Whether the tool succeeded.
    pub success: bool,
    /// The output of the tool.
    pub data: Value,
    /// The reason why the tool failed. A failure must have a reason.
    pub error: Option<String>,
    /// Additional information about the execution.
    pub metadata: Map,
}

impl ToolResult {
    /// Creates the result of a successful execution.
    #[must_use]
    pub fn success(data: impl Into<Value>) -> Self {
        Self {
            success: true,
            data: data.into(),
            error: None,
            metadata: Map::new(),
        }
    }

    /// Creates the result of a successful execution from any data that serde can serialize.
    ///
    /// # Errors
    ///
    /// Returns an error if [`to_value`] fails.
    pub fn success_from<T: Serialize>(data: T) -> Result<Self, ValueError> {
        to_value(data).map(Self::success)
    }

    /// Creates the result of a failed execution. `error` is the reason.
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

    /// Parses the data into any type that serde can deserialize, even if the tool failed.
    ///
    /// # Errors
    ///
    /// Returns an error if the data does not fit `T`. The error states what `T` expects and what
    /// the data is.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, ValueError> {
        from_value(self.data.clone())
    }

    /// Converts a success into `Ok` with the data, and a failure into `Err`.
    ///
    /// # Errors
    ///
    /// Returns [`ToolFailure`] if [`success`](Self::success) is false.
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

/// Formats the structure without the content. The alternate form `{:#?}` shows the content too. See
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

/// The error for a failed [`ToolResult`].
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[error("{}", Untrusted(error))]
pub struct ToolFailure {
    /// The reason why the tool failed.
    pub error: String,
    /// The output that the tool returned despite the failure, which is often null.
    pub data: Value,
    /// Additional information about the execution.
    pub metadata: Map,
}

/// Formats the structure without the content. The alternate form `{:#?}` shows the content too. See
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
