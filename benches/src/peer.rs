//! The peers of the comparison: their names, and which scenarios each can run.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use tokio::runtime::{Builder, Runtime};

use crate::{BenchError, scenario::Scenario};

/// An implementation that is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Peer {
    /// Frames over Tokio's sockets and nothing else: the lower limit
    Raw,
    /// The same, with typed envelopes through serde_json on both sides
    RawSerdeJson,
    /// agentwire with one call in flight per connection, JSON
    Agentwire,
    /// agentwire with one call in flight per connection, MessagePack
    AgentwireMsgpack,
    /// agentwire with connections shared by calls in flight, JSON
    AgentwireShared,
    /// agentwire with connections shared by calls in flight, MessagePack
    AgentwireSharedMsgpack,
    /// A client handle and a driver task, as many programs write them, JSON
    Multiplexer,
    /// tarpc with its JSON transport
    TarpcJson,
    /// tarpc with its bincode transport
    TarpcBincode,
    /// gRPC
    Tonic,
    /// JSON-RPC over WebSocket
    Jsonrpsee,
    /// Cap'n Proto, single-threaded
    Capnp,
    /// The Python implementation of the interop tests, on both sides
    Python,
}

impl Peer {
    /// Returns the name on the command line.
    pub(crate) fn name(self) -> String {
        self.to_possible_value()
            .map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// Returns the name in tables and plots.
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Raw => "raw tokio, no codec",
            Self::RawSerdeJson => "raw tokio, serde_json",
            Self::Agentwire => "agentwire, JSON",
            Self::AgentwireMsgpack => "agentwire, MessagePack",
            Self::AgentwireShared => "agentwire, shared, JSON",
            Self::AgentwireSharedMsgpack => "agentwire, shared, MessagePack",
            Self::Multiplexer => "usual multiplexer, JSON",
            Self::TarpcJson => "tarpc, JSON",
            Self::TarpcBincode => "tarpc, bincode",
            Self::Tonic => "tonic",
            Self::Jsonrpsee => "jsonrpsee",
            Self::Capnp => "capnp-rpc",
            Self::Python => "Python",
        }
    }

    pub(crate) const fn is_agentwire(self) -> bool {
        matches!(
            self,
            Self::Agentwire
                | Self::AgentwireMsgpack
                | Self::AgentwireShared
                | Self::AgentwireSharedMsgpack
        )
    }

    /// Returns false for a peer that this program was built without.
    pub(crate) const fn is_built(self) -> bool {
        let is_optional = matches!(
            self,
            Self::TarpcJson | Self::TarpcBincode | Self::Tonic | Self::Jsonrpsee | Self::Capnp
        );
        !is_optional || cfg!(feature = "peers")
    }

    /// Returns true if the peer can run a scenario over a carrier.
    pub(crate) fn can_run(self, scenario: Scenario, carrier: Carrier) -> bool {
        let shape = scenario.shape();
        let carries = match self {
            Self::Jsonrpsee => carrier == Carrier::Tcp,
            _ => true,
        };
        let shares = match self {
            // A connection that is not shared has one call in flight.
            Self::Agentwire | Self::AgentwireMsgpack => shape.in_flight == 1,
            // Sharing changes nothing here: a stream never shares its connection, and a server
            // treats all connections alike.
            Self::AgentwireShared | Self::AgentwireSharedMsgpack => {
                !shape.stream && !shape.separate
            }
            _ => true,
        };
        let streams = match self {
            Self::Multiplexer | Self::TarpcJson | Self::TarpcBincode | Self::Capnp => !shape.stream,
            _ => true,
        };
        carries && shares && streams
    }

    /// Builds the runtime of the peer's processes.
    pub(crate) fn runtime(self) -> Result<Runtime, BenchError> {
        let mut builder = match self {
            Self::Capnp => Builder::new_current_thread(),
            _ => Builder::new_multi_thread(),
        };
        Ok(builder.enable_all().build()?)
    }
}

/// How bytes travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Carrier {
    Unix,
    Tcp,
}

impl Carrier {
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Unix => "Unix",
            Self::Tcp => "TCP",
        }
    }
}
