//! The shape of envelopes, written once for every format.
//!
//! [`encode`] walks an envelope and tells a [`FormatWriter`] what to write; [`decode`] asks a [`FormatReader`] for what
//! it expects. A format is one sink and one source, and knows nothing of envelopes. No tree of values is
//! built for what the library itself reads.

mod decode;
mod encode;
mod reader;
mod writer;

pub(crate) use self::{
    decode::decode,
    encode::{encode, write_message, write_value},
    reader::{FormatReader, SyntaxError},
    writer::{Field, FormatWriter, fixstr},
};
