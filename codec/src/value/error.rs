//! The error for conversions between values and Rust types.

use std::fmt;

use agentwire_text::Untrusted;
use serde::{de, ser};

/// The error for a Rust value that cannot be converted into a [`Value`](crate::Value), or for a
/// [`Value`](crate::Value) that does not fit a Rust type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", Untrusted(message))]
pub struct ValueError {
    message: String,
}

impl ValueError {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
        }
    }
}

impl ser::Error for ValueError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(message.to_string())
    }
}

impl de::Error for ValueError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(message.to_string())
    }
}
