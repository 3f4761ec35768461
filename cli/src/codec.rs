use agentwire::Format;
use clap::ValueEnum;

/// How envelopes are written, as the command line names it.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum CodecArg {
    /// As every peer reads it
    Json,
    /// MessagePack, which carries bytes; servers in Rust answer in it
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
