//! Agents in a server of the program that uses this crate: [`HttpService`].

use std::{
    convert::Infallible,
    error::Error as StdError,
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use agentwire_transport::{Peer, PeerAddr};
use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

use super::{
    HttpServer,
    activity::{Activity, InFlight},
    body::ReplyBody,
    exchange::Exchange,
    routes,
};
use crate::server::carrier::memory::Memory;
use crate::{
    Error,
    agent::Agent,
    server::{
        LocalAgentBuilder,
        carrier::ServerContext,
        config::ServerConfig,
        service::{Caller, Service as AgentService},
    },
};

/// Returns a service that answers the requests for an agent, with default settings.
///
/// The service answers the same paths as an endpoint `http://`: `/process`, `/stream`, `/execute`,
/// `/describe`, `/health`, `/ready`, `/live` and `/.well-known/agent-card.json`. Programs with
/// [axum](https://docs.rs/axum) mount it with `Router::nest_service`, and all others with any
/// server for tower services. For tools, several agents or other settings, see
/// [`LocalAgentBuilder::http_service`].
///
/// ```
/// use agentwire::{Message, agent_fn};
///
/// let echo = agent_fn("echo", |message: Message| async move { Ok(message) });
/// let service = agentwire::http::service(echo);
/// // axum::Router::new().nest_service("/agents/echo", service)
/// # let _ = service;
/// ```
///
/// The program that owns the connections is responsible for their timeouts and limits, and for
/// shutting down. Dropping the future or the body of an answer cancels the request.
pub fn service(agent: impl Agent) -> HttpService {
    // Only several agents or tools can be invalid.
    match LocalAgentBuilder::new(agent).http_service() {
        Ok(service) => service,
        Err(error) => unreachable!("the default settings are valid: {error}"),
    }
}

/// A tower service that answers the requests for agents over HTTP. Clones share their agents.
///
/// The body of a request may be any [`http_body::Body`]. The service is always ready.
#[derive(Clone)]
pub struct HttpService {
    http: Arc<HttpServer>,
    activity: Arc<Activity>,
}

impl HttpService {
    pub(in crate::server) fn new(
        service: Arc<dyn AgentService>,
        config: ServerConfig,
    ) -> Result<Self, Error> {
        config.check()?;
        let server = ServerContext::new(service, config, 1);
        Ok(Self {
            http: Arc::new(HttpServer::new(&server, "")),
            activity: Arc::default(),
        })
    }
}

impl<B> Service<Request<B>> for HttpService
where
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn StdError + Send + Sync>> + fmt::Display,
{
    type Response = Response<ReplyBody>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        // The program may have put the peer of its connection into the request.
        let peer = request.extensions().get::<Peer>().cloned();
        let caller = Caller::new(peer.unwrap_or_else(|| Peer::new(PeerAddr::Unknown)));
        let exchange = Exchange {
            caller: Arc::new(caller.observed(&self.http.config.observers)),
            memory: Memory::new(&self.http.budget),
            in_flight: InFlight::new(&self.activity),
            http: Arc::clone(&self.http),
        };
        Box::pin(async move { Ok(routes::answer(exchange, request).await) })
    }
}

impl fmt::Debug for HttpService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpService")
            .field("agent", &self.http.service.name())
            .finish_non_exhaustive()
    }
}
