//! The implementations of the peers. Each peer implements the same echo of a typed request.

mod agentwire;
mod envelope;
mod frame;
mod multiplexer;
mod plain;
mod raw;
mod serde_json;

#[cfg(feature = "peers")]
mod axum;
#[cfg(feature = "peers")]
mod capnp;
#[cfg(feature = "peers")]
mod jsonrpsee;
#[cfg(feature = "peers")]
mod tarpc;
#[cfg(feature = "peers")]
mod tonic;
#[cfg(feature = "peers")]
mod tonic_messages;
#[cfg(feature = "peers")]
mod websocket;

use ::agentwire::{Endpoint, Format};

use crate::{BenchError, peer::Peer, server_control::ServerControl, workload::Workload};

/// Serves the echo until standard input is closed.
pub(crate) async fn serve(
    peer: Peer,
    endpoint: &Endpoint,
    control: ServerControl,
) -> Result<(), BenchError> {
    match peer {
        Peer::Raw => raw::serve(endpoint, control, plain::Plain).await,
        Peer::RawSerdeJson => raw::serve(endpoint, control, serde_json::SerdeJson).await,
        Peer::Agentwire
        | Peer::AgentwireMsgpack
        | Peer::AgentwireShared
        | Peer::AgentwireSharedMsgpack
        | Peer::AgentwireHttp
        | Peer::AgentwireH2c
        | Peer::AgentwireWebsocket
        | Peer::AgentwireWebsocketShared
        | Peer::AgentwireGrpc => agentwire::serve(endpoint, peer.scheme(), control).await,
        Peer::Multiplexer => multiplexer::serve(endpoint, control).await,
        #[cfg(feature = "peers")]
        Peer::TarpcJson => tarpc::serve(endpoint, control, tarpc::Format::Json).await,
        #[cfg(feature = "peers")]
        Peer::TarpcBincode => tarpc::serve(endpoint, control, tarpc::Format::Bincode).await,
        #[cfg(feature = "peers")]
        Peer::Tonic => tonic::serve(endpoint, control).await,
        #[cfg(feature = "peers")]
        Peer::Jsonrpsee => jsonrpsee::serve(endpoint, control).await,
        #[cfg(feature = "peers")]
        Peer::Capnp => capnp::serve(endpoint, control).await,
        #[cfg(feature = "peers")]
        Peer::AxumHttp | Peer::AxumH2c => axum::serve(endpoint, control).await,
        #[cfg(feature = "peers")]
        Peer::Tungstenite => websocket::serve::<websocket::Tungstenite>(endpoint, control).await,
        #[cfg(feature = "peers")]
        Peer::TokioWebsockets => {
            websocket::serve::<websocket::TokioWebSockets>(endpoint, control).await
        }
        other => Err(not_in_this_program(other)),
    }
}

/// Runs the workload against the echo server at an endpoint.
pub(crate) async fn drive(
    peer: Peer,
    endpoint: &Endpoint,
    workload: &mut Workload,
) -> Result<(), BenchError> {
    match peer {
        Peer::Raw => raw::drive(endpoint, workload, plain::Plain).await,
        Peer::RawSerdeJson => raw::drive(endpoint, workload, serde_json::SerdeJson).await,
        Peer::Agentwire => agentwire::drive(endpoint, workload, Format::Json, 1).await,
        Peer::AgentwireMsgpack => {
            agentwire::drive(endpoint, workload, Format::MessagePack, 1).await
        }
        Peer::AgentwireShared => {
            agentwire::drive(endpoint, workload, Format::Json, MAX_IN_FLIGHT).await
        }
        Peer::AgentwireSharedMsgpack => {
            agentwire::drive(endpoint, workload, Format::MessagePack, MAX_IN_FLIGHT).await
        }
        Peer::Multiplexer => multiplexer::drive(endpoint, workload).await,
        #[cfg(feature = "peers")]
        Peer::TarpcJson => tarpc::drive(endpoint, workload, tarpc::Format::Json).await,
        #[cfg(feature = "peers")]
        Peer::TarpcBincode => tarpc::drive(endpoint, workload, tarpc::Format::Bincode).await,
        #[cfg(feature = "peers")]
        Peer::Tonic => tonic::drive(endpoint, workload).await,
        #[cfg(feature = "peers")]
        Peer::Jsonrpsee => jsonrpsee::drive(endpoint, workload).await,
        #[cfg(feature = "peers")]
        Peer::Capnp => capnp::drive(endpoint, workload).await,
        Peer::AgentwireHttp | Peer::AgentwireWebsocket => {
            agentwire::drive(endpoint, workload, Format::Json, 1).await
        }
        Peer::AgentwireWebsocketShared => {
            agentwire::drive(endpoint, workload, Format::Json, MAX_IN_FLIGHT).await
        }
        Peer::AgentwireH2c | Peer::AgentwireGrpc => {
            agentwire::drive_http2(endpoint, workload).await
        }
        #[cfg(feature = "peers")]
        Peer::AxumHttp => axum::drive(endpoint, workload, axum::Version::Http1).await,
        #[cfg(feature = "peers")]
        Peer::AxumH2c => axum::drive(endpoint, workload, axum::Version::Http2).await,
        #[cfg(feature = "peers")]
        Peer::Tungstenite => websocket::drive::<websocket::Tungstenite>(endpoint, workload).await,
        #[cfg(feature = "peers")]
        Peer::TokioWebsockets => {
            websocket::drive::<websocket::TokioWebSockets>(endpoint, workload).await
        }
        other => Err(not_in_this_program(other)),
    }
}

fn not_in_this_program(peer: Peer) -> BenchError {
    match peer {
        peer if peer.is_agenkit() => "the program of agenkit is benches/python/echo.py".into(),
        _ => format!("{} needs a build with --features peers", peer.name()).into(),
    }
}

/// The maximum number of calls in flight on a connection in any scenario.
const MAX_IN_FLIGHT: usize = 64;
