//! [`FieldError`]: a malformed field.

/// A field of a received map is missing or malformed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} must be {expected}")]
pub struct FieldError {
    field: &'static str,
    expected: &'static str,
}

impl FieldError {
    /// Creates an error for a field and a description of what it should be, such as "text".
    #[must_use]
    pub const fn new(field: &'static str, expected: &'static str) -> Self {
        Self { field, expected }
    }

    /// Returns the name of the field.
    #[must_use]
    pub fn field(&self) -> &'static str {
        self.field
    }
}
