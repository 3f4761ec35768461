//! Encodes and queues replies.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use agentwire_codec::{Body, EncodeError, Envelope, ErrorCode, Format, RequestId, WireError};
use agentwire_transport::internal::LogLimit;
use futures_util::StreamExt;
use tokio::time::Instant;

use super::state::{Encoding, Session};
use crate::{
    connection::{approximate_memory, is_costly},
    server::carrier::frames::{
        in_flight::InFlight,
        reply::{Reply, replacements},
    },
};

impl Session {
    /// Queues ready replies until the queue is full. Returns whether any request was ready.
    pub(super) fn poll_replies(&mut self, cx: &mut Context<'_>) -> bool {
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
                self.traffic.sent(frame.len());
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

    /// Queues a reply. If more replies may follow, the request stays in flight.
    pub(super) fn reply_to(&mut self, mut request: InFlight, reply: Reply) {
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

    /// Queues a reply, or an error if the reply cannot be encoded. Returns whether the reply itself
    /// was queued.
    pub(super) fn queue(&mut self, reply: &Reply) -> bool {
        let Reply { format, envelope } = reply;
        let before = self.connection.queued();
        let Err(error) = self.connection.queue(*format, envelope) else {
            let len = self.connection.queued() - before;
            self.has_unread_replies |= len > LARGE_REPLY;
            if self.account.set_replies(self.reply_memory()) {
                self.traffic.sent(len);
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

    /// Returns whether another reply may be queued.
    pub(super) fn has_queue_space(&self) -> bool {
        self.encoding.is_none() && self.connection.queued() < self.config.max_queued
    }

    /// Returns the memory of the reply that is being encoded and of the queued replies.
    pub(super) fn reply_memory(&self) -> usize {
        let encoding = self.encoding.as_ref().map_or(0, |encoding| encoding.memory);
        encoding + self.connection.excess_queue()
    }
}

/// The size above which a written reply may still be in transit to the peer.
const LARGE_REPLY: usize = 16 * 1024;

static UNSENT: LogLimit = LogLimit::new();
static STARVED: LogLimit = LogLimit::new();
