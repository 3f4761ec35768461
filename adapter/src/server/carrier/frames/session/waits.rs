//! What a session does when one of its timeouts expires.

use std::{
    task::{Context, Poll, ready},
    time::Duration,
};

use agentwire_transport::internal::MAX_TIMEOUT;
use tokio::time::Instant;

use super::state::Session;
use crate::server::carrier::frames::{
    close_reason::CloseReason,
    timeouts::{Expired, Waits},
};

impl Session {
    /// Returns whether a peer that sends requests without a pause has had its time since the server
    /// began to stop.
    pub(super) fn has_drained(&mut self) -> bool {
        let now = Instant::now();
        now >= *self.drained.get_or_insert(now + DRAIN)
    }

    /// Acts on the timeouts that have expired. `is_turn_over` means that more requests may have
    /// arrived.
    pub(super) fn poll_timeouts(
        &mut self,
        cx: &mut Context<'_>,
        is_turn_over: bool,
    ) -> Poll<CloseReason> {
        let now = Instant::now();
        // In this turn, a request was accepted, or a large frame was scanned.
        let is_scanning = self.bound.is_some() && self.starved.is_none();
        let has_served = is_turn_over && (is_scanning || self.timeouts.quiet_since().is_none());
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
        if self.slot.poll_evicted(cx) && is_evictable && !has_served {
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

/// How long a stopping server answers requests that arrive without a pause. All requests that had
/// arrived before are among them.
const DRAIN: Duration = Duration::from_secs(1);
