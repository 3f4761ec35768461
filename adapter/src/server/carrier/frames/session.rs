//! A session serves one connection.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use agentwire_codec::{
    Body, DecodeError, DecodeFault, EncodeError, Envelope, ErrorCode, ForeignProtocol, Format,
    FrameError, HEADER_LEN, Map, MemoryBound, RequestId, Value, WireError,
};
use agentwire_transport::{
    Error as TransportError, Peer, PeerState, TlsError, WebSocketError,
    internal::{Chain, LogLimit, MAX_TIMEOUT},
};
use futures_util::{StreamExt, stream::FuturesUnordered};
use tokio::time::Instant;

use super::{
    account::{Account, Charge},
    close_reason::CloseReason,
    dispatch::dispatch,
    foreign_protocol,
    in_flight::{InFlight, NextReply},
    reply::{Reply, replacements},
    timeouts::{Expired, Timeouts, Waits},
    turn::Turn,
};
use crate::{
    Credential,
    connection::{
        Decoded, Encoded, FramedConnection, MAX_EXCESS_MEMORY, MAX_INLINE, MAX_SMALL, Offload,
        approximate_memory, is_costly,
    },
    deadline_timer::DeadlineTimer,
    observer::{Observer, Refusal, Side},
    server::{
        budget::Use,
        carrier::{
            ServerContext, expiry,
            refusals::{no_memory, stopping},
            slot::Slot,
        },
        config::ServerConfig,
        service::{Caller, Service},
        shutdown::{ShutdownListener, Stage},
    },
};

/// The state of one connection.
///
/// A single task reads the requests, runs them, and writes the replies. Dropping the session
/// therefore cancels all requests of the peer. Replies that become ready together are sent in a
/// single write.
pub(super) struct Session {
    connection: FramedConnection,
    caller: Caller,
    service: Arc<dyn Service>,
    config: Arc<ServerConfig>,
    in_flight: FuturesUnordered<NextReply>,
    /// A large reply that is being encoded on another thread. Other replies wait in the meantime.
    encoding: Option<Box<Encoding>>,
    /// The reason why the session is closing. A closing session starts no more requests, but still
    /// answers the requests in flight.
    closing: Option<CloseReason>,
    /// Whether the session has read the end of the peer's input.
    has_ended: bool,
    /// Whether the peer has ended its input and may have disconnected. The session then sends the
    /// replies that are ready and drops all other requests.
    is_abandoned: bool,
    /// Whether a frame has arrived that the session has no capacity to process.
    is_blocked: bool,
    /// Whether the peer may not have read all written replies.
    has_unread_replies: bool,
    slot: Arc<Slot>,
    /// The time at which the connection was accepted.
    opened: Instant,
    shutdown: ShutdownListener,
    account: Account,
    /// The bound of the memory of the first frame, once the bound is needed.
    bound: Option<Box<MemoryBound>>,
    /// The frame that waits for memory.
    starved: Option<Starved>,
    timeouts: Timeouts,
    timer: DeadlineTimer,
}

/// A frame that waits for memory.
#[derive(Clone, Copy)]
enum Starved {
    /// The rest of a frame has not been read.
    Incomplete,
    /// A payload of this length has not been decoded.
    Complete(usize),
}

/// A reply that is being encoded on another thread.
struct Encoding {
    format: Format,
    frame: Offload<Encoded>,
    /// The request, or `None` if the reply is the last one.
    request: Option<InFlight>,
    /// The memory of the request, if the reply is the last one.
    _charge: Option<Charge>,
    /// The memory of the reply and of its frame.
    memory: usize,
}

impl Session {
    pub(super) fn new(
        connection: FramedConnection,
        peer: Peer,
        slot: Arc<Slot>,
        server: &ServerContext,
    ) -> Box<Self> {
        Box::new(Self {
            connection,
            caller: Caller {
                connection: slot.connection(),
                ..Caller::new(peer)
            },
            service: Arc::clone(&server.service),
            config: Arc::clone(&server.config),
            in_flight: FuturesUnordered::new(),
            encoding: None,
            closing: None,
            has_ended: false,
            is_abandoned: false,
            is_blocked: false,
            has_unread_replies: false,
            slot,
            opened: Instant::now(),
            shutdown: server.shutdown.listen(),
            account: Account::new(&server.budget),
            bound: None,
            starved: None,
            timeouts: Timeouts::default(),
            timer: DeadlineTimer::default(),
        })
    }

