//! The names of the peers, and the scenarios that each peer supports.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use tokio::runtime::{Builder, Runtime};

use crate::{BenchError, scenario::Scenario};

/// An RPC implementation that is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Peer {
    /// Frames over Tokio's sockets without a codec, as a lower bound of the cost
    Raw,
    /// Frames over Tokio's sockets, with typed envelopes through serde_json on both sides
    RawSerdeJson,
    /// agentwire with one call in flight per connection, JSON
    Agentwire,
    /// agentwire with one call in flight per connection, MessagePack
    AgentwireMsgpack,
    /// agentwire with several calls in flight per connection, JSON
    AgentwireShared,
    /// agentwire with several calls in flight per connection, MessagePack
    AgentwireSharedMsgpack,
    /// A client handle with a driver task, a common hand-written design, JSON
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
    /// agentwire over HTTP/1.1, JSON
    AgentwireHttp,
    /// agentwire over HTTP/2 with shared connections, JSON
    AgentwireH2c,
    /// agentwire over WebSocket with one call in flight per connection, JSON
    AgentwireWebsocket,
    /// agentwire over WebSocket with several calls in flight per connection, JSON
    AgentwireWebsocketShared,
    /// agentwire over gRPC
    AgentwireGrpc,
    /// axum with serde_json, called by hyper over HTTP/1.1
    AxumHttp,
    /// axum with serde_json, called by hyper over HTTP/2
    AxumH2c,
    /// tokio-tungstenite with serde_json on both sides
    Tungstenite,
    /// tokio-websockets with serde_json on both sides
    TokioWebsockets,
    /// The Python package agenkit, on both sides
    Agenkit,
    /// agenkit over WebSocket
    AgenkitWebsocket,
    /// agenkit over HTTP/1.1
    AgenkitHttp,
    /// agenkit over gRPC
    AgenkitGrpc,
    /// A client of agentwire, with JSON, and a server of agenkit
    AgentwireToAgenkit,
    /// A client of agentwire and a server of agenkit, over WebSocket
    AgentwireToAgenkitWebsocket,
    /// A client of agentwire and a server of agenkit, over HTTP/1.1
    AgentwireToAgenkitHttp,
    /// A client of agentwire and a server of agenkit, over gRPC
    AgentwireToAgenkitGrpc,
    /// A client of agenkit and a server of agentwire
    AgenkitToAgentwire,
    /// A client of agenkit and a server of agentwire, over WebSocket
    AgenkitToAgentwireWebsocket,
    /// A client of agenkit and a server of agentwire, over HTTP/1.1
    AgenkitToAgentwireHttp,
    /// A client of agenkit and a server of agentwire, over gRPC
    AgenkitToAgentwireGrpc,
}

