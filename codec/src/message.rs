//! What agents and their callers send each other.

use serde::{Serialize, de::DeserializeOwned};

use crate::{Map, Role, Timestamp, Value, ValueError, from_value, to_value};

/// A message to or from an agent (PROTOCOL 3).
///
/// ```
/// use agentwire_codec::Message;
///
/// let message = Message::user("What is the weather?").with_metadata("city", "Oslo");
/// assert_eq!(message.role, "user");
/// assert_eq!(message.content, "What is the weather?");
/// assert_eq!(message.metadata["city"], "Oslo");
/// ```
///
/// With serde, types of your own become the content of a message, and the content is parsed into
/// them:
///
/// ```
/// use agentwire_codec::Message;
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
/// # Ok::<(), agentwire_codec::ValueError>(())
/// ```
///
/// A message also implements serde's `Serialize` and `Deserialize`, in the shape that it has on the
/// wire and by the same rules: a map with `role`, `content`, `metadata` and `timestamp`.
///
/// `{:?}` shows the role, the time, and the structure of the rest without its content, and is safe
/// to log; `{:#?}` shows all of the content. See [`Value`](Value#impl-Debug-for-Value).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Message {
    /// The speaker. It must not be empty.
    pub role: Role,
    /// The content: usually text, but any value is allowed.
    pub content: Value,
    /// Facts about the message.
    pub metadata: Map,
    /// When the message was written.
    pub timestamp: Timestamp,
}

impl Message {
    /// Creates a message of any role, with the current time and no metadata.
    #[must_use]
    pub fn new(role: impl Into<Role>, content: impl Into<Value>) -> Self {
        Self {
            role: role.into(),
            content: content.into(),
            metadata: Map::new(),
            timestamp: Timestamp::now(),
        }
    }

    /// Creates a message of role `user`: what a caller asks.
    #[must_use]
    pub fn user(content: impl Into<Value>) -> Self {
        Self::new(Role::USER, content)
    }

    /// Creates a message of role `agent`: what an agent replies.
    #[must_use]
    pub fn agent(content: impl Into<Value>) -> Self {
        Self::new(Role::AGENT, content)
    }

    /// Creates a message of role `user` whose content is any type that serde can serialize.
    ///
    /// # Errors
    ///
    /// The errors of [`to_value`].
    pub fn user_from<T: Serialize>(content: T) -> Result<Self, ValueError> {
        to_value(content).map(Self::user)
    }

    /// Creates a message of role `agent` whose content is any type that serde can serialize.
    ///
    /// # Errors
    ///
    /// The errors of [`to_value`].
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

    /// Returns the content if it is text.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        self.content.as_str()
    }

    /// Parses the content into any type that serde can deserialize.
    ///
    /// It copies the content; [`from_value`]`(message.content)` does not.
    ///
    /// # Errors
    ///
    /// The errors of [`from_value`]: they say what `T` expects and what the content holds.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, ValueError> {
        from_value(self.content.clone())
    }
}

/// Creates a message of role `user`, as [`Message::user`] does.
impl From<&str> for Message {
    fn from(text: &str) -> Self {
        Self::user(text)
    }
}

/// Creates a message of role `user`, as [`Message::user`] does.
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
