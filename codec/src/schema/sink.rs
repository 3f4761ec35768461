use crate::{EncodeError, Integer};

/// Where a format writes.
///
/// Entries and elements are announced with their index, because some formats separate them and others
/// count them beforehand.
pub(crate) trait Sink {
    fn begin_map(&mut self, len: usize) -> Result<(), EncodeError>;
    fn key(&mut self, index: usize, key: &str);
    fn end_map(&mut self);

    fn begin_list(&mut self, len: usize) -> Result<(), EncodeError>;
    fn element(&mut self, index: usize);
    fn end_list(&mut self);

    fn null(&mut self);
    fn bool(&mut self, flag: bool);
    fn integer(&mut self, integer: &Integer) -> Result<(), EncodeError>;
    fn float(&mut self, float: f64);
    fn text(&mut self, text: &str);
    fn bytes(&mut self, bytes: &[u8]) -> Result<(), EncodeError>;
}
