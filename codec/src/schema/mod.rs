//! The shape of envelopes, written once for every format.
//!
//! [`encode`] walks an envelope and tells a [`Sink`] what to write; [`decode`] asks a [`Source`] for what
//! it expects. A format is one sink and one source, and knows nothing of envelopes. No tree of values is
//! built for what the library itself reads.

mod decode;
mod encode;
mod sink;
mod source;

pub(crate) use self::{
    decode::decode,
    encode::{encode, write_message, write_value},
    sink::{Field, Sink, short_text},
    source::{Source, Syntax},
};
