//! The error for a malformed field: [`FieldError`].

/// An error that reports a missing or malformed field in a received map.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} must be {expected}")]
pub struct FieldError {
    field: &'static str,
    expected: &'static str,
}

impl FieldError {
    /// Creates an error for a field. `expected` describes a valid value, for example "text".
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
