//! The structure of envelopes, written once for all formats.
//!
//! [`encode()`] walks an envelope and calls a [`FormatWriter`]; [`decode()`] pulls what it expects from
//! a [`FormatReader`]. A format consists of one writer and one reader and knows nothing about
//! envelopes. Neither direction builds a tree of values for the parts that the library itself
//! interprets.

mod decode;
mod encode;
mod reader;
mod writer;

pub(crate) use self::{
    decode::{Detail, decode},
    encode::{encode, write_message, write_value},
    reader::{FormatReader, SyntaxError},
    writer::{Field, FormatWriter, fixstr},
};

/// The maximum depth of nesting, in both directions. The outermost map or list has depth 1.
pub const MAX_DEPTH: usize = 256;
