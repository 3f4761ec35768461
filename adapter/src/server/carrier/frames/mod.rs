//! The carrier that sends one envelope per frame over any byte stream.
//!
//! Each connection has a task that reads requests, starts them, and writes each reply as soon as it
//! is ready.
//!
//! | layer | what it does |
//! |---|---|
//! | `session` | serves one connection; a folder with layers of its own |
//! | `dispatch` | starts or refuses the request in a decoded frame |
//! | `in_flight` | a request from its start to its last reply |
//! | `account`, `timeouts`, `turn` | the memory of a session, its waits, and its share of the runtime |
//! | `traffic` | what the observer learns of the bytes of a session |
//! | `reply`, `close_reason`, `foreign_protocol` | what is sent, and why a session ends |

mod account;
mod close_reason;
mod dispatch;
mod foreign_protocol;
mod in_flight;
mod reply;
mod session;
mod timeouts;
mod traffic;
mod turn;

use std::sync::Arc;

use agentwire_transport::Connection;
use tokio::sync::OwnedSemaphorePermit;

use self::session::Session;
use super::{Serve, ServerContext, slot::Slot};
#[cfg(all(feature = "http", feature = "websocket"))]
use crate::Credential;
use crate::connection::FramedConnection;

/// Serves a connection that HTTP has turned into a WebSocket.
#[cfg(all(feature = "http", feature = "websocket"))]
pub(super) async fn serve_upgraded(
    connection: Connection,
    credential: Option<Credential>,
    slot: Arc<Slot>,
    server: &ServerContext,
) {
    let peer = connection.peer().clone();
    let connection = FramedConnection::new(connection, server.config.frame_limits).with_grants();
    let mut session = Session::new(connection, peer.clone(), slot, server);
    session.identify_peer(peer, credential);
    session.run().await;
}

/// The carrier of an endpoint whose connections carry frames.
pub(super) struct Frames;

impl Serve for Frames {
    fn serve(
        &self,
        connection: Connection,
        slot: Arc<Slot>,
        permit: OwnedSemaphorePermit,
        server: &ServerContext,
    ) -> impl Future<Output = ()> + Send + 'static {
        let peer = connection.peer().clone();
        let limits = server.config.frame_limits;
        let connection = FramedConnection::new(connection, limits).with_grants();
        let session = Session::new(connection, peer, slot, server);
        async move {
            session.run().await;
            drop(permit);
        }
    }
}
