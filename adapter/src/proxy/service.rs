//! Forwards requests to the target of a proxy.

use std::{
    future::Future,
    time::{Duration, Instant as StdInstant},
};

use agentwire_codec::{
    Body, Delivery, EnvelopeType, ErrorCode, Map, RawBody, RequestId, Value, WireError,
};
use agentwire_transport::internal::{LogLimit, MAX_TIMEOUT};
use async_stream::stream;
use futures_core::Stream;
use futures_util::StreamExt;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::{
    Error,
    client::Forwarder,
    connection::Bodies,
    description::DESCRIBE,
    server::{Caller, Heartbeats, Owner, Service, Work},
};

/// The service of a [`Proxy`](super::Proxy).
pub(super) struct ProxyService {
    target: Forwarder,
    /// Ends all watches at shutdown, because watches do not end by themselves.
    drain: CancellationToken,
}

/// The answers that the target sends to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answers {
    /// A single answer.
    One,
    /// A stream, or an unknown number of answers.
    Many,
    /// A stream that does not end.
    Endless,
}

impl ProxyService {
    pub(super) fn new(target: Forwarder, drain: CancellationToken) -> Self {
        Self { target, drain }
    }

    /// Adds the configured agent name, if there is one, to a request that does not name an agent.
    fn with_name(&self, raw: &mut RawBody) {
        let name = self.target.name();
        if name.is_empty() || !is_call(raw) || names_an_agent(&raw.payload) {
            return;
        }
        let mut named = Map::new();
        for (key, value) in std::mem::take(&mut raw.payload) {
            if key == "agent_name" {
                continue;
            }
            let is_method = key == "method";
            named.insert(key, value);
            if is_method {
                named.insert("agent_name", name);
            }
        }
        raw.payload = named;
    }
}

impl Service for ProxyService {
    fn bodies(&self) -> Bodies {
        Bodies::Raw
    }

    fn accepts(&self, kind: EnvelopeType) -> bool {
        matches!(
            kind,
            EnvelopeType::Request
                | EnvelopeType::Register
                | EnvelopeType::Heartbeat
                | EnvelopeType::Unregister
        )
    }

    /// Returns the configured name for a request without a name.
    fn agent_for<'a>(&'a self, requested: &'a str) -> &'a str {
        match requested {
            "" => self.target.name(),
            requested => requested,
        }
    }

    fn heartbeats(&self) -> Heartbeats {
        Heartbeats::Forwarded
    }

    fn start(&self, id: &RequestId, body: Body, caller: &Caller) -> Result<Work, WireError> {
        let Body::Raw(mut raw) = body else {
            // Unreachable, because `bodies` requests raw bodies.
            return Err(WireError::new(ErrorCode::INTERNAL_ERROR, "Not a raw body"));
        };
        self.with_name(&mut raw);
        let deadline = sent_deadline(&raw);
        if let Some(carried) = &caller.carried {
            carried.put(&mut raw.payload);
        }
        with_own_key(&mut raw, caller)?;
        let answers = answers_to(&raw);
        let (id, request) = (id.clone(), Body::Raw(raw));
        let target = self.target.clone();
        Ok(match answers {
            Answers::One => Work::One(Box::pin(async move {
                let answer = target.call(id.clone(), request);
                match before(deadline, answer).await {
                    Some(answer) => {
                        answer.unwrap_or_else(|error| Body::Error(no_answer(&error, &id)))
                    }
                    None => Body::Error(too_late()),
                }
            })),
            Answers::Many => {
                let answers = target.stream(id.clone(), request).map(move |answer| {
                    answer.unwrap_or_else(|error| Body::Error(no_answer(&error, &id)))
                });
                match deadline {
                    Some(deadline) => Work::Many(Box::pin(until(deadline, answers))),
                    None => Work::Many(Box::pin(answers)),
                }
            }
            Answers::Endless => {
                let answers = until_drained(target.stream(id.clone(), request), self.drain.clone());
                Work::Many(Box::pin(answers.map(move |answer| {
                    answer.unwrap_or_else(|error| Body::Error(no_answer(&error, &id)))
                })))
            }
        })
    }
}

/// Ends a stream at shutdown. When a watch ends, clients of a registry open a new watch at a
/// running server.
fn until_drained(
    answers: impl Stream<Item = Result<Body, Error>> + Send + 'static,
    drain: CancellationToken,
) -> impl Stream<Item = Result<Body, Error>> + Send + 'static {
    stream! {
        let mut answers = Box::pin(answers);
        loop {
            tokio::select! {
                biased;
                () = drain.cancelled() => {
                    yield Ok(Body::StreamEnd);
                    return;
                }
                answer = answers.next() => match answer {
                    Some(answer) => yield answer,
                    None => return,
                },
            }
        }
    }
}

