//! Keeps the outcomes of requests with an idempotency key (PROTOCOL 16.3).

mod answers;
mod key;
#[cfg(feature = "redis")]
mod shared;
mod store;
mod stream;
#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use agentwire_codec::{Body, ErrorCode, Map, Request, RequestId, WireError};
use futures_core::{future::BoxFuture, stream::BoxStream};
use tokio::{runtime::Handle, sync::watch, time::sleep};
use tokio_util::task::TaskTracker;

pub(crate) use self::store::OutcomeLimits;
use self::{
    answers::{conflict, wait},
    key::{Key, identity_of},
    store::{Admitted, Outcome, Place, Store},
    stream::{End, KeptStream, Reader, Starting},
};
use super::{
    service::{Caller, Service, Work},
    shutdown::Shutdown,
};
use crate::connection::approximate_memory;

/// Where the outcomes are that several servers share, if they do.
#[derive(Debug, Clone, Default)]
pub(crate) struct SharedOutcomes {
    #[cfg(feature = "redis")]
    redis: Option<Arc<agentwire_registry::RedisOutcomes>>,
}

#[cfg(feature = "redis")]
impl SharedOutcomes {
    pub(crate) fn through(redis: agentwire_registry::RedisOutcomes) -> Self {
        Self {
            redis: Some(Arc::new(redis)),
        }
    }
}

/// A service that processes a request with an idempotency key once. A repeated request joins the
/// first one, or gets its outcome.
pub(in crate::server) struct Outcomes {
    service: Arc<dyn Service>,
    store: Arc<Store>,
    #[cfg_attr(
        not(feature = "redis"),
        allow(dead_code, reason = "nothing can be shared")
    )]
    shared: SharedOutcomes,
    /// Requests with a key run in tasks of the server, so that they continue if their connection
    /// ends.
    tasks: TaskTracker,
    shutdown: Shutdown,
}

impl Outcomes {
    /// Keeps outcomes of requests that may use this memory while they are in flight.
    pub(in crate::server) fn keep(
        service: Arc<dyn Service>,
        limits: OutcomeLimits,
        memory: usize,
        shared: SharedOutcomes,
        tasks: TaskTracker,
        shutdown: Shutdown,
    ) -> Arc<dyn Service> {
        Arc::new(Self {
            service,
            store: Arc::new(Store::new(limits, memory)),
            shared,
            tasks,
            shutdown,
        })
    }

    /// Starts the first request with a key in a task.
    fn run(
        &self,
        place: Place,
        answer: BoxFuture<'static, Body>,
        sender: watch::Sender<Option<Arc<Body>>>,
    ) {
        let shutdown = self.shutdown.listen();
        self.tasks.spawn(async move {
            let outcome = tokio::select! {
                biased;
                () = shutdown.aborted() => return,
                outcome = answer => outcome,
            };
            let outcome = Arc::new(outcome);
            place.keep(&outcome);
            // All callers may have stopped waiting.
            let _ = sender.send(Some(outcome));
        });
    }

