//! The option `--codec`.

use agentwire::Format;
use clap::ValueEnum;

/// The encoding of envelopes, as `--codec` names it.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum CodecArg {
    /// JSON, which every agent supports
    Json,
    /// MessagePack, which can carry raw bytes; agents in Rust support it
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