/// Returns the deadline that a caller has sent (PROTOCOL 16.2). The target gets the same key, and
/// stops as well if the proxy leaves.
fn sent_deadline(raw: &RawBody) -> Option<Instant> {
    let has_deadline = raw.kind == EnvelopeType::Request
        && matches!(method(raw), Some("process" | "stream" | "execute"));
    let sent = raw.payload.get("deadline_ms").filter(|_| has_deadline)?;
    let left = Duration::from_millis(sent.as_u64()?);
    Some(Instant::now() + left.min(MAX_TIMEOUT))
}

/// Returns an answer, or `None` if it does not arrive before the deadline.
async fn before<T>(deadline: Option<Instant>, answer: impl Future<Output = T>) -> Option<T> {
    match deadline {
        Some(deadline) => timeout_at(deadline, answer).await.ok(),
        None => Some(answer.await),
    }
}

/// Ends a stream at its deadline, also if it sends without a pause.
fn until(
    deadline: Instant,
    answers: impl Stream<Item = Body> + Send + 'static,
) -> impl Stream<Item = Body> + Send + 'static {
    stream! {
        let mut answers = Box::pin(answers);
        loop {
            let answer = timeout_at(deadline, answers.next()).await;
            match answer {
                Ok(Some(answer)) if Instant::now() < deadline => yield answer,
                Ok(None) => return,
                _ => break,
            }
        }
        drop(answers);
        yield Body::Error(too_late());
    }
}

fn too_late() -> WireError {
    let text = "The target of the proxy did not answer before the deadline";
    WireError::new(ErrorCode::AGENT_TIMEOUT, text)
}

fn method(raw: &RawBody) -> Option<&str> {
    raw.payload.get("method").and_then(Value::as_str)
}

/// Replaces an idempotency key by one that no other caller of the proxy has, because the target
/// takes all requests for those of the proxy (PROTOCOL 16.3). The new key has the name of the
/// caller, and is the same after a restart of the proxy.
///
/// # Errors
///
/// Returns an error if the new key would be too long. Without a key, the request might be processed
/// twice.
fn with_own_key(raw: &mut RawBody, caller: &Caller) -> Result<(), WireError> {
    if !matches!(method(raw), Some("process" | "stream" | "execute")) {
        return Ok(());
    }
    let Some(Value::Text(key)) = raw.payload.get_mut("idempotency_key") else {
        return Ok(());
    };
    if !Delivery::is_usable_key(key) {
        return Ok(());
    }
    let own = Owner::of(caller).text_of(key);
    if !Delivery::is_usable_key(&own) {
        let text = format!(
            "The idempotency key is too long for a proxy: it has {} bytes with the name of its caller; \
             use a shorter key",
            own.len()
        );
        let reason = Map::from([("reason", "idempotency_key")]);
        return Err(WireError::new(ErrorCode::INVALID_MESSAGE, text).with_details(reason));
    }
    *key = own;
    Ok(())
}

/// Returns whether the request is addressed to an agent.
fn is_call(raw: &RawBody) -> bool {
    raw.kind == EnvelopeType::Request && matches!(method(raw), Some("process" | "stream"))
}

fn names_an_agent(payload: &Map) -> bool {
    match payload.get("agent_name") {
        None | Some(Value::Null) => false,
        Some(name) => name.as_str() != Some(""),
    }
}

fn answers_to(raw: &RawBody) -> Answers {
    match (raw.kind, method(raw)) {
        (
            EnvelopeType::Request,
            Some("process" | "execute" | DESCRIBE | "lookup" | "list" | "find"),
        ) => Answers::One,
        (EnvelopeType::Request, Some("watch")) => Answers::Endless,
        (EnvelopeType::Request, _) => Answers::Many,
        _ => Answers::One,
    }
}

