//! The options `--codec` and `--peer`.

use agentwire::{Format, PeerKind};
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

/// A value of the option `--peer`, which names the kind of the server.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum PeerArg {
    /// Any server that follows the protocol
    Any,
    /// A server of the Go adapter; messages that would end its process are refused
    Go,
}

impl From<PeerArg> for PeerKind {
    fn from(peer: PeerArg) -> Self {
        match peer {
            PeerArg::Any => Self::Any,
            PeerArg::Go => Self::Go,
        }
    }
}
