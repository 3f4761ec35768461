//! One call: a stream of HTTP/2.

use std::{
    future::poll_fn,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use agentwire_proto::Rpc;
use agentwire_transport::internal::MAX_TIMEOUT;
use bytes::Bytes;
use h2::{Reason, RecvStream, SendStream, server::SendResponse};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header::CONTENT_TYPE, request::Parts};
use tokio::time::{Instant, sleep_until};

use super::{agent, health, reflection};
use crate::{
    grpc::{self, Code, Encoding, MessageReader, SendError, Status, frame, is_grpc, send},
    server::{
        carrier::memory::Memory,
        config::ServerConfig,
        service::{Caller, Service},
        shutdown::Shutdown,
    },
};

/// What all calls of a connection share.
pub(super) struct Context {
    pub(super) service: Arc<dyn Service>,
    pub(super) config: Arc<ServerConfig>,
    pub(super) caller: Caller,
    pub(super) memory: Memory,
    pub(super) shutdown: Shutdown,
    pub(super) is_draining: AtomicBool,
}

impl Context {
    pub(super) fn is_draining(&self) -> bool {
        // Relaxed, because the flag is set in the task that reads it.
        self.is_draining.load(Relaxed)
    }
}

/// What has become of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The service has accepted the request.
    Accepted,
    /// The service has not accepted the request.
    Refused,
    /// The call was not for an agent.
    Auxiliary,
}

/// The sending half of a call.
pub(super) struct Answer {
    respond: SendResponse<Bytes>,
    stream: Option<SendStream<Bytes>>,
    stall: std::time::Duration,
}

/// Returns whether a request is for an agent. Only such calls keep their connection open: anybody
/// may call the other services, and some of those calls wait for as long as their callers like.
pub(super) fn is_for_agent(request: &http::Request<RecvStream>) -> bool {
    Rpc::from_path(request.uri().path()).is_some()
}

/// Serves a call until it is answered or its caller goes away.
pub(super) async fn serve(
    request: http::Request<RecvStream>,
    respond: SendResponse<Bytes>,
    context: Arc<Context>,
) -> Outcome {
    let refused = if is_for_agent(&request) {
        Outcome::Refused
    } else {
        Outcome::Auxiliary
    };
    let (parts, body) = request.into_parts();
    let answer = Answer {
        respond,
        stream: None,
        stall: context.config.write_timeout.min(MAX_TIMEOUT),
    };
    if let Some(status) = refusal(&parts) {
        answer.refuse(status);
        return refused;
    }
    let name = parts.headers.get("grpc-encoding");
    let encoding = name.map_or(Some(Encoding::Identity), |name| {
        Encoding::from_name(name.as_bytes())
    });
    let Some(encoding) = encoding else {
        let text = "the compression is not supported; use identity or gzip";
        answer.end(&Status::new(Code::Unimplemented, text));
        return refused;
    };
    let reader = MessageReader::new(body, encoding);
    match parts.uri.path() {
        "/grpc.health.v1.Health/Check" => health::check(reader, answer, &context).await,
        "/grpc.health.v1.Health/Watch" => health::watch(reader, answer, &context).await,
        reflection::V1 | reflection::V1_ALPHA => {
            reflection::serve(reader, answer, &context).await;
        }
        path => match Rpc::from_path(path) {
            Some(rpc) => return agent::serve(rpc, &parts, reader, answer, &context).await,
            None => answer.end(&Status::new(Code::Unimplemented, "Method not found!")),
        },
    }
    refused
}

/// Returns the status of HTTP for a request that is not gRPC.
fn refusal(parts: &Parts) -> Option<StatusCode> {
    if parts.method != Method::POST {
        return Some(StatusCode::METHOD_NOT_ALLOWED);
    }
    let content_type = parts.headers.get(CONTENT_TYPE);
    let is_grpc = content_type.is_some_and(|name| is_grpc(name.as_bytes()));
    (!is_grpc).then_some(StatusCode::UNSUPPORTED_MEDIA_TYPE)
}

/// Returns when the caller stops waiting, if the headers say so.
pub(super) fn deadline(headers: &HeaderMap) -> Option<Instant> {
    let timeout = grpc::read_timeout(headers.get("grpc-timeout")?.as_bytes())?;
    Some(Instant::now() + timeout.min(MAX_TIMEOUT))
}

/// Returns whether a deadline has passed.
pub(super) fn has_passed(deadline: Option<Instant>) -> bool {
    deadline.is_some_and(|deadline| deadline <= Instant::now())
}

/// Waits for a deadline, or forever.
pub(super) async fn reached(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

impl Answer {
    /// Waits until the caller cancels the call or goes away.
    pub(super) async fn cancelled(&mut self) {
        let polled = poll_fn(|cx| match &mut self.stream {
            Some(stream) => stream.poll_reset(cx),
            None => self.respond.poll_reset(cx),
        });
        // An error means that the connection has ended.
        let _ = polled.await;
    }

    /// Sends a message.
    ///
    /// # Errors
    ///
    /// Returns an error if the caller has gone away or does not read.
    pub(super) async fn message(&mut self, message: Bytes) -> Result<(), SendError> {
        let stall = self.stall;
        send(self.stream()?, message, stall).await
    }

    /// Sends the headers, so that the caller knows that the call has begun.
    pub(super) fn stream(&mut self) -> Result<&mut SendStream<Bytes>, SendError> {
        match &mut self.stream {
            Some(stream) => Ok(stream),
            stream => {
                let sent = self.respond.send_response(headers(), false);
                let sent = sent.map_err(|_| SendError::Stream)?;
                Ok(stream.insert(sent))
            }
        }
    }

    /// Ends the call. A caller that has gone away is not told.
    pub(super) fn end(mut self, status: &Status) {
        match &mut self.stream {
            Some(stream) => {
                let _ = stream.send_trailers(status.to_trailers());
            }
            None => {
                let mut response = headers();
                status.write(response.headers_mut());
                let _ = self.respond.send_response(response, true);
            }
        }
    }

    /// Sends the only message of an answer and ends the call.
    pub(super) async fn end_with(mut self, message: &impl prost::Message) {
        // The services of this carrier send small messages.
        let Ok(message) = frame(message, usize::MAX) else {
            return;
        };
        match self.message(message).await {
            Ok(()) => self.end(&Status::OK),
            Err(error) => self.give_up(&error),
        }
    }

    /// Drops a call whose caller does not read.
    pub(super) fn give_up(mut self, error: &SendError) {
        match error {
            SendError::Stream => {}
            SendError::Stalled => {
                tracing::debug!("call cancelled: the caller does not read the answer");
                if let Some(stream) = &mut self.stream {
                    stream.send_reset(Reason::CANCEL);
                }
            }
        }
    }

    /// Answers a request that is not gRPC.
    fn refuse(mut self, status: StatusCode) {
        let mut response = http::Response::new(());
        *response.status_mut() = status;
        let _ = self.respond.send_response(response, true);
    }
}

fn headers() -> http::Response<()> {
    let mut response = http::Response::new(());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(grpc::CONTENT_TYPE));
    let accepted = HeaderValue::from_static(grpc::ACCEPTED_ENCODINGS);
    headers.insert("grpc-accept-encoding", accepted);
    response
}