impl Peer {
    /// Returns the name of the peer on the command line.
    pub(crate) fn name(self) -> String {
        self.to_possible_value()
            .map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// Returns the name of the peer in tables and plots.
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
            Self::AgentwireHttp => "agentwire, HTTP/1.1",
            Self::AgentwireH2c => "agentwire, HTTP/2",
            Self::AgentwireWebsocket => "agentwire, WebSocket",
            Self::AgentwireWebsocketShared => "agentwire, WebSocket, shared",
            Self::AgentwireGrpc => "agentwire, gRPC",
            Self::AxumHttp => "axum and hyper, HTTP/1.1",
            Self::AxumH2c => "axum and hyper, HTTP/2",
            Self::Tungstenite => "tokio-tungstenite",
            Self::TokioWebsockets => "tokio-websockets",
            Self::Agenkit => "agenkit 0.92.2 (Python)",
            Self::AgenkitWebsocket => "agenkit 0.92.2, WebSocket",
            Self::AgenkitHttp => "agenkit 0.92.2, HTTP/1.1",
            Self::AgenkitGrpc => "agenkit 0.92.2, gRPC",
            Self::AgentwireToAgenkit => "agentwire calls agenkit 0.92.2",
            Self::AgentwireToAgenkitWebsocket => "agentwire calls agenkit, WebSocket",
            Self::AgentwireToAgenkitHttp => "agentwire calls agenkit, HTTP/1.1",
            Self::AgentwireToAgenkitGrpc => "agentwire calls agenkit, gRPC",
            Self::AgenkitToAgentwire => "agenkit 0.92.2 calls agentwire",
            Self::AgenkitToAgentwireWebsocket => "agenkit calls agentwire, WebSocket",
            Self::AgenkitToAgentwireHttp => "agenkit calls agentwire, HTTP/1.1",
            Self::AgenkitToAgentwireGrpc => "agenkit calls agentwire, gRPC",
        }
    }

    pub(crate) const fn is_agentwire(self) -> bool {
        matches!(
            self,
            Self::Agentwire
                | Self::AgentwireMsgpack
                | Self::AgentwireShared
                | Self::AgentwireSharedMsgpack
                | Self::AgentwireHttp
                | Self::AgentwireH2c
                | Self::AgentwireWebsocket
                | Self::AgentwireWebsocketShared
                | Self::AgentwireGrpc
        )
    }

    /// Returns true if both sides are agenkit.
    pub(crate) const fn is_agenkit(self) -> bool {
        matches!(
            self,
            Self::Agenkit | Self::AgenkitWebsocket | Self::AgenkitHttp | Self::AgenkitGrpc
        )
    }

    /// Returns the scheme of a carrier of agentwire or agenkit above TCP.
    pub(crate) const fn scheme(self) -> Option<&'static str> {
        match self.server() {
            Self::AgentwireHttp | Self::AgenkitHttp => Some("http"),
            Self::AgentwireH2c => Some("h2c"),
            Self::AgentwireWebsocket | Self::AgentwireWebsocketShared | Self::AgenkitWebsocket => {
                Some("ws")
            }
            Self::AgentwireGrpc | Self::AgenkitGrpc => Some("grpc"),
            _ => None,
        }
    }

    /// Returns true if the peer is measured to compare the carriers above TCP with the libraries
    /// that a user would pick instead.
    pub(crate) const fn is_door(self) -> bool {
        let is_library = matches!(
            self,
            Self::AxumHttp
                | Self::AxumH2c
                | Self::Tungstenite
                | Self::TokioWebsockets
                | Self::Tonic
        );
        is_library || self.scheme().is_some()
    }

    /// Returns the peer whose program is the server.
    pub(crate) const fn server(self) -> Self {
        match self {
            Self::AgentwireToAgenkit => Self::Agenkit,
            Self::AgentwireToAgenkitWebsocket => Self::AgenkitWebsocket,
            Self::AgentwireToAgenkitHttp => Self::AgenkitHttp,
            Self::AgentwireToAgenkitGrpc => Self::AgenkitGrpc,
            Self::AgenkitToAgentwire => Self::Agentwire,
            Self::AgenkitToAgentwireWebsocket => Self::AgentwireWebsocket,
            Self::AgenkitToAgentwireHttp => Self::AgentwireHttp,
            Self::AgenkitToAgentwireGrpc => Self::AgentwireGrpc,
            peer => peer,
        }
    }

    /// Returns the peer whose program is the client.
    pub(crate) const fn client(self) -> Self {
        match self {
            Self::AgentwireToAgenkit => Self::Agentwire,
            Self::AgentwireToAgenkitWebsocket => Self::AgentwireWebsocket,
            Self::AgentwireToAgenkitHttp => Self::AgentwireHttp,
            Self::AgentwireToAgenkitGrpc => Self::AgentwireGrpc,
            Self::AgenkitToAgentwire => Self::Agenkit,
            Self::AgenkitToAgentwireWebsocket => Self::AgenkitWebsocket,
            Self::AgenkitToAgentwireHttp => Self::AgenkitHttp,
            Self::AgenkitToAgentwireGrpc => Self::AgenkitGrpc,
            peer => peer,
        }
    }

    /// Returns true if one or both sides are agenkit.
    pub(crate) fn needs_agenkit(self) -> bool {
        self.server().is_agenkit() || self.client().is_agenkit()
    }

    /// Returns true if this program was built with support for the peer.
    pub(crate) const fn is_built(self) -> bool {
        let is_optional = matches!(
            self,
            Self::TarpcJson
                | Self::TarpcBincode
                | Self::Tonic
                | Self::Jsonrpsee
                | Self::Capnp
                | Self::AxumHttp
                | Self::AxumH2c
                | Self::Tungstenite
                | Self::TokioWebsockets
        );
        !is_optional || cfg!(feature = "peers")
    }

    /// Returns true if the peer supports a scenario over a carrier.
    pub(crate) fn can_run(self, scenario: Scenario, carrier: Carrier) -> bool {
        let shape = scenario.shape();
        let carries = match self {
            Self::Jsonrpsee
            | Self::AxumHttp
            | Self::AxumH2c
            | Self::Tungstenite
            | Self::TokioWebsockets => carrier == Carrier::Tcp,
            peer if peer.scheme().is_some() => carrier == Carrier::Tcp,
            _ => true,
        };
        // The other peers have these scenarios over Unix sockets.
        let is_only_for_doors = matches!(scenario, Scenario::Lone | Scenario::SixtyFourByOne);
        let carries = carries && (carrier != Carrier::Tcp || !is_only_for_doors || self.is_door());
        let shares = match self {
            // Without sharing, a connection has one call in flight.
            Self::Agentwire
            | Self::AgentwireMsgpack
            | Self::AgentwireHttp
            | Self::AgentwireWebsocket
            | Self::AxumHttp => shape.in_flight == 1,
            // In these scenarios, sharing has no effect. A stream never shares its connection, and
            // a server treats all connections alike.
            Self::AgentwireShared
            | Self::AgentwireSharedMsgpack
            | Self::AgentwireWebsocketShared => !shape.stream && !shape.separate,
            Self::Agenkit => true,
            // The other scenarios show the limits of agenkit, not the limits of the combination.
            peer if peer.needs_agenkit() => shape.connections == 1 && shape.in_flight == 1,
            _ => true,
        };
        let streams = match self {
            Self::Multiplexer
            | Self::TarpcJson
            | Self::TarpcBincode
            | Self::Capnp
            | Self::AxumHttp
            | Self::AxumH2c
            | Self::Tungstenite
            | Self::TokioWebsockets => !shape.stream,
            _ => true,
        };
        carries && shares && streams
    }

    /// Builds the Tokio runtime for the processes of the peer.
    pub(crate) fn runtime(self) -> Result<Runtime, BenchError> {
        let mut builder = match self {
            Self::Capnp => Builder::new_current_thread(),
            _ => Builder::new_multi_thread(),
        };
        Ok(builder.enable_all().build()?)
    }
}

/// The carrier of the bytes between client and server.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sides_of_a_peer_use_the_same_carrier() {
        for peer in Peer::value_variants() {
            let schemes = [peer.server(), peer.client()].map(Peer::scheme);
            assert_eq!(schemes, [peer.scheme(); 2], "{peer:?}");
        }
    }
}
