//! The same echo of a typed request, by each peer.

mod agentwire;
mod envelope;
mod frame;
mod multiplexer;
mod plain;
mod raw;
mod serde_json;

#[cfg(feature = "peers")]
mod capnp;
#[cfg(feature = "peers")]
mod jsonrpsee;
#[cfg(feature = "peers")]
mod tarpc;
#[cfg(feature = "peers")]
mod tonic;

use ::agentwire::{Endpoint, Format};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use tokio::runtime::{Builder, Runtime};

use crate::{Failure, client::Course, scenario::Scenario, server::Attendant};

/// Who is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Peer {
    /// Frames over tokio's sockets, and nothing else: the limit
    Raw,
    /// The same, with serde_json of typed envelopes on both sides
    RawSerdeJson,
    /// A connection for each call, JSON
    Agentwire,
    /// A connection for each call, MessagePack
    AgentwireMsgpack,
    /// Calls in flight share connections, JSON
    AgentwireShared,
    /// Calls in flight share connections, MessagePack
    AgentwireSharedMsgpack,
    /// A handle and a driver task, as many programs have them, JSON
    Multiplexer,
    /// tarpc with its JSON transport
    TarpcJson,
    /// tarpc with its bincode transport
    TarpcBincode,
    /// gRPC
    Tonic,
    /// JSON-RPC over WebSocket
    Jsonrpsee,
    /// Cap'n Proto, on one thread
    Capnp,
    /// The Python implementation of the interop tests, both sides
    Python,
}

/// How bytes are carried.
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

impl Peer {
    /// Its name on the command line.
    pub(crate) fn name(self) -> String {
        self.to_possible_value()
            .map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// Its name in tables and plots.
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

    /// False for what is heavy to compile, in a program that was built without it.
    pub(crate) const fn is_built(self) -> bool {
        let is_heavy = matches!(
            self,
            Self::TarpcJson | Self::TarpcBincode | Self::Tonic | Self::Jsonrpsee | Self::Capnp
        );
        !is_heavy || cfg!(feature = "peers")
    }

    /// True if it does what a scenario asks for.
    pub(crate) fn can(self, scenario: Scenario, carrier: Carrier) -> bool {
        let shape = scenario.shape();
        let carries = match self {
            Self::Jsonrpsee => carrier == Carrier::Tcp,
            _ => true,
        };
        let shares = match self {
            // Without sharing, a connection has one call in flight.
            Self::Agentwire | Self::AgentwireMsgpack => shape.in_flight == 1,
            // A stream has a connection to itself in any case, and connections are alike to the server.
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

    /// The runtime of a process of it.
    pub(crate) fn runtime(self) -> Result<Runtime, Failure> {
        let mut builder = match self {
            Self::Capnp => Builder::new_current_thread(),
            _ => Builder::new_multi_thread(),
        };
        Ok(builder.enable_all().build()?)
    }

    pub(crate) async fn serve(
        self,
        endpoint: &Endpoint,
        attendant: Attendant,
    ) -> Result<(), Failure> {
        match self {
            Self::Raw => raw::serve(endpoint, attendant, plain::Plain).await,
            Self::RawSerdeJson => raw::serve(endpoint, attendant, serde_json::SerdeJson).await,
            Self::Agentwire
            | Self::AgentwireMsgpack
            | Self::AgentwireShared
            | Self::AgentwireSharedMsgpack => agentwire::serve(endpoint, attendant).await,
            Self::Multiplexer => multiplexer::serve(endpoint, attendant).await,
            #[cfg(feature = "peers")]
            Self::TarpcJson => tarpc::serve(endpoint, attendant, tarpc::Format::Json).await,
            #[cfg(feature = "peers")]
            Self::TarpcBincode => tarpc::serve(endpoint, attendant, tarpc::Format::Bincode).await,
            #[cfg(feature = "peers")]
            Self::Tonic => tonic::serve(endpoint, attendant).await,
            #[cfg(feature = "peers")]
            Self::Jsonrpsee => jsonrpsee::serve(endpoint, attendant).await,
            #[cfg(feature = "peers")]
            Self::Capnp => capnp::serve(endpoint, attendant).await,
            other => Err(other.elsewhere()),
        }
    }

    pub(crate) async fn drive(
        self,
        endpoint: &Endpoint,
        course: &mut Course,
    ) -> Result<(), Failure> {
        match self {
            Self::Raw => raw::drive(endpoint, course, plain::Plain).await,
            Self::RawSerdeJson => raw::drive(endpoint, course, serde_json::SerdeJson).await,
            Self::Agentwire => agentwire::drive(endpoint, course, Format::Json, 1).await,
            Self::AgentwireMsgpack => {
                agentwire::drive(endpoint, course, Format::MessagePack, 1).await
            }
            Self::AgentwireShared => {
                agentwire::drive(endpoint, course, Format::Json, MANY_IN_FLIGHT).await
            }
            Self::AgentwireSharedMsgpack => {
                agentwire::drive(endpoint, course, Format::MessagePack, MANY_IN_FLIGHT).await
            }
            Self::Multiplexer => multiplexer::drive(endpoint, course).await,
            #[cfg(feature = "peers")]
            Self::TarpcJson => tarpc::drive(endpoint, course, tarpc::Format::Json).await,
            #[cfg(feature = "peers")]
            Self::TarpcBincode => tarpc::drive(endpoint, course, tarpc::Format::Bincode).await,
            #[cfg(feature = "peers")]
            Self::Tonic => tonic::drive(endpoint, course).await,
            #[cfg(feature = "peers")]
            Self::Jsonrpsee => jsonrpsee::drive(endpoint, course).await,
            #[cfg(feature = "peers")]
            Self::Capnp => capnp::drive(endpoint, course).await,
            other => Err(other.elsewhere()),
        }
    }

    fn elsewhere(self) -> Failure {
        match self {
            Self::Python => "benches/python/echo.py is this peer".into(),
            _ => format!("{} needs a build with --features peers", self.name()).into(),
        }
    }
}

/// As many calls share a connection as any scenario has.
const MANY_IN_FLIGHT: usize = 64;
