//! The carrier that sends envelopes as frames over a byte stream.
//!
//! A [`Pool`] contains connections that serve one call at a time (see [`exclusive`]). A
//! [`Multiplexer`] contains connections that several calls share, if the client allows sharing.

mod exclusive;
mod multiplexer;
mod pool;

use std::sync::Arc;

use agentwire_codec::Body;
use agentwire_transport::Connector;

pub(super) use self::{exclusive::next_answer, pool::Lease};
use self::{multiplexer::Multiplexer, pool::Pool};
use super::{deadlines::Deadlines, failure::Failure, idle_limit::IdleLimit, request::Request};
use crate::client::shared::Client;

/// The connections to one endpoint that carry frames.
#[derive(Debug)]
pub(super) struct Frames {
    pool: Arc<Pool>,
    /// The shared connections, or `None` if calls do not share connections.
    multiplexer: Option<Multiplexer>,
}

impl Frames {
    pub(super) fn new(client: &Client, connector: Arc<dyn Connector>) -> Self {
        let idle_limit = Arc::new(IdleLimit::new(client.config.idle_timeout));
        let multiplexer = (client.config.calls_per_connection() > 1)
            .then(|| Multiplexer::new(client, Arc::clone(&connector), Arc::clone(&idle_limit)));
        Self {
            pool: Arc::new(Pool::new(client, connector, idle_limit)),
            multiplexer,
        }
    }

    pub(super) async fn call(
        &self,
        request: &Request,
        deadlines: Deadlines<'_>,
    ) -> Result<Body, Failure> {
        match &self.multiplexer {
            Some(multiplexer) => multiplexer.call(request, deadlines).await,
            None => exclusive::call(&self.pool, request, deadlines).await,
        }
    }

    /// Opens a stream on its own connection. On a shared connection, a slow reader would block the
    /// other calls.
    pub(super) async fn open(
        &self,
        request: &Request,
        deadlines: Deadlines<'_>,
    ) -> Result<(Lease, Body), Failure> {
        exclusive::open(&self.pool, request, deadlines).await
    }

    pub(super) async fn ping(
        &self,
        request: &Request,
        deadlines: Deadlines<'_>,
    ) -> Result<Option<Body>, Failure> {
        exclusive::ping(&self.pool, request, deadlines).await
    }

    pub(super) fn idle(&self) -> usize {
        self.pool.idle() + self.multiplexer.as_ref().map_or(0, Multiplexer::idle)
    }

    pub(super) fn drain(&self) {
        self.pool.close();
        if let Some(multiplexer) = &self.multiplexer {
            multiplexer.drain();
        }
    }
}
