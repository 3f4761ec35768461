//! The messages that agents and their callers exchange.

use serde::{Serialize, de::DeserializeOwned};

use crate::{Map, Role, Timestamp, Value, ValueError, from_value, to_value};

/// A message to or from an agent ([PROTOCOL 3]).
///
/// ```
/// # mod agentwire { pub use agentwire_codec::*; }
/// use agentwire::Message;
///
/// let message = Message::user("What is the weather?").with_metadata("city", "Oslo");
/// assert_eq!(message.role, "user");
/// assert_eq!(message.content, "What is the weather?");
/// assert_eq!(message.metadata["city"], "Oslo");
/// ```
///
/// Any type that implements serde's traits can be the content of a message, and the content can be
/// parsed into such a type:
///
/// ```
/// # mod agentwire { pub use agentwire_codec::*; }
/// use agentwire::Message;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Debug, PartialEq, Serialize, Deserialize)]
/// struct Question {
///     city: String,
///     days: u8,
/// }
///
/// let question = Question { city: "Oslo".into(), days: 3 };
/// let message = Message::user_from(&question)?;
/// assert_eq!(message.content["city"], "Oslo");
/// assert_eq!(message.parse::<Question>()?, question);
/// # Ok::<(), agentwire::ValueError>(())
/// ```
///
/// `Message` itself implements serde's `Serialize` and `Deserialize` in the same form and with the
/// same rules as on the wire: a map with `role`, `content`, `metadata` and `timestamp`.
///
/// The `{:?}` output shows the role, the timestamp, and the structure of the content and metadata.
/// This output is safe to log. The `{:#?}` output shows the entire content. See
/// [`Value`](Value#impl-Debug-for-Value).
///
/// [PROTOCOL 3]: https://github.com/agentwire/agentwire/blob/main/PROTOCOL.md#3-messages-and-tool-results
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Message {
    /// The role of the sender, which must not be empty.
    pub role: Role,
    /// The content, which is usually text but can be any value.
    pub content: Value,
    /// Additional information about the message.
    pub metadata: Map,
    /// The time at which the message was written.
    pub timestamp: Timestamp,
}

impl Message {
    /// Creates a message with the given role, the current time and no metadata.
    #[must_use]
    pub fn new(role: impl Into<Role>, content: impl Into<Value>) -> Self {
        Self {
            role: role.into(),
            content: content.into(),
            metadata: Map::new(),
            timestamp: Timestamp::now(),
        }
    }

    /// Creates a message with the role `user`, which callers send.
    #[must_use]
    pub fn user(content: impl Into<Value>) -> Self {
        Self::new(Role::USER, content)
    }

    /// Creates a message with the role `agent`, which agents send in reply.
    #[must_use]
    pub fn agent(content: impl Into<Value>) -> Self {
        Self::new(Role::AGENT, content)
    }

    /// Creates a message with the role `user` from any content that serde can serialize.
    ///
    /// # Errors
    ///
    /// Returns an error if [`to_value`] fails.
    pub fn user_from<T: Serialize>(content: T) -> Result<Self, ValueError> {
        to_value(content).map(Self::user)
    }

    /// Creates a message with the role `agent` from any content that serde can serialize.
    ///
    /// # Errors
    ///
    /// Returns an error if [`to_value`] fails.
    pub fn agent_from<T: Serialize>(content: T) -> Result<Self, ValueError> {
        to_value(content).map(Self::agent)
    }

    /// Adds one entry to the metadata.
    #[must_use]
    pub fn with_metadata(mut self, key: impl Into<String>, value: impl Into<Value>) -> Self {
        self.metadata.insert(key, value);
        self
    }

    /// Sets the time at which the message was written.
    #[must_use]
    pub fn with_timestamp(mut self, timestamp: impl Into<Timestamp>) -> Self {
        self.timestamp = timestamp.into();
        self
    }

    /// Returns the content if it is text, or `None` otherwise.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        self.content.as_str()
    }

    /// Parses the content into any type that serde can deserialize.
    ///
    /// This method copies the content. To avoid the copy, use [`from_value`]`(message.content)`.
    ///
    /// # Errors
    ///
    /// Returns an error if the content does not fit `T`. The error states what `T` expects and what
    /// the content is.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, ValueError> {
        from_value(self.content.clone())
    }
}

/// Creates a message with the role `user`, like [`Message::user`].
impl From<&str> for Message {
    fn from(text: &str) -> Self {
        Self::user(text)
    }
}

/// Creates a message with the role `user`, like [`Message::user`].
impl From<String> for Message {
    fn from(text: String) -> Self {
        Self::user(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_is_the_wire_form() {
        let message =
            Message::user("é").with_timestamp("2025-11-08T12:00:00Z".parse::<Timestamp>().unwrap());
        assert_eq!(
            message.to_string(),
            r#"{"role": "user", "content": "\u00e9", "metadata": {}, "timestamp": "2025-11-08T12:00:00+00:00"}"#
        );
    }

    #[test]
    fn text_converts_into_a_message_of_role_user() {
        let message = Message::from("Oslo?");
        assert_eq!(message.role, Role::USER);
        assert_eq!(message.text(), Some("Oslo?"));
        assert_eq!(Message::from("Oslo?".to_owned()).content, message.content);
    }

    #[test]
    fn parsing_content_of_the_wrong_type_fails_and_names_both_types() {
        let error = Message::user("seven").parse::<u8>().unwrap_err();
        assert_eq!(
            error.to_string(),
            r#"invalid type: string "seven", expected u8"#
        );
    }
}
