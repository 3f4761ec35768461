//! Decodes envelopes through a `FormatReader`.

mod envelope;
mod fields;
mod message;
mod payload;

pub(crate) use self::envelope::{Detail, decode};
