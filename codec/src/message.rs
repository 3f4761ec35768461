use std::{borrow::Cow, fmt, ops::Deref};

use crate::{Map, Timestamp, Value};

/// What agents say to each other (PROTOCOL 3).
///
/// ```
/// use agentwire_codec::Message;
///
/// let message = Message::user("What is the weather?").with_metadata("city", "Oslo");
/// assert_eq!(message.role, "user");
/// assert_eq!(message.text(), Some("What is the weather?"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Message {
    /// Who speaks. It must not be empty.
    pub role: Role,
    /// What is said: text in most cases, any value in general.
    pub content: Value,
    /// What is said about it.
    pub metadata: Map,
    /// When it was said.
    pub timestamp: Timestamp,
}

impl Message {
    /// A message of any role, without metadata, said now.
    #[must_use]
    pub fn new(role: impl Into<Role>, content: impl Into<Value>) -> Self {
        Self {
            role: role.into(),
            content: content.into(),
            metadata: Map::new(),
            timestamp: Timestamp::now(),
        }
    }

    /// A message of role `user`: what a caller asks.
    #[must_use]
    pub fn user(content: impl Into<Value>) -> Self {
        Self::new(Role::USER, content)
    }

    /// A message of role `agent`: what an agent answers.
    #[must_use]
    pub fn agent(content: impl Into<Value>) -> Self {
        Self::new(Role::AGENT, content)
    }

    /// Adds one entry to the metadata.
    #[must_use]
    pub fn with_metadata(mut self, key: impl Into<String>, value: impl Into<Value>) -> Self {
        self.metadata.insert(key, value);
        self
    }

    /// Sets the time at which it was said.
    #[must_use]
    pub fn with_timestamp(mut self, timestamp: impl Into<Timestamp>) -> Self {
        self.timestamp = timestamp.into();
        self
    }

    /// The content, if it is text.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        self.content.as_str()
    }
}

/// Who speaks in a [`Message`]: `user`, `agent`, `assistant`, `system`, `tool`, or any other text.
///
/// The usual ones are borrowed, so that reading them costs no allocation. Python's agents accept only
/// these five.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Role(Cow<'static, str>);

impl Role {
    /// Who calls an agent.
    pub const USER: Self = Self(Cow::Borrowed("user"));
    /// Who answers.
    pub const AGENT: Self = Self(Cow::Borrowed("agent"));
    /// Who answers, in the words of language models.
    pub const ASSISTANT: Self = Self(Cow::Borrowed("assistant"));
    /// Who sets the terms.
    pub const SYSTEM: Self = Self(Cow::Borrowed("system"));
    /// What a tool returned.
    pub const TOOL: Self = Self(Cow::Borrowed("tool"));

    fn known(text: &str) -> Option<Self> {
        [
            Self::USER,
            Self::AGENT,
            Self::ASSISTANT,
            Self::SYSTEM,
            Self::TOOL,
        ]
        .into_iter()
        .find(|role| *role == text)
    }

    /// The role as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Role {
    fn from(text: &str) -> Self {
        Self::known(text).unwrap_or_else(|| Self(Cow::Owned(text.to_owned())))
    }
}

impl From<String> for Role {
    fn from(text: String) -> Self {
        Self::known(&text).unwrap_or(Self(Cow::Owned(text)))
    }
}

impl Deref for Role {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl PartialEq<str> for Role {
    fn eq(&self, other: &str) -> bool {
        self.0 == other
    }
}

impl PartialEq<&str> for Role {
    fn eq(&self, other: &&str) -> bool {
        self.0 == *other
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_no_payload() {
        let message = Message::user("a secret").with_metadata("token", "hunter2");
        let shown = format!("{message:?}");
        assert!(
            !shown.contains("secret") && !shown.contains("hunter2"),
            "{shown}"
        );
    }

    #[test]
    fn display_is_the_wire_form() {
        let message =
            Message::user("é").with_timestamp("2025-11-08T12:00:00Z".parse::<Timestamp>().unwrap());
        assert_eq!(
            message.to_string(),
            r#"{"role": "user", "content": "\u00e9", "metadata": {}, "timestamp": "2025-11-08T12:00:00+00:00"}"#
        );
    }
}
