//! Decodes a frame once there is memory for its values.

use std::task::{Context, Poll};

use agentwire_codec::{DecodeError, DecodeFault, Format, MemoryBound};

use super::state::{Session, Starved};
use crate::{
    connection::{Decoded, MAX_EXCESS_MEMORY, MAX_INLINE, MAX_SMALL},
    server::{budget::Use, carrier::frames::turn::Turn},
};

impl Session {
    /// Decodes the first frame once there is memory for its values. Returns `None` if the frame is
    /// being decoded on another thread.
    pub(super) fn poll_decode(
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
    pub(super) fn starve(&mut self, frame: Starved) {
        self.is_blocked = true;
        self.starved = Some(frame);
    }

    /// Releases the memory of the read buffer once the buffer is free.
    pub(super) fn release_received(&mut self) {
        if self.connection.has_large_buffer() && self.account.has_waiters() {
            self.connection.shrink();
        }
        if !self.connection.has_large_buffer() {
            self.account.release_received();
        }
    }
}

/// The number of bytes of a large frame that are scanned in one turn.
const SCAN_STEP: usize = 256 * 1024;
