//! The structure of envelopes, independent of the format.
//!
//! [`encode()`] traverses an envelope and calls a [`FormatWriter`]. [`decode()`] requests the
//! expected values from a [`FormatReader`]. A format consists of one writer and one reader and does
//! not depend on the structure of envelopes. Neither direction builds a tree of values for the
//! parts that the library itself interprets.

mod decode;
mod encode;
mod reader;
mod writer;

pub(crate) use self::{
    decode::{Detail, decode},
    encode::{encode, write_message, write_value},
    reader::{FormatReader, ReadError, SyntaxError},
    writer::{Field, FormatWriter, fixstr},
};

/// The maximum nesting depth for encoding and decoding. The outermost map or list has depth 1.
pub const MAX_DEPTH: usize = 256;
