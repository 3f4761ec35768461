//! The handshake of a connection, before its first frame.

use std::task::{Context, Poll, ready};

use agentwire_codec::{Envelope, ErrorCode, Format, RequestId, WireError};
use agentwire_transport::{
    Error as TransportError, Peer, TlsError, WebSocketError,
    internal::{Chain, LogLimit, MAX_TIMEOUT},
};
use tokio::time::Instant;

use super::state::Session;
use crate::{
    Credential,
    server::{
        carrier::{
            expiry,
            frames::{close_reason::CloseReason, foreign_protocol, reply::Reply},
        },
        shutdown::Stage,
    },
};

impl Session {
    /// Completes the handshake of the carrier. The acceptor does not wait for it, so that a silent
    /// peer delays only itself.
    pub(super) fn poll_handshake(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), CloseReason>> {
        // A peer that has not finished its handshake gives way like any other quiet peer.
        self.slot.publish(Some(self.opened));
        if self.slot.poll_evicted(cx) {
            return Poll::Ready(Err(CloseReason::Evicted));
        }
        match self.shutdown.poll(cx) {
            Stage::Serving => {}
            Stage::Draining => return Poll::Ready(Err(CloseReason::Drained)),
            Stage::Aborted => return Poll::Ready(Err(CloseReason::Aborted)),
        }
        if let Poll::Ready(result) = self.connection.poll_handshake(cx) {
            return Poll::Ready(match result {
                Ok(peer) => {
                    let authorization = self.connection.take_authorization();
                    let credential =
                        authorization.map(|value| Credential::from_authorization(&value));
                    self.identify_peer(peer, credential);
                    Ok(())
                }
                Err(error) => self.refuse_handshake(error),
            });
        }
        let deadline = self.opened + self.config.handshake_timeout.min(MAX_TIMEOUT);
        ready!(self.timer.poll(cx, deadline));
        Poll::Ready(Err(CloseReason::Timeout("no handshake")))
    }

    /// Records what the handshakes have told about the peer.
    pub(in crate::server::carrier::frames) fn identify_peer(
        &mut self,
        peer: Peer,
        credential: Option<Credential>,
    ) {
        if let Some(expiry) = peer.certificate().and_then(expiry) {
            self.timeouts.expire_at(expiry);
        }
        self.caller.peer = peer;
        self.caller.credential = credential;
    }

    /// Refuses a peer whose handshake has failed. A peer that does not speak TLS is answered
    /// without TLS, and the bytes that it sends are discarded. (A WebSocket has sent its answer.)
    fn refuse_handshake(&mut self, error: TransportError) -> Result<(), CloseReason> {
        // A peer that leaves is usually a check whether the port is open.
        let has_left = error.tls() == Some(&TlsError::Closed)
            || error.websocket() == Some(&WebSocketError::Closed);
        if !has_left {
            if let Some(count) = REFUSED_HANDSHAKES.record(Instant::now()) {
                let (peer, error) = (&self.caller.peer, Chain(&error));
                tracing::warn!(%peer, %error, count, "handshake failed; connection refused");
            }
        }
        let is_plain = matches!(
            error,
            TransportError::Handshake {
                source: TlsError::NotTls,
                ..
            }
        );
        let reason = CloseReason::HandshakeFailed(Box::new(error));
        if !is_plain {
            return Err(reason);
        }
        self.closing = Some(reason);
        if self.connection.starts_like_http() {
            let buffer = self.connection.write_buffer_mut().buffer_mut();
            foreign_protocol::answer_http(buffer);
        } else {
            let text = "This endpoint speaks TLS, and the frame is not encrypted; use tls://";
            let error = WireError::new(ErrorCode::MALFORMED_PAYLOAD, text);
            let envelope = Envelope::new(RequestId::unknown(), error);
            let format = Format::Json;
            self.queue(&Reply { format, envelope });
        }
        Ok(())
    }
}

static REFUSED_HANDSHAKES: LogLimit = LogLimit::new();
