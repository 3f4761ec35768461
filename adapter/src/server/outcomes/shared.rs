//! Outcomes that several servers share through Redis.

use std::{sync::Arc, time::Duration};

use agentwire_codec::{Body, Envelope, ErrorCode, Format, Map, RequestId, WireError};
use agentwire_registry::{OutcomeClaim, RedisOutcomes, RegistryError};
use agentwire_transport::internal::{Backoff, LogLimit};
use futures_core::future::BoxFuture;
use tokio::time::{Instant, sleep};

use super::{
    answers::{conflict, is_unstarted, marked},
    key::Key,
};
use crate::server::service::{Caller, Service, Work};

/// A request with a key that no request to this server has.
pub(super) struct SharedRequest {
    pub(super) outcomes: Arc<RedisOutcomes>,
    pub(super) service: Arc<dyn Service>,
    pub(super) key: String,
    pub(super) fingerprint: u64,
    pub(super) window: Duration,
    pub(super) id: RequestId,
    pub(super) body: Body,
    pub(super) caller: Caller,
}

impl SharedRequest {
    /// Processes the request, unless another server processes it or has done so. Returns the
    /// outcome.
    pub(super) async fn run(self) -> Body {
        let token = RequestId::random().to_string();
        match self.claim(&token).await {
            Some(outcome) => outcome,
            None => self.process(&token).await,
        }
    }

    /// Waits until the request may be processed, or has an outcome.
    async fn claim(&self, token: &str) -> Option<Body> {
        let mut backoff = Backoff::new(FIRST_DELAY, MAX_DELAY);
        loop {
            let claim = self
                .outcomes
                .claim(&self.key, token, self.fingerprint, LEASE)
                .await;
            match claim {
                Ok(OutcomeClaim::First) => return None,
                Ok(OutcomeClaim::Done(outcome)) => return Some(read(&outcome)),
                Ok(OutcomeClaim::Conflict) => return Some(Body::Error(conflict())),
                Ok(_) => sleep(backoff.next_delay()).await,
                Err(error) => {
                    self.warn(&error, "request refused: its key cannot be claimed");
                    return Some(Body::Error(unreachable()));
                }
            }
        }
    }

    async fn process(mut self, token: &str) -> Body {
        let body = std::mem::replace(&mut self.body, Body::StreamEnd);
        let answer: BoxFuture<'static, Body> =
            match self.service.start(&self.id, body, &self.caller) {
                Ok(Work::One(answer)) => answer,
                Ok(Work::Many(_)) => Box::pin(std::future::ready(Body::StreamEnd)),
                Err(error) => Box::pin(std::future::ready(Body::Error(error))),
            };
        let renewing = async {
            loop {
                sleep(LEASE / 3).await;
                if let Err(error) = self.outcomes.renew(&self.key, token, LEASE).await {
                    self.warn(&error, "claim of a request cannot be renewed");
                }
            }
        };
        let outcome = tokio::select! {
            biased;
            outcome = answer => outcome,
            () = renewing => Body::StreamEnd,
        };
        if let Err(error) = self.store(token, &outcome).await {
            self.warn(&error, "outcome of a request cannot be shared");
        }
        outcome
    }

    async fn store(&self, token: &str, outcome: &Body) -> Result<(), RegistryError> {
        let envelope = Envelope::new(RequestId::unknown(), outcome.clone());
        let mut bytes = Vec::new();
        let is_encoded = Format::MessagePack.encode(&envelope, &mut bytes).is_ok();
        if is_unstarted(outcome) || !is_encoded {
            return self.outcomes.release(&self.key, token).await;
        }
        let stored = self.outcomes.finish(&self.key, token, &bytes, self.window);
        stored.await.map(drop)
    }

    fn warn(&self, error: &RegistryError, problem: &str) {
        if let Some(count) = FAILURES.record(Instant::now().into_std()) {
            tracing::warn!(id = %self.id, %error, count, "{problem}");
        }
    }
}

/// Returns the text by which all servers know a key.
pub(super) fn text_of(key: &Key) -> String {
    key.owner.text_of(&key.key)
}

/// Returns a number that is the same on all servers (FNV-1a).
pub(super) fn fingerprint(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

fn read(outcome: &[u8]) -> Body {
    match Format::MessagePack.decode(outcome) {
        Ok(envelope) => marked(envelope.body),
        Err(_) => {
            let text = "The outcome of the request cannot be read";
            Body::Error(WireError::new(ErrorCode::INTERNAL_ERROR, text))
        }
    }
}

fn unreachable() -> WireError {
    let text = "The server cannot reach the outcomes that it shares";
    WireError::new(ErrorCode::AGENT_UNAVAILABLE, text)
        .with_details(Map::from([("reason", "outcomes")]))
}

/// How long a claim is valid after its server has crashed.
const LEASE: Duration = Duration::from_secs(30);

/// How often a server looks whether another one has finished a request.
const FIRST_DELAY: Duration = Duration::from_millis(5);
const MAX_DELAY: Duration = Duration::from_millis(500);

static FAILURES: LogLimit = LogLimit::new();
