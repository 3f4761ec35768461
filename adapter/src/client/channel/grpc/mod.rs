//! The carrier gRPC: the service `agenkit.AgentService` of one endpoint.
//!
//! The layers are `call` > `connections` > `connection`. All calls share the connections, because
//! HTTP/2 keeps calls apart. Another connection is opened only if the server allows no more calls
//! on those that are open.

mod call;
mod connection;
mod connections;
mod failure;
mod heads;

use std::sync::Arc;

use agentwire_codec::Body;
use agentwire_transport::Connector;

pub(super) use self::call::Chunks;
use self::connections::Connections;
use super::{deadlines::Deadlines, failure::Failure, request::Request};
use crate::client::shared::Client;

/// The gRPC channel to one endpoint.
pub(super) struct Grpc(Arc<Connections>);

impl Grpc {
    pub(super) fn new(client: &Client, connector: Arc<dyn Connector>) -> Self {
        Self(Arc::new(Connections::new(client, connector)))
    }

    pub(super) async fn call(
        &self,
        request: &Request,
        deadlines: Deadlines<'_>,
    ) -> Result<Body, Failure> {
        call::call(&self.0, request, deadlines).await
    }

    pub(super) async fn open(
        &self,
        request: &Request,
        deadlines: Deadlines<'_>,
    ) -> Result<(Chunks, Body), Failure> {
        call::open(&self.0, request, deadlines).await
    }

    /// Asks the health service of the server. Any answer shows that the server is alive, and a
    /// server without a health service answers that it has none. An agent of the Python adapter
    /// would process a heartbeat as a message.
    pub(super) async fn ping(&self, deadlines: Deadlines<'_>) -> Result<(), Failure> {
        call::ping(&self.0, deadlines).await
    }

    pub(super) fn idle(&self) -> usize {
        self.0.idle()
    }

    pub(super) fn drain(&self) {
        self.0.drain();
    }
}
