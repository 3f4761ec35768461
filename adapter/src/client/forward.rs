//! The client of a proxy, which forwards requests of any kind.

use std::{fmt, sync::Arc};

use agentwire_codec::{Body, EnvelopeType, RequestId};
use async_stream::stream;
use futures_core::Stream;

use super::{
    builder::{Discovered, FixedEndpoint, RemoteAgentBuilder},
    call::Call,
    config::CallOptions,
    router::Destination,
    shared::Client,
};
use crate::Error;

/// A client that forwards requests to one endpoint or to the instances of an agent, and returns the
/// undecoded answers as [`Body::Raw`].
///
/// A forwarded request keeps its id if it has its own connection. On a shared connection, a request
/// receives a new id, because two requests could otherwise have the same id.
///
/// An error that the target sends is returned as an answer. An [`Error`] means that no answer was
/// received.
#[derive(Clone)]
pub(crate) struct Forwarder(Arc<Inner>);

struct Inner {
    client: Arc<Client>,
    calls: Destination,
    streams: Destination,
}

impl Forwarder {
    /// # Errors
    ///
    /// Returns [`Error::InvalidEndpoint`] if the endpoint is not valid, and
    /// [`Error::InvalidSetting`] if a setting is out of range.
    pub(crate) fn new(builder: RemoteAgentBuilder<FixedEndpoint>) -> Result<Self, Error> {
        builder.into_forwarding_parts().map(Self::from_parts)
    }

    /// # Errors
    ///
    /// Returns [`Error::InvalidName`] if the name is not valid, and [`Error::InvalidSetting`] if a
    /// setting is out of range.
    pub(crate) fn discover(builder: RemoteAgentBuilder<Discovered>) -> Result<Self, Error> {
        builder.into_forwarding_parts().map(Self::from_parts)
    }

    fn from_parts((client, [calls, streams]): (Arc<Client>, [Destination; 2])) -> Self {
        Self(Arc::new(Inner {
            client,
            calls,
            streams,
        }))
    }

    /// Returns the agent name that is added to requests without one.
    pub(crate) fn name(&self) -> &str {
        &self.0.client.config.name
    }

    /// Sends a request and waits for its only answer.
    pub(crate) async fn call(self, id: RequestId, request: Body) -> Result<Body, Error> {
        let Inner { client, calls, .. } = &*self.0;
        let mut call = if client.config.calls_per_connection() > 1 {
            Call::new(client, calls, request, &CallOptions::new())?
        } else {
            Call::forwarded(client, calls, id, request)?
        };
        let answer = call.run().await?;
        match answer.kind() {
            EnvelopeType::Response | EnvelopeType::Error => Ok(answer),
            _ => Err(call.unexpected("'response' or 'error'", &answer)),
        }
    }

    /// Sends a streaming request and returns its answers. The last item is either an error or an
    /// answer that is not a chunk.
    pub(crate) fn stream(
        self,
        id: RequestId,
        request: Body,
    ) -> impl Stream<Item = Result<Body, Error>> + Send + 'static {
        stream! {
            let Inner { client, streams, .. } = &*self.0;
            let mut call = match Call::forwarded(client, streams, id, request) {
                Ok(call) => call,
                Err(error) => {
                    yield Err(error);
                    return;
                }
            };
            let (mut answers, mut answer) = match call.open(None).await {
                Ok(opened) => opened,
                Err(error) => {
                    yield Err(error);
                    return;
                }
            };
            while answer.kind() == EnvelopeType::StreamChunk {
                yield Ok(answer);
                answer = match call.next(&mut answers, None).await {
                    Ok(answer) => answer,
                    Err(error) => {
                        call.ended_with(&error);
                        yield Err(error);
                        return;
                    }
                };
            }
            match answer.kind() {
                EnvelopeType::StreamEnd | EnvelopeType::Response | EnvelopeType::Error => {
                    answers.finish();
                    call.answered(&answer);
                    yield Ok(answer);
                }
                _ => {
                    drop(answers);
                    let error = call.unexpected("an answer", &answer);
                    call.ended_with(&error);
                    yield Err(error);
                }
            }
        }
    }
}

impl fmt::Debug for Forwarder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Forwarder")
            .field("endpoint", &self.0.calls.endpoint())
            .finish_non_exhaustive()
    }
}
