/// Something that was read is not what it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} must be {expected}")]
pub struct FieldError {
    field: &'static str,
    expected: &'static str,
}

impl FieldError {
    /// The field of that name should have been something else.
    #[must_use]
    pub fn new(field: &'static str, expected: &'static str) -> Self {
        Self { field, expected }
    }

    /// Which field.
    #[must_use]
    pub fn field(&self) -> &'static str {
        self.field
    }
}