    /// Serves the connection until it ends.
    ///
    /// `self` is boxed because the state machine of an async fn stores a `self` that is passed by
    /// value twice. Every wrapper of the future would also store `self` twice.
    pub(super) async fn run(mut self: Box<Self>) {
        tracing::debug!("connection opened");
        let reason = poll_fn(|cx| self.poll(cx)).await;
        tracing::debug!(%reason, "connection closed");
        self.slot.ends_with(reason.word());
        // Drop the requests before waiting for the peer.
        self.in_flight.clear();
        self.encoding = None;
        let Some(linger) = reason.linger(self.has_unread_replies) else {
            return;
        };
        let Self {
            connection,
            shutdown,
            ..
        } = *self;
        // The future is boxed so that idle connections do not reserve memory for it.
        Box::pin(async move {
            tokio::select! {
                biased;
                () = shutdown.aborted() => {}
                () = connection.close(linger) => {}
            }
        })
        .await;
    }

    /// Completes the handshake of the carrier. The acceptor does not wait for it, so that a silent
    /// peer delays only itself.
    fn poll_handshake(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), CloseReason>> {
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
    pub(super) fn identify_peer(&mut self, peer: Peer, credential: Option<Credential>) {
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

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<CloseReason> {
        if self.connection.needs_handshake() {
            if let Err(reason) = ready!(self.poll_handshake(cx)) {
                return Poll::Ready(reason);
            }
        }
        let mut turn = Turn::default();
        loop {
            // Flush at the start of each round. After the flush of the last round, no replies are
            // queued, because all requests are pending or the queue is full. If the queue is full,
            // the connection wakes the task.
            if let Poll::Ready(Err(error)) = self.connection.poll_flush(cx) {
                return Poll::Ready(CloseReason::WriteFailed(error));
            }
            // Less memory never exceeds the budget.
            let _ = self.account.set_replies(self.reply_memory());
            if turn.is_over() {
                break;
            }
            // Requests in flight have priority over new requests.
            let has_replied = self.poll_replies(cx);
            match self.poll_requests(cx, &mut turn) {
                Ok(has_read) if has_read || has_replied => {}
                Ok(_) => break,
                Err(reason) => return Poll::Ready(reason),
            }
        }
        if self.is_abandoned && !self.in_flight.is_empty() && self.has_queue_space() {
            // None of the requests has a reply that is ready. Dropping the requests leaves capacity
            // for the frames that have already arrived.
            self.in_flight.clear();
            cx.waker().wake_by_ref();
        }
        // Check the shutdown after reading, so that requests that have already arrived are
        // answered.
        match self.shutdown.poll(cx) {
            Stage::Aborted => return Poll::Ready(CloseReason::Aborted),
            // If the turn is over, more requests may have already arrived.
            Stage::Draining if !turn.is_over() => {
                self.closing.get_or_insert(CloseReason::Drained);
                if self.refuse_unfinished() {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
            }
            Stage::Draining | Stage::Serving => {}
        }
        if !self.has_work() && self.connection.is_flushed() {
            if let Some(reason) = self.closing.take() {
                return Poll::Ready(reason);
            }
        }
        if turn.is_over() {
            // No timeout applies, because the session is not waiting for its peer.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.poll_timeouts(cx)
    }

    /// Queues ready replies until the queue is full. Returns whether any request was ready.
    fn poll_replies(&mut self, cx: &mut Context<'_>) -> bool {
        let mut has_replied = self.poll_encoding(cx);
        while self.has_queue_space() {
            let Poll::Ready(Some(next)) = self.in_flight.poll_next_unpin(cx) else {
                break;
            };
            has_replied = true;
            if let Some((reply, request)) = next {
                self.reply_to(request, reply);
            }
        }
        has_replied
    }

    /// Queues the reply that is being encoded on another thread if encoding has finished. Returns
    /// whether encoding has finished.
    fn poll_encoding(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(encoding) = &mut self.encoding else {
            return false;
        };
        let Poll::Ready(encoded) = Pin::new(&mut encoding.frame).poll(cx) else {
            return false;
        };
        let encoding = self.encoding.take();
        match (encoded.frame, encoding) {
            (Ok(frame), Some(encoding)) => {
                let Encoding {
                    format,
                    request,
                    _charge,
                    ..
                } = *encoding;
                let id = encoded.id;
                // The request is freed before the frame is charged. The envelope has been freed.
                drop(_charge);
                if !self
                    .account
                    .set_replies(self.connection.excess_queue() + frame.capacity())
                {
                    drop(frame);
                    self.queue_out_of_memory(format, id);
                    return true;
                }
                self.has_unread_replies = true;
                self.report(|observer| observer.bytes_sent(Side::Server, frame.len() as u64));
                self.connection.queue_encoded(frame);
                if let Some(request) = request {
                    self.in_flight.push(request.into_next());
                }
            }
            (Err((error, body)), Some(encoding)) => {
                self.queue_replacement(encoding.format, &encoded.id, body.as_ref(), &error);
            }
            (_, None) => {}
        }
        true
    }

    /// Polls a new request once. Many requests are answered immediately, so they are never added to
    /// `in_flight`.
    fn start(&mut self, mut request: InFlight, cx: &mut Context<'_>) {
        match request.poll_reply(cx) {
            Poll::Ready(Some(reply)) => self.reply_to(request, reply),
            Poll::Ready(None) => {}
            Poll::Pending => self.in_flight.push(request.into_next()),
        }
    }

    /// Queues a reply. If more replies may follow, the request stays in flight.
    fn reply_to(&mut self, mut request: InFlight, reply: Reply) {
        let has_more = reply.is_chunk();
        if is_costly(&reply.envelope.body) && self.encoding.is_none() {
            // The reply and its frame exist at the same time.
            let max = self.config.frame_limits.max_send();
            let memory = approximate_memory(&reply.envelope.body, max).saturating_mul(2);
            if !self.account.set_replies(self.reply_memory() + memory) {
                self.queue_out_of_memory(reply.format, reply.envelope.id);
                return;
            }
            self.encoding = Some(Box::new(Encoding {
                format: reply.format,
                frame: self.connection.start_encoding(reply.format, reply.envelope),
                _charge: if has_more {
                    None
                } else {
                    request.take_charge()
                },
                request: has_more.then_some(request),
                memory,
            }));
            return;
        }
        if !has_more {
            // The agent has consumed the request.
            drop(request.take_charge());
        }
        if self.queue(&reply) && has_more {
            self.in_flight.push(request.into_next());
        }
    }

    /// Reads and starts requests until the turn is over or the session has no more capacity.
    /// Returns whether a frame was read.
    fn poll_requests(
        &mut self,
        cx: &mut Context<'_>,
        turn: &mut Turn,
    ) -> Result<bool, CloseReason> {
        self.is_blocked = false;
        self.starved = None;
        let result = self.poll_frames(cx, turn);
        if self.starved.is_none() {
            self.account.leave();
        }
        result
    }

    fn poll_frames(&mut self, cx: &mut Context<'_>, turn: &mut Turn) -> Result<bool, CloseReason> {
        let mut has_read = false;
        while !turn.is_over() {
            if self.discards_frame() {
                match self.connection.poll_discard(cx) {
                    Poll::Pending => {}
                    Poll::Ready(Ok(())) => self.input_ended(cx, CloseReason::PeerClosed)?,
                    Poll::Ready(Err(error)) => return Err(CloseReason::ReadFailed(error.into())),
                }
                break;
            }
            if self.connection.is_decoding() {
                let Poll::Ready(decoded) = self.connection.poll_decoded(cx) else {
                    break;
                };
                has_read = true;
                self.account.release_received();
                self.dispatch(decoded, None, cx);
                continue;
            }
            if let Some(CloseReason::PeerClosed | CloseReason::ReadFailed(_)) = self.closing {
                break;
            }
            match self.connection.poll_frame(cx) {
                Poll::Pending => {
                    let Some(size) = self.connection.ungranted() else {
                        break;
                    };
                    if self.account.poll_receive(cx, size).is_pending() {
                        self.starve(Starved::Incomplete);
                        break;
                    }
                    self.connection.grant(size);
                }
                Poll::Ready(Ok(Some(len))) if !self.has_capacity() => {
                    self.poll_blocked(cx, len)?;
                    break;
                }
                Poll::Ready(Ok(Some(len))) => {
                    let Poll::Ready(decoded) = self.poll_decode(cx, turn, len) else {
                        break;
                    };
                    has_read = true;
                    turn.spend(len);
                    self.timeouts.frame_arrived();
                    // The peer sends requests without waiting for the previous replies.
                    self.has_unread_replies |= self.has_work() || self.connection.queued() > 0;
                    if let Some(decoded) = decoded {
                        self.dispatch(decoded, Some(len), cx);
                    }
                }
                Poll::Ready(Ok(None)) => {
                    self.input_ended(cx, CloseReason::PeerClosed)?;
                    break;
                }
                Poll::Ready(Err(FrameError::TooLarge { len, max })) => {
                    has_read = true;
                    turn.spend(0);
                    self.refuse_frame(len, max, None);
                }
                Poll::Ready(Err(FrameError::ForeignProtocol { protocol, len, max })) => {
                    has_read = true;
                    turn.spend(0);
                    self.refuse_frame(len, max, Some(protocol));
                }
                Poll::Ready(Err(error @ FrameError::Truncated { .. })) => {
                    self.input_ended(cx, CloseReason::ReadFailed(error))?;
                    break;
                }
                Poll::Ready(Err(error)) => return Err(CloseReason::ReadFailed(error)),
            }
        }
        Ok(has_read)
    }

    /// Decodes the first frame once there is memory for its values. Returns `None` if the frame is
    /// being decoded on another thread.
    fn poll_decode(
        &mut self,
        cx: &mut Context<'_>,
        turn: &mut Turn,
        len: usize,
    ) -> Poll<Option<Decoded>> {
        let bodies = self.service.bodies();
        let max_request = self.account.max_request();
        let is_small = len <= MAX_SMALL;
        if self.bound.is_none() && len <= MAX_INLINE {
            // Most frames need little more memory than they have bytes. No bound is computed for
            // them.
            let memory = if is_small {
                self.account.free().min(max_request)
            } else {
                let memory = (len + MAX_EXCESS_MEMORY).min(max_request);
                if self
                    .account
                    .poll_reserve(cx, Use::Large, memory)
                    .is_pending()
                {
                    self.starve(Starved::Complete(len));
                    return Poll::Pending;
                }
                memory
            };
            let payload = self.connection.payload(len);
            let decoded = bodies.decode_within(payload, memory);
            let is_exceeded = matches!(
                decoded.as_ref().map_err(DecodeError::fault),
                Err(DecodeFault::Memory { .. })
            );
            if !is_exceeded || memory == max_request {
                return Poll::Ready(Some(Decoded::new(payload, decoded)));
            }
        }
        let payload = self.connection.payload(len);
        let bound = self
            .bound
            .get_or_insert_with(|| Box::new(MemoryBound::new(Format::detect(payload))));
        if !bound.scan(payload, SCAN_STEP) {
            turn.spend(SCAN_STEP);
            return Poll::Pending;
        }
        let memory = bound.bytes().min(max_request);
        let purpose = if is_small { Use::Small } else { Use::Large };
        if self.account.poll_reserve(cx, purpose, memory).is_pending() {
            self.starve(Starved::Complete(len));
            return Poll::Pending;
        }
        self.bound = None;
        if is_small {
            let payload = self.connection.payload(len);
            let decoded = bodies.decode_within(payload, memory);
            return Poll::Ready(Some(Decoded::new(payload, decoded)));
        }
        self.connection.start_decoding(len, bodies, memory);
        Poll::Ready(None)
    }

    /// Records that a frame waits for memory.
    fn starve(&mut self, frame: Starved) {
        self.is_blocked = true;
        self.starved = Some(frame);
    }

    /// Refuses a frame that has waited too long for memory.
    fn refuse_starved(&mut self, frame: Starved) {
        match frame {
            Starved::Incomplete => self.refuse_incomplete(no_memory()),
            Starved::Complete(len) => self.refuse_complete(len, no_memory()),
        }
    }

    /// Refuses the first frame if the server is stopping and the frame waits for memory or for its
    /// rest. Returns whether a frame was refused.
    fn refuse_unfinished(&mut self) -> bool {
        match self.starved {
            Some(Starved::Complete(len)) => self.refuse_complete(len, stopping()),
            _ if self.is_receiving() => {
                // The peer may send the rest too slowly to wait for it.
                self.closing = Some(CloseReason::StoppedInsideFrame);
                self.refuse_incomplete(stopping());
            }
            _ => return false,
        }
        true
    }

    /// Returns whether the rest of the first frame may still arrive.
    fn is_receiving(&self) -> bool {
        !self.has_ended
            && !self.discards_frame()
            && !self.connection.is_decoding()
            && !self.connection.is_skipping()
            && self.connection.has_partial_frame()
    }

    /// Refuses the first frame, whose payload of `len` bytes has arrived, without starting it.
    fn refuse_complete(&mut self, len: usize, error: WireError) {
        let (format, id) = self.identify(self.connection.payload(len));
        self.connection.consume(len);
        self.release_received();
        self.bound = None;
        self.refuse_unstarted(format, id, error);
    }

    /// Refuses the first frame, which is incomplete, and discards its rest.
    fn refuse_incomplete(&mut self, error: WireError) {
        // Most writers put the id at the start of the frame, so that its request can be told.
        let (format, id) = self.identify(self.connection.partial_payload());
        self.connection.skip_frame();
        self.release_received();
        self.refuse_unstarted(format, id, error);
    }

    fn refuse_unstarted(&mut self, format: Format, id: RequestId, error: WireError) {
        self.account.leave();
        self.starved = None;
        let is_memory = error.details.get("reason").and_then(Value::as_str) == Some("memory");
        self.report_refusal(if is_memory { "memory" } else { "stopping" });
        tracing::debug!(%id, reason = %error.message, "frame refused before it was started");
        let envelope = Envelope::new(id, error);
        self.queue(&Reply { format, envelope });
    }

    /// Returns the format and the id of a payload, of which only the start may have arrived. The id
    /// is `unknown` if it is not in the first 64 KiB.
    fn identify(&self, payload: &[u8]) -> (Format, RequestId) {
        let format = Format::detect(payload);
        let mut start = &payload[..payload.len().min(MAX_SMALL)];
        if format == Format::Json {
            // The last character may have arrived only in part, and JSON must be UTF-8.
            let end = start.iter().rposition(u8::is_ascii);
            start = &start[..end.map_or(0, |end| end + 1)];
        }
        // Without memory, decoding ends at the first value and has only read the id.
        let id = match self.service.bodies().decode_within(start, 0) {
            Ok((envelope, _)) => envelope.id,
            Err(error) => error.id().cloned().unwrap_or_else(RequestId::unknown),
        };
        (format, id)
    }

    /// Releases the memory of the read buffer once the buffer is free.
    fn release_received(&mut self) {
        if self.connection.has_large_buffer() && self.account.has_waiters() {
            self.connection.shrink();
        }
        if !self.connection.has_large_buffer() {
            self.account.release_received();
        }
    }

    /// Starts or refuses a decoded request. `buffered` is the length of its payload, if the payload
    /// is the first in the read buffer.
    fn dispatch(&mut self, decoded: Decoded, buffered: Option<usize>, cx: &mut Context<'_>) {
        let charge = self.account.charge(decoded.memory);
        let payload = buffered.map_or(&[][..], |len| self.connection.payload(len));
        let is_stopping = self.is_stopping();
        let frame = (HEADER_LEN + decoded.len) as u64;
        let dispatched = dispatch(&*self.service, &self.caller, decoded, payload, is_stopping);
        self.report(|observer| observer.bytes_received(Side::Server, frame));
        if let Some(len) = buffered {
            self.connection.consume(len);
            self.release_received();
        }
        match dispatched {
            Ok(request) => {
                self.timeouts.request_accepted();
                self.start(request.with_charge(charge), cx);
            }
            Err(refusal) => {
                if let Some(reason) = refusal.reason {
                    self.report_refusal(reason);
                }
                self.queue(&refusal.reply);
            }
        }
    }

    /// Waits for the end of the peer's input while the session has no capacity for the first frame.
    fn poll_blocked(&mut self, cx: &mut Context<'_>, len: usize) -> Result<(), CloseReason> {
        self.is_blocked = true;
        if self.has_ended {
            return Ok(());
        }
        match self.connection.poll_end(cx, len) {
            Poll::Pending => Ok(()),
            Poll::Ready(Ok(())) => self.peer_ended(cx),
            Poll::Ready(Err(error)) => Err(CloseReason::ReadFailed(error.into())),
        }
    }

    /// Starts closing the session at the end of the peer's input. The requests in flight are
    /// answered first, unless the peer has disconnected.
    fn input_ended(
        &mut self,
        cx: &mut Context<'_>,
        reason: CloseReason,
    ) -> Result<(), CloseReason> {
        self.closing = Some(reason);
        self.peer_ended(cx)
    }

    /// Decides whether to finish the requests of a peer that has ended its input (PROTOCOL 6.7).
    fn peer_ended(&mut self, cx: &mut Context<'_>) -> Result<(), CloseReason> {
        self.has_ended = true;
        match self.connection.peer_state(cx) {
            PeerState::Closed => Err(self.closing.take().unwrap_or(CloseReason::PeerClosed)),
            PeerState::HalfClosed => Ok(()),
            _ => {
                self.is_abandoned = !self.config.half_close;
                Ok(())
            }
        }
    }

    /// Checks whether the peer has disconnected. Reading cannot detect a disconnect if unread bytes
    /// precede the end of the stream, or if the end has already been read.
    fn check_peer(&mut self, cx: &mut Context<'_>) -> Result<(), CloseReason> {
        match self.connection.peer_state(cx) {
            PeerState::Closed => Err(CloseReason::PeerClosed),
            PeerState::Ended if !self.config.half_close && !self.is_abandoned => {
                self.is_abandoned = true;
                cx.waker().wake_by_ref();
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Queues an error for an oversized frame or for bytes of another protocol, and stops reading
    /// requests. Earlier requests are still answered.
    fn refuse_frame(&mut self, len: usize, max: usize, protocol: Option<ForeignProtocol>) {
        self.closing = Some(match protocol {
            Some(protocol) => CloseReason::ForeignProtocol(protocol),
            None => CloseReason::FrameTooLarge { len, max },
        });
        self.report_refusal(if protocol.is_some() {
            "protocol"
        } else {
            "frame_size"
        });
        if let Some(protocol) = protocol {
            foreign_protocol::warn(&self.caller.peer, protocol);
            // An HTTP response is sent only for the first bytes of a connection. After a valid
            // frame, bytes that look like HTTP are the length of another frame.
            let is_first = self.connection.written() == 0
                && self.connection.queued() == 0
                && self.in_flight.is_empty();
            if is_first && protocol == ForeignProtocol::Http {
                let buffer = self.connection.write_buffer_mut().buffer_mut();
                return foreign_protocol::answer_http(buffer);
            }
        }
        let mut text = format!("Frame of {len} bytes exceeds the limit of {max}");
        if let Some(protocol) = protocol {
            text.push_str(&format!("; the bytes look like {protocol}"));
        }
        let error = WireError::new(ErrorCode::MALFORMED_PAYLOAD, text)
            .with_details(Map::from([("length", len), ("limit", max)]));
        let envelope = Envelope::new(RequestId::unknown(), error);
        // The format of the frame is unknown because the frame is not read. Every peer can decode
        // JSON.
        let format = Format::Json;
        self.queue(&Reply { format, envelope });
    }

    /// Returns whether the session has refused a frame and discards the remaining input.
    fn discards_frame(&self) -> bool {
        self.closing.as_ref().is_some_and(CloseReason::is_refusal)
    }

    /// Returns whether all new requests are refused because the session is closing.
    fn is_stopping(&self) -> bool {
        self.closing.is_some()
    }

    /// Returns whether the session can process another frame. Refusing a request requires only
    /// space in the queue.
    fn has_capacity(&self) -> bool {
        let is_full = self.in_flight.len() >= self.config.max_in_flight;
        (!is_full || self.is_stopping()) && self.has_queue_space()
    }

    /// Returns whether another reply may be queued.
    fn has_queue_space(&self) -> bool {
        self.encoding.is_none() && self.connection.queued() < self.config.max_queued
    }

    /// Queues a reply, or an error if the reply cannot be encoded. Returns whether the reply itself
    /// was queued.
    fn queue(&mut self, reply: &Reply) -> bool {
        let Reply { format, envelope } = reply;
        let before = self.connection.queued();
        let Err(error) = self.connection.queue(*format, envelope) else {
            let len = self.connection.queued() - before;
            self.has_unread_replies |= len > LARGE_REPLY;
            if self.account.set_replies(self.reply_memory()) {
                self.report(|observer| observer.bytes_sent(Side::Server, len as u64));
                return true;
            }
            self.connection.unqueue(len);
            self.queue_out_of_memory(*format, envelope.id.clone());
            return false;
        };
        self.queue_replacement(*format, &envelope.id, Some(&envelope.body), &error);
        false
    }

    /// Queues an error in place of a reply for which there is no memory.
    fn queue_out_of_memory(&mut self, format: Format, id: RequestId) {
        if let Some(count) = STARVED.record(Instant::now()) {
            tracing::warn!(%id, count, "reply replaced by an error: the memory budget is used up");
        }
        let text = "The answer cannot be sent: the memory budget of the server is used up";
        let error = WireError::new(ErrorCode::INTERNAL_ERROR, text);
        // The error fits into the pooled part of the queue. Encoding fails only if the frame limit
        // is too small for any error.
        let _ = self.connection.queue(format, &Envelope::new(id, error));
    }

    /// Queues an error in place of a reply that cannot be encoded.
    fn queue_replacement(
        &mut self,
        format: Format,
        id: &RequestId,
        body: Option<&Body>,
        error: &EncodeError,
    ) {
        tracing::debug!(%id, %error, "reply cannot be encoded; sending an error");
        for replacement in replacements(id, body, error) {
            if self.connection.queue(format, &replacement).is_ok() {
                return;
            }
        }
        if let Some(count) = UNSENT.record(Instant::now()) {
            tracing::warn!(%id, count, "no reply sent: the frame limit is too small for an error");
        }
    }

    /// Reports an event to the observer, if there is one.
    fn report(&self, event: impl FnOnce(&dyn Observer)) {
        self.config.observers.report(event);
    }

    /// Reports that a frame was refused before its request was started.
    fn report_refusal(&self, reason: &'static str) {
        self.report(|observer| observer.refused(&Refusal::new(reason)));
    }

    /// Returns the memory of the reply that is being encoded and of the queued replies.
    fn reply_memory(&self) -> usize {
        let encoding = self.encoding.as_ref().map_or(0, |encoding| encoding.memory);
        encoding + self.connection.excess_queue()
    }

    /// Returns whether any request is being decoded, processed or answered.
    fn has_work(&self) -> bool {
        !self.in_flight.is_empty() || self.encoding.is_some() || self.connection.is_decoding()
    }

    fn poll_timeouts(&mut self, cx: &mut Context<'_>) -> Poll<CloseReason> {
        let now = Instant::now();
        let waits = Waits {
            discards_frame: self.discards_frame(),
            has_accepted: !self.in_flight.is_empty() || self.encoding.is_some(),
            has_requests: self.has_work(),
            has_ended: self.has_ended,
            is_blocked: self.is_blocked,
            needs_memory: self.starved.is_some(),
        };
        self.timeouts
            .update(&self.connection, &waits, &self.config, now);
        let is_evictable = !self.has_work() && self.connection.is_flushed();
        let quiet_since = self.timeouts.quiet_since().filter(|_| is_evictable);
        self.slot.publish(quiet_since);
        if self.slot.poll_evicted(cx) && is_evictable {
            return Poll::Ready(CloseReason::Evicted);
        }
        loop {
            let Some((deadline, expired)) = self.timeouts.next(&self.config) else {
                return Poll::Pending;
            };
            // No timer is needed for a deadline that has already passed.
            if deadline > now {
                ready!(self.timer.poll(cx, deadline));
            }
            match expired {
                Expired::Shrink => {
                    self.connection.shrink();
                    self.release_received();
                    self.timeouts.shrunk();
                }
                Expired::RefuseFrame => {
                    if let Some(frame) = self.starved {
                        self.refuse_starved(frame);
                    }
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Expired::CheckPeer => {
                    if let Err(reason) = self.check_peer(cx) {
                        return Poll::Ready(reason);
                    }
                    self.timeouts.peer_checked();
                }
                Expired::Certificate => {
                    self.closing.get_or_insert(CloseReason::CertificateExpired);
                    let grace = self.config.shutdown_timeout.min(MAX_TIMEOUT);
                    self.timeouts.certificate_expired(now + grace);
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Expired::Close(wait) => return Poll::Ready(CloseReason::Timeout(wait)),
            }
        }
    }
}

/// The size above which a written reply may still be in transit to the peer.
const LARGE_REPLY: usize = 16 * 1024;

/// The number of bytes of a large frame that are scanned in one turn.
const SCAN_STEP: usize = 256 * 1024;

static REFUSED_HANDSHAKES: LogLimit = LogLimit::new();
static UNSENT: LogLimit = LogLimit::new();
static STARVED: LogLimit = LogLimit::new();
