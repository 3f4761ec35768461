//! The connections to one endpoint: the layer that a carrier joins.
//!
//! A carrier is a way to move envelopes: today frames on a byte stream, whichever transport brings
//! it. Each has a folder of its own beside [`frames`], a variant of [`Carrier`] and of [`Answers`],
//! and pools its connections as it needs to. What all carriers have in common is outside of them:
//! the encoded [`Request`], the [`Deadlines`] of its steps and the [`Failure`] that it ends in.

pub(super) mod deadlines;
pub(super) mod failure;
mod frame;
mod frames;
pub(super) mod request;

use std::{fmt, sync::Arc};

use agentwire_codec::{Body, RequestId};
use agentwire_transport::{Connector, Endpoint};
use tokio::time::Instant;

use self::{
    deadlines::Deadlines,
    failure::Failure,
    frames::{Frames, Lease},
    request::Request,
};
use super::shared::Client;

/// Sends requests to one endpoint and returns their answers. Clones are one channel.
#[derive(Clone)]
pub(super) struct Channel(Arc<Inner>);

struct Inner {
    endpoint: Endpoint,
    carrier: Carrier,
}

/// How the envelopes of a channel travel.
enum Carrier {
    Frames(Frames),
}

/// The answers to one request that has several.
///
/// Dropping it before [`finish`](Self::finish) tells the server to stop.
pub(super) enum Answers {
    Frames(Lease),
}

impl Channel {
    pub(super) fn new(client: &Client, connector: Arc<dyn Connector>) -> Self {
        Self(Arc::new(Inner {
            endpoint: connector.endpoint().clone(),
            carrier: Carrier::Frames(Frames::new(client, connector)),
        }))
    }

    pub(super) fn endpoint(&self) -> &Endpoint {
        &self.0.endpoint
    }

    /// Sends a request and waits for its only answer.
    pub(super) async fn call(
        &self,
        request: &Request,
        deadlines: Deadlines<'_>,
    ) -> Result<Body, Failure> {
        match &self.0.carrier {
            Carrier::Frames(frames) => frames.call(request, deadlines).await,
        }
    }

    /// Sends a request and waits for the first of its answers.
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
        }
    }

    /// Sends a request and waits for any reaction to it.
    pub(super) async fn ping(
        &self,
        request: &Request,
        deadlines: Deadlines<'_>,
    ) -> Result<(), Failure> {
        match &self.0.carrier {
            Carrier::Frames(frames) => frames.ping(request, deadlines).await,
        }
    }

    /// Returns how many open connections no call uses.
    pub(super) fn idle(&self) -> usize {
        match &self.0.carrier {
            Carrier::Frames(frames) => frames.idle(),
        }
    }

    /// Accepts no more calls, and closes each connection once its calls have ended.
    pub(super) fn drain(&self) {
        match &self.0.carrier {
            Carrier::Frames(frames) => frames.drain(),
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
        }
    }

    /// Ends a request whose last answer has arrived. Its connection is free for other calls.
    pub(super) fn finish(self) {
        match self {
            Self::Frames(lease) => lease.release(),
        }
    }
}
