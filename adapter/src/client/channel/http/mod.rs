//! The carrier HTTP: requests and answers as JSON, streams as server-sent events (PROTOCOL 15.2).
//!
//! | layer | what it does |
//! |---|---|
//! | `exchange` | sends a request, and reads its answer or the events of a stream |
//! | `pool` | keeps the connections to one endpoint |
//! | `http1`, `http2` | one connection of either version |
//! | `body` | the body of an answer of either version |
//! | `target` | the URLs and headers of requests |
//! | `answer`, `sse` | read bodies and events |
//! | `failure` | what errors mean to a call |

mod answer;
mod body;
mod exchange;
mod failure;
mod http1;
mod http2;
mod pool;
mod sse;
mod target;

use std::sync::Arc;

use agentwire_codec::{Body, EnvelopeType};
use agentwire_transport::{Connector, Url};

pub(super) use self::exchange::Events;
use self::{
    pool::Pool,
    target::{Route, Target},
};
use super::{deadlines::Deadlines, failure::Failure, idle_limit::IdleLimit, request::Request};
use crate::client::shared::Client;

/// The connections to one HTTP endpoint.
#[derive(Debug)]
pub(super) struct Http {
    pool: Arc<Pool>,
    target: Arc<Target>,
}

impl Http {
    pub(super) fn new(client: &Client, connector: Arc<dyn Connector>, url: &Url) -> Self {
        let idle_limit = IdleLimit::new(client.config.idle_timeout);
        Self {
            target: Arc::new(Target::new(&client.config, url)),
            pool: Arc::new(Pool::new(client, connector, url.scheme, idle_limit)),
        }
    }

    pub(super) async fn call(
        &self,
        request: &Request,
        deadlines: Deadlines<'_>,
    ) -> Result<Body, Failure> {
        let route = match request.method {
            "execute" => Route::Execute,
            _ => Route::Process,
        };
        exchange::call(&self.pool, &self.target, route, request, deadlines).await
    }

    pub(super) async fn open(
        &self,
        request: &Request,
        deadlines: Deadlines<'_>,
    ) -> Result<(Events, Body), Failure> {
        exchange::open(&self.pool, &self.target, request, deadlines).await
    }

    /// Sends a heartbeat. Any answer proves that the server is alive, unless it is a gateway that
    /// cannot reach the server.
    pub(super) async fn ping(
        &self,
        request: &Request,
        deadlines: Deadlines<'_>,
    ) -> Result<Option<Body>, Failure> {
        let answer = self.call(request, deadlines).await?;
        let is_error = answer.kind() == EnvelopeType::Error;
        Ok(is_error.then_some(answer))
    }

    pub(super) fn idle(&self) -> usize {
        self.pool.idle()
    }

    pub(super) fn drain(&self) {
        self.pool.close();
    }
}
