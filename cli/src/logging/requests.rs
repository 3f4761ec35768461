//! Logs one line for each request of a server and each call of a client.

use std::{fmt::Display, sync::Arc, time::Duration};

use agentwire::{
    observer::{Observer, Outcome, RequestEvent},
    transport::internal::Untrusted,
};

use super::line::REQUESTS;

/// Returns the observer that logs the requests of a server, or `None` if nothing is logged.
pub(crate) fn of_server() -> Option<Arc<dyn Observer>> {
    observer(None)
}

/// Returns the observer that logs the calls of a client, or `None` if nothing is logged. `place` is
/// the endpoint or the registry.
pub(crate) fn of_client(place: impl Display) -> Option<Arc<dyn Observer>> {
    observer(Some(Untrusted(place).to_string()))
}

fn observer(place: Option<String>) -> Option<Arc<dyn Observer>> {
    let is_enabled = tracing::enabled!(target: REQUESTS, tracing::Level::INFO);
    is_enabled.then(|| Arc::new(Requests { place }) as _)
}

struct Requests {
    /// What a client calls, or `None` on a server.
    place: Option<String>,
}

impl Observer for Requests {
    fn request_ended(&self, request: &RequestEvent<'_>, outcome: Outcome<'_>, duration: Duration) {
        let duration_ms = (duration.as_secs_f64() * 1e6).round() / 1e3;
        let (request_id, agent) = (Untrusted(request.id), Untrusted(request.name));
        let (method, code) = (request.method, Untrusted(outcome.code()));
        let peer = request.peer.map(tracing::field::display);
        let endpoint = self.place.as_deref();
        tracing::info!(
            target: REQUESTS, parent: None, %request_id, method, %agent, peer, endpoint, duration_ms,
            %code, "request"
        );
    }
}
