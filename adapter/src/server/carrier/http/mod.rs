//! The carrier HTTP: requests and answers as JSON, streams as server-sent events (PROTOCOL 15.2).
//!
//! | layer | what it does |
//! |---|---|
//! | `session` | serves one connection with hyper, with its timeouts and its shutdown |
//! | `service` | serves the requests of another program, which has the connections |
//! | `upgrade` | turns a request into a WebSocket, which is a session of frames from then on |
//! | `routes` > `probes` | finds what a request asks for; health, readiness, descriptions |
//! | `exchange` | starts a request of an agent, and answers it |
//! | `request` > `memory` | reads a body within the limits, and decodes it |
//! | `form` > `entries` | bare messages instead of envelopes, for the routes `/invoke` |
//! | `reply` > `body` | the statuses, headers and bodies of answers |
//! | `stream` | resets a stream of HTTP/2 whose peer does not read |
//! | `wire`, `activity` | the bytes below hyper, and what the timeouts know about them |

mod activity;
mod body;
mod entries;
mod exchange;
mod form;
mod options;
mod probes;
mod reply;
mod request;
mod routes;
mod service;
mod session;
mod stream;
#[cfg(feature = "websocket")]
mod upgrade;
mod wire;

use std::sync::Arc;

use agentwire_transport::{Connection, Url};
use tokio::{sync::OwnedSemaphorePermit, time::Instant};

pub use self::{
    body::ReplyBody,
    options::HttpOptions,
    service::{HttpService, service},
};
#[cfg(feature = "websocket")]
use super::frames;
use super::{Serve, ServerContext, slot::Slot};
use crate::server::{
    budget::MemoryBudget, config::ServerConfig, readiness::Readiness, service::Service,
    shutdown::Shutdown,
};

/// The carrier of one HTTP endpoint.
pub(super) struct Http(Arc<HttpServer>);

/// What all requests at one endpoint share.
struct HttpServer {
    service: Arc<dyn Service>,
    config: Arc<ServerConfig>,
    budget: Arc<MemoryBudget>,
    shutdown: Shutdown,
    readiness: Arc<Readiness>,
    /// The path in front of all routes, which is empty or begins with a slash.
    prefix: String,
    started: Instant,
}

impl Http {
    pub(super) fn new(server: &ServerContext, url: &Url) -> Self {
        Self(Arc::new(HttpServer::new(server, &url.path)))
    }
}

impl HttpServer {
    fn new(server: &ServerContext, prefix: &str) -> Self {
        Self {
            service: Arc::clone(&server.service),
            config: Arc::clone(&server.config),
            budget: Arc::clone(&server.budget),
            shutdown: server.shutdown.clone(),
            readiness: Arc::clone(&server.readiness),
            prefix: prefix.to_owned(),
            started: Instant::now(),
        }
    }
}

impl Serve for Http {
    fn serve(
        &self,
        connection: Connection,
        slot: Arc<Slot>,
        permit: OwnedSemaphorePermit,
        server: &ServerContext,
    ) -> impl Future<Output = ()> + Send + 'static {
        let (http, server) = (Arc::clone(&self.0), server.clone());
        async move {
            // The futures are boxed, so that the acceptor does not move them.
            #[cfg(feature = "websocket")]
            {
                let serving = session::serve(http, connection, &slot, &server);
                if let Some(upgraded) = Box::pin(serving).await {
                    let upgrade::Upgraded {
                        connection,
                        credential,
                    } = upgraded;
                    frames::serve_upgraded(connection, credential, slot, &server).await;
                }
            }
            #[cfg(not(feature = "websocket"))]
            Box::pin(session::serve(http, connection, &slot, &server)).await;
            drop(permit);
        }
    }
}

/// The protocols that a server offers over TLS (ALPN).
pub(super) const PROTOCOLS: &[&[u8]] = &[b"h2", b"http/1.1"];
