//! The carrier that sends one envelope per frame over any byte stream.
//!
//! The layers are `session` > `dispatch` > `in_flight`. Each connection has a task that reads
//! requests, starts them, and writes each reply as soon as it is ready.

mod account;
mod close_reason;
mod dispatch;
mod foreign_protocol;
mod in_flight;
mod reply;
mod session;
mod timeouts;
mod turn;

use std::sync::Arc;

use agentwire_transport::Connection;
use tokio::sync::OwnedSemaphorePermit;

use self::session::Session;
use super::{Serve, ServerContext, slot::Slot};
use crate::connection::FramedConnection;

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
