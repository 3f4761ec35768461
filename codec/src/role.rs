//! The roles of messages.

use std::{borrow::Cow, fmt, ops::Deref};

use agentwire_text::Untrusted;

/// The role of the sender of a [`Message`](crate::Message): `user`, `agent`, `assistant`, `system`,
/// `tool`, or any other text.
///
/// The five standard roles are borrowed, so decoding them does not allocate. Agents written in
/// Python accept only these five.
///
/// ```
/// # mod agentwire { pub use agentwire_codec::*; }
/// use agentwire::{Message, Role};
///
/// assert_eq!(Message::user("hello").role, Role::USER);
/// assert_eq!(Role::from("critic").as_str(), "critic");
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Role(Cow<'static, str>);

impl Role {
    /// The caller of an agent.
    pub const USER: Self = Self(Cow::Borrowed("user"));
    /// The agent that replies.
    pub const AGENT: Self = Self(Cow::Borrowed("agent"));
    /// The agent that replies, in the terminology of language models.
    pub const ASSISTANT: Self = Self(Cow::Borrowed("assistant"));
    /// Instructions for the conversation.
    pub const SYSTEM: Self = Self(Cow::Borrowed("system"));
    /// The output of a tool.
    pub const TOOL: Self = Self(Cow::Borrowed("tool"));

    fn standard(text: &str) -> Option<Self> {
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

    /// Returns the role as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Role {
    fn from(text: &str) -> Self {
        Self::standard(text).unwrap_or_else(|| Self(Cow::Owned(text.to_owned())))
    }
}

impl From<String> for Role {
    fn from(text: String) -> Self {
        Self::standard(&text).unwrap_or(Self(Cow::Owned(text)))
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

/// Formats the role for logs: the text is escaped and truncated, because a peer may have chosen it.
/// [`as_str`](Role::as_str) returns the role unchanged.
impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Untrusted(&self.0).fmt(f)
    }
}

impl fmt::Debug for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&Untrusted(&self.0), f)
    }
}
