//! The carrier gRPC: the service `agenkit.AgentService`, with health and reflection.
//!
//! The layers are `session` > `call` > `agent`, `health`, `reflection`. A session serves one
//! connection of HTTP/2. Its only task drives the connection and all calls of the connection, so
//! dropping the session cancels everything that its peer has asked for. `request` reads requests
//! within the memory that the budget grants.

mod agent;
mod call;
mod health;
mod reflection;
mod request;
mod session;

use std::sync::Arc;

use agentwire_transport::Connection;
use tokio::sync::OwnedSemaphorePermit;

use self::session::Session;
use super::{Serve, ServerContext, slot::Slot};

/// The carrier of an endpoint whose connections carry gRPC.
pub(super) struct Grpc;

impl Serve for Grpc {
    fn serve(
        &self,
        connection: Connection,
        slot: Arc<Slot>,
        permit: OwnedSemaphorePermit,
        server: &ServerContext,
    ) -> impl Future<Output = ()> + Send + 'static {
        let session = Session::new(slot, server);
        async move {
            session.run(connection).await;
            drop(permit);
        }
    }
}