/// Logs why the target did not answer, and returns the error for the caller. The error reveals
/// neither the endpoint of the target nor the system error (PROTOCOL 7.2).
fn no_answer(error: &Error, id: &RequestId) -> WireError {
    if let Some(count) = FAILURES.record(StdInstant::now()) {
        tracing::warn!(%id, count, error = format!("{error:#}"), "target did not answer");
    }
    let text = match error {
        Error::Encode { source, .. } => {
            format!("The proxy cannot send the request to its target: {source}")
        }
        Error::UnreadableByPeer { key, found, .. } => {
            format!("The target of the proxy cannot read the message: its {key} is {found}")
        }
        Error::ConnectionFailed { .. } | Error::Unreachable { .. } => {
            "The proxy cannot connect to its target".to_owned()
        }
        Error::NotRegistered { .. } => "The target of the proxy is not registered".to_owned(),
        Error::Registry { .. } => "The proxy cannot look up its target".to_owned(),
        Error::Timeout { timeout, phase, .. } => {
            let phase = match phase {
                crate::Phase::Queueing => "waiting for a free connection",
                crate::Phase::Connecting => "connecting",
                crate::Phase::Sending => "sending the request",
                _ => "waiting for the answer",
            };
            format!("The target of the proxy timed out after {timeout:?} while {phase}")
        }
        Error::ConnectionClosed { sent: false, .. } => {
            "The proxy lost the connection to its target before the request was sent".to_owned()
        }
        Error::ConnectionClosed { .. } => {
            "The proxy lost the connection to its target before the answer arrived".to_owned()
        }
        Error::InvalidMessage { source, .. }
        | Error::UnsupportedVersion { source, .. }
        | Error::MalformedPayload { source, .. } => {
            format!("The target of the proxy sent an invalid answer: {source}")
        }
        _ => "The proxy failed".to_owned(),
    };
    let code = match error {
        // The message is at fault, and not the proxy.
        Error::UnreadableByPeer { .. } => ErrorCode::MALFORMED_PAYLOAD,
        error => error.code(),
    };
    WireError::new(code, text)
}

/// Limits the rate of warnings about unanswered requests, because callers can cause such warnings.
static FAILURES: LogLimit = LogLimit::new();

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicU64, Ordering::Relaxed},
        time::Duration,
    };

    use agentwire_codec::{Message, map};
    use agentwire_transport::Peer;

    use super::*;
    use crate::{LocalAgent, Principal, RemoteAgent, agent_fn, proxy::ProxyTarget};

    fn request(key: Option<&str>) -> Body {
        let message = map! {"role": "user", "content": "hello"};
        let mut payload = map! {"method": "process", "message": message};
        if let Some(key) = key {
            payload.insert("idempotency_key", key);
        }
        Body::Raw(Box::new(RawBody::new(EnvelopeType::Request, payload)))
    }

    fn caller(principal: Option<Principal>) -> Caller {
        let mut caller = Caller::new(Peer::from("a test"));
        caller.principal = principal;
        caller
    }

    #[tokio::test]
    async fn callers_of_a_proxy_have_keys_of_their_own() {
        let runs = AtomicU64::new(0);
        let agent = agent_fn("counter", move |_: Message| {
            let run = runs.fetch_add(1, Relaxed);
            async move { Ok(Message::agent(run)) }
        });
        let server = LocalAgent::builder(agent)
            .keep_outcomes(Duration::from_secs(60), 1 << 20)
            .endpoint("memory://keys-of-a-proxy")
            .serve()
            .await
            .unwrap();
        let service = || {
            let target = ProxyTarget::from(RemoteAgent::builder(server.endpoint()));
            ProxyService::new(target.forwarder().unwrap(), CancellationToken::new())
        };
        let alice = Principal::new("alice");
        let callers = [
            (Some(alice.clone()), 0),
            (Some(Principal::new("bob")), 1),
            (Some(alice.clone().with_namespace("prod")), 2),
            (None, 3),
            // A repetition, also after a restart of the proxy.
            (Some(alice.with_role("admin")), 0),
        ];
        for (principal, run) in callers {
            for carried in [false, true] {
                let mut caller = caller(principal.clone());
                let body = if carried {
                    let carried = caller.carried.get_or_insert_default();
                    carried.idempotency_key = Some("key".into());
                    request(None)
                } else {
                    request(Some("key"))
                };
                let started = service().start(&RequestId::random(), body, &caller);
                let Ok(Work::One(answer)) = started else {
                    panic!("not a call");
                };
                let Body::Raw(answer) = answer.await else {
                    panic!("not a raw answer");
                };
                let message = answer.payload["message"].as_map().unwrap();
                assert_eq!(
                    message["content"],
                    Value::from(run),
                    "{principal:?} {carried}"
                );
            }
        }
        let long = "k".repeat(250);
        let started = service().start(
            &RequestId::random(),
            request(Some(&long)),
            &caller(Some(Principal::new("alice"))),
        );
        let Err(error) = started else {
            panic!("forwarded a key that the target would ignore");
        };
        assert_eq!(error.details["reason"], Value::from("idempotency_key"));
    }
}