    /// Returns the answers of a stream for one request.
    fn read(&self, stream: Arc<KeptStream>, number: u64) -> BoxStream<'static, Body> {
        let kept = Arc::clone(&stream);
        let (tasks, shutdown) = (self.tasks.clone(), self.shutdown.clone());
        let ended = move |end: End| match end {
            End::Sent { bytes } => {
                if let Some(place) = kept.take_place() {
                    place.keep_bytes(bytes);
                }
            }
            End::Unstarted => drop(kept.take_place()),
            End::Left if kept.waits_for_repetition(number) => {
                let give_up = move || drop(kept.give_up(number));
                // A reader can be dropped after its runtime.
                if Handle::try_current().is_err() {
                    return give_up();
                }
                tasks.spawn(async move {
                    tokio::select! {
                        () = shutdown.started() => {}
                        () = sleep(TAKEOVER) => {}
                    }
                    give_up();
                });
            }
            End::Left => {
                if let Some(place) = kept.give_up(number) {
                    place.keep_bytes(0);
                }
            }
        };
        Box::pin(Reader::new(stream, number, Box::new(ended)))
    }

    /// Processes a request in a task, unless another server does.
    #[cfg(feature = "redis")]
    fn run_shared(
        &self,
        (key, place): (Key, Place),
        identity: &[u8],
        sender: watch::Sender<Option<Arc<Body>>>,
        (id, body, caller): (&RequestId, Body, &Caller),
    ) {
        let Some(outcomes) = &self.shared.redis else {
            return;
        };
        let request = shared::SharedRequest {
            outcomes: Arc::clone(outcomes),
            service: Arc::clone(&self.service),
            key: shared::text_of(&key),
            fingerprint: shared::fingerprint(identity),
            window: self.store.limits.window,
            id: id.clone(),
            body,
            caller: caller.clone(),
        };
        self.run(place, Box::pin(request.run()), sender);
    }
}

impl Service for Outcomes {
    fn behind(&self) -> Option<&dyn Service> {
        Some(&*self.service)
    }

    fn start(&self, id: &RequestId, body: Body, caller: &Caller) -> Result<Work, WireError> {
        let Some(key) = Key::of(&body, caller) else {
            return self.service.start(id, body, caller);
        };
        let identity = identity_of(&body);
        let fingerprint = self.store.fingerprint(&identity);
        let (sender, receiver) = watch::channel(None);
        let outcome = if matches!(body, Body::Request(Request::Stream(_))) {
            Outcome::Stream(Arc::default())
        } else {
            Outcome::One(receiver)
        };
        let memory = approximate_memory(&body, usize::MAX);
        let admitted = self.store.admit(&key, fingerprint, &outcome, memory);
        match (admitted, outcome) {
            #[cfg(feature = "redis")]
            (Admitted::First(place), Outcome::One(waiting)) if self.shared.redis.is_some() => {
                self.run_shared((key, place), &identity, sender, (id, body, caller));
                Ok(Work::One(Box::pin(wait(waiting, false))))
            }
            (Admitted::First(place), Outcome::One(waiting)) => {
                match self.service.start(id, body, caller) {
                    Ok(Work::One(answer)) => self.run(place, answer, sender),
                    Ok(other) => return Ok(other),
                    Err(error) => {
                        drop(place);
                        // A repetition may wait for the answer.
                        let _ = sender.send(Some(Arc::new(Body::Error(error.clone()))));
                        return Err(error);
                    }
                }
                Ok(Work::One(Box::pin(wait(waiting, false))))
            }
            (Admitted::First(place), Outcome::Stream(stream)) => {
                let starting = Starting::new(stream, place);
                match self.service.start(id, body, caller) {
                    // A repetition that has taken the stream over has a higher number.
                    Ok(Work::Many(answers)) => {
                        Ok(Work::Many(self.read(starting.started(answers), 0)))
                    }
                    Ok(other) => Ok(other),
                    Err(error) => {
                        starting.failed(error.clone());
                        Err(error)
                    }
                }
            }
            (Admitted::Repeated(Outcome::One(mut waiting)), _) => {
                waiting.mark_unchanged();
                Ok(Work::One(Box::pin(wait(waiting, true))))
            }
            (Admitted::Repeated(Outcome::Stream(stream)), _) => {
                let reader = stream.take_over()?;
                Ok(Work::Many(self.read(stream, reader)))
            }
            (Admitted::Conflict, _) => Err(conflict()),
            (Admitted::Full, _) => {
                let text = "The server keeps too many requests with idempotency keys";
                Err(WireError::new(ErrorCode::AGENT_UNAVAILABLE, text)
                    .with_details(Map::from([("reason", "memory")])))
            }
        }
    }
}

/// How long a stream whose caller has left waits for a repetition of its request.
const TAKEOVER: Duration = Duration::from_secs(10);
