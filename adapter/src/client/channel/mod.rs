//! The connections to one endpoint.
//!
//! A carrier is a way to exchange envelopes with a server, such as frames over a byte stream. Each
//! carrier has its own folder next to [`frames`], its own
//! variants of [`Carrier`] and [`Answers`], and its own pool of connections. All carriers share the
//! types [`Request`], [`Deadlines`] and [`Failure`].

#[cfg(any(feature = "grpc", feature = "http"))]
mod calls;
pub(super) mod deadlines;
pub(super) mod failure;
mod frame;
mod frames;
#[cfg(feature = "grpc")]
mod grpc;
#[cfg(feature = "http")]
mod http;
#[cfg(any(feature = "grpc", feature = "http"))]
mod http2;
mod idle_limit;
pub(super) mod outage;
mod reaper;
pub(super) mod request;
#[cfg(any(feature = "grpc", feature = "http"))]
mod wire;

use std::{fmt, sync::Arc};

use agentwire_codec::{Body, RequestId};
use agentwire_transport::{Connector, Endpoint};
use tokio::time::Instant;

use self::{
    deadlines::Deadlines,
    failure::Failure,
    frames::{Frames, Lease},
    outage::Outage,
    request::Request,
};
use super::shared::Client;

/// A channel that sends requests to one endpoint and returns their answers. Clones share the same
/// connections.
#[derive(Clone)]
pub(super) struct Channel(Arc<Inner>);

struct Inner {
    endpoint: Endpoint,
    outage: Outage,
    carrier: Carrier,
}

/// The carrier of a channel.
enum Carrier {
    Frames(Frames),
    #[cfg(feature = "grpc")]
    Grpc(grpc::Grpc),
    #[cfg(feature = "http")]
    Http(http::Http),
}

/// The answers to a streaming request.
///
/// If `Answers` is dropped without a call to [`finish`](Self::finish), the connection is closed,
/// which tells the server to stop the stream.
#[cfg_attr(
    any(feature = "grpc", feature = "http"),
    allow(
        clippy::large_enum_variant,
        reason = "a call has one of these, and calls over frames need no allocation for it"
    )
)]
pub(super) enum Answers {
    Frames(Lease),
    #[cfg(feature = "grpc")]
    Grpc(grpc::Chunks),
    #[cfg(feature = "http")]
    Http(http::Events),
}

impl Carrier {
    /// Creates the carrier for the endpoint of a connector. The scheme of the endpoint determines
    /// the carrier.
    fn new(client: &Client, connector: Arc<dyn Connector>) -> Self {
        match connector.endpoint() {
            #[cfg(feature = "grpc")]
            endpoint if request::is_grpc(endpoint) => {
                Self::Grpc(grpc::Grpc::new(client, connector))
            }
            #[cfg(feature = "http")]
            Endpoint::Url(url) if url.scheme.is_http() => {
                let url = url.clone();
                Self::Http(http::Http::new(client, connector, &url))
            }
            _ => Self::Frames(Frames::new(client, connector)),
        }
    }
}

impl Channel {
    pub(super) fn new(client: &Client, connector: Arc<dyn Connector>) -> Self {
        Self(Arc::new(Inner {
            endpoint: connector.endpoint().clone(),
            outage: Outage::default(),
            carrier: Carrier::new(client, connector),
        }))
    }

    pub(super) fn endpoint(&self) -> &Endpoint {
        &self.0.endpoint
    }

    /// Returns the record of the current outage of the server.
    pub(super) fn outage(&self) -> &Outage {
        &self.0.outage
    }

    /// Sends a request and waits for its only answer.
    ///
    /// The futures of optional carriers are large. They are boxed, so that they do not make the
    /// futures of all calls larger.
    pub(super) async fn call(
        &self,
        request: &Request,
        deadlines: Deadlines<'_>,
    ) -> Result<Body, Failure> {
        match &self.0.carrier {
            Carrier::Frames(frames) => frames.call(request, deadlines).await,
            #[cfg(feature = "grpc")]
            Carrier::Grpc(grpc) => Box::pin(grpc.call(request, deadlines)).await,
            #[cfg(feature = "http")]
            Carrier::Http(http) => Box::pin(http.call(request, deadlines)).await,
        }
    }

    /// Sends a request and waits for the first answer.
    pub(super) async fn open(
        &self,
        request: &Request,
        deadlines: Deadlines<'_>,
    ) -> Result<(Answers, Body), Failure> {
        match &self.0.carrier {
            Carrier::Frames(frames) => {
                let (lease, body) = frames.open(request, deadlines).await?;
                Ok((Answers::Frames(lease), body))
            }
            #[cfg(feature = "grpc")]
            Carrier::Grpc(grpc) => {
                let (chunks, body) = Box::pin(grpc.open(request, deadlines)).await?;
                Ok((Answers::Grpc(chunks), body))
            }
            #[cfg(feature = "http")]
            Carrier::Http(http) => {
                let (events, body) = Box::pin(http.open(request, deadlines)).await?;
                Ok((Answers::Http(events), body))
            }
        }
    }

    /// Sends a request and waits for any response. Returns `None` if the server has closed the
    /// connection in response.
    pub(super) async fn ping(
        &self,
        request: &Request,
        deadlines: Deadlines<'_>,
    ) -> Result<Option<Body>, Failure> {
        match &self.0.carrier {
            Carrier::Frames(frames) => frames.ping(request, deadlines).await,
            #[cfg(feature = "grpc")]
            Carrier::Grpc(grpc) => Box::pin(grpc.ping(deadlines)).await.map(|()| None),
            #[cfg(feature = "http")]
            Carrier::Http(http) => Box::pin(http.ping(request, deadlines)).await,
        }
    }

    /// Returns the number of open connections that no call uses.
    pub(super) fn idle(&self) -> usize {
        match &self.0.carrier {
            Carrier::Frames(frames) => frames.idle(),
            #[cfg(feature = "grpc")]
            Carrier::Grpc(grpc) => grpc.idle(),
            #[cfg(feature = "http")]
            Carrier::Http(http) => http.idle(),
        }
    }

    /// Stops accepting calls, and closes each connection once its calls have ended.
    pub(super) fn drain(&self) {
        match &self.0.carrier {
            Carrier::Frames(frames) => frames.drain(),
            #[cfg(feature = "grpc")]
            Carrier::Grpc(grpc) => grpc.drain(),
            #[cfg(feature = "http")]
            Carrier::Http(http) => http.drain(),
        }
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Channel").field(self.endpoint()).finish()
    }
}

impl Answers {
    /// Waits for the next answer.
    pub(super) async fn next(&mut self, id: &RequestId, until: Instant) -> Result<Body, Failure> {
        match self {
            Self::Frames(lease) => frames::next_answer(lease, id, until).await,
            #[cfg(feature = "grpc")]
            Self::Grpc(chunks) => Box::pin(chunks.next(until)).await,
            #[cfg(feature = "http")]
            Self::Http(events) => Box::pin(events.next(until)).await,
        }
    }

    /// Releases the connection after the last answer, so that other calls can use the connection.
    pub(super) fn finish(self) {
        match self {
            Self::Frames(lease) => lease.release(),
            #[cfg(feature = "grpc")]
            Self::Grpc(chunks) => drop(chunks),
            #[cfg(feature = "http")]
            Self::Http(events) => events.finish(),
        }
    }
}
