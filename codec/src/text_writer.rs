//! The trait for writing text in a format.

/// A writer for text in a format.
///
/// This trait is separate from [`FormatWriter`](crate::schema::FormatWriter) so that types that are
/// text on the wire can implement their own encoding without depending on the structure of
/// envelopes.
pub(crate) trait TextWriter {
    /// Writes any text.
    fn text(&mut self, text: &str);

    /// Writes text that consists of printable ASCII characters without quotes and backslashes.
    fn ascii_text(&mut self, text: &[u8]);
}
