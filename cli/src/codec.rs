//! The option `--codec`.

use agentwire::Format;
use clap::ValueEnum;

/// A value of the option `--codec`, which selects the encoding of envelopes.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum CodecArg {
    /// JSON, which every agent supports
    Json,
    /// MessagePack, which also supports bytes; Rust agents support it
    Msgpack,
}

impl From<CodecArg> for Format {
    fn from(codec: CodecArg) -> Self {
        match codec {
            CodecArg::Json => Self::Json,
            CodecArg::Msgpack => Self::MessagePack,
        }
    }
}
