//! The part of a format that writes text.

/// Writes text in a format.
///
/// It is separate from [`FormatWriter`](crate::schema::FormatWriter) so that types which are text on
/// the wire can write themselves without knowing the structure of envelopes.
pub(crate) trait TextWriter {
    /// Writes any text.
    fn text(&mut self, text: &str);

    /// Writes text of printable ASCII without quotes and backslashes.
    fn ascii_text(&mut self, text: &[u8]);
}
