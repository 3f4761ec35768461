//! The state of one connection, which all layers of a session share.

use std::sync::Arc;

use agentwire_codec::{Format, MemoryBound};
use agentwire_transport::Peer;
use futures_util::stream::FuturesUnordered;
use tokio::time::Instant;

use crate::{
    connection::{Encoded, FramedConnection, Offload},
    deadline_timer::DeadlineTimer,
    observer::{Observer, Refusal},
    server::{
        carrier::{
            ServerContext,
            frames::{
                account::{Account, Charge},
                close_reason::CloseReason,
                in_flight::{InFlight, NextReply},
                timeouts::Timeouts,
                traffic::Traffic,
            },
            slot::Slot,
        },
        config::ServerConfig,
        service::{Caller, Service},
        shutdown::ShutdownListener,
    },
};

/// The state of one connection.
///
/// A single task reads the requests, runs them, and writes the replies. Dropping the session
/// therefore cancels all requests of the peer. Replies that become ready together are sent in a
/// single write.
pub(in crate::server::carrier::frames) struct Session {
    pub(super) connection: FramedConnection,
    pub(super) caller: Caller,
    pub(super) service: Arc<dyn Service>,
    pub(super) config: Arc<ServerConfig>,
    pub(super) in_flight: FuturesUnordered<NextReply>,
    /// A large reply that is being encoded on another thread. Other replies wait in the meantime.
    pub(super) encoding: Option<Box<Encoding>>,
    /// The reason why the session is closing. A closing session starts no more requests, but still
    /// answers the requests in flight.
    pub(super) closing: Option<CloseReason>,
    /// Whether the session has read the end of the peer's input.
    pub(super) has_ended: bool,
    /// Whether the peer has ended its input and may have disconnected. The session then sends the
    /// replies that are ready and drops all other requests.
    pub(super) is_abandoned: bool,
    /// Whether a frame has arrived that the session has no capacity to process.
    pub(super) is_blocked: bool,
    /// Whether the peer may not have read all written replies.
    pub(super) has_unread_replies: bool,
    pub(super) slot: Arc<Slot>,
    /// The time at which the connection was accepted.
    pub(super) opened: Instant,
    pub(super) traffic: Traffic,
    pub(super) shutdown: ShutdownListener,
    /// When a stopping server closes the connection of a peer that sends without a pause.
    pub(super) drained: Option<Instant>,
    pub(super) account: Account,
    /// The bound of the memory of the first frame, once the bound is needed.
    pub(super) bound: Option<Box<MemoryBound>>,
    /// The frame that waits for memory.
    pub(super) starved: Option<Starved>,
    pub(super) timeouts: Timeouts,
    pub(super) timer: DeadlineTimer,
}

/// A frame that waits for memory.
#[derive(Clone, Copy)]
pub(super) enum Starved {
    /// The rest of a frame has not been read.
    Incomplete,
    /// A payload of this length has not been decoded.
    Complete(usize),
}

/// A reply that is being encoded on another thread.
pub(super) struct Encoding {
    pub(super) format: Format,
    pub(super) frame: Offload<Encoded>,
    /// The request, or `None` if the reply is the last one.
    pub(super) request: Option<InFlight>,
    /// The memory of the request, if the reply is the last one.
    pub(super) _charge: Option<Charge>,
    /// The memory of the reply and of its frame.
    pub(super) memory: usize,
}

impl Session {
    pub(in crate::server::carrier::frames) fn new(
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
            }
            .observed(&server.config.observers),
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
            traffic: Traffic::new(&server.config.observers),
            shutdown: server.shutdown.listen(),
            drained: None,
            account: Account::new(&server.budget),
            bound: None,
            starved: None,
            timeouts: Timeouts::default(),
            timer: DeadlineTimer::default(),
        })
    }

    /// Returns whether the session has refused a frame and discards the remaining input.
    pub(super) fn discards_frame(&self) -> bool {
        self.closing.as_ref().is_some_and(CloseReason::is_refusal)
    }

    /// Returns whether all new requests are refused because the session is closing.
    pub(super) fn is_stopping(&self) -> bool {
        self.closing.is_some()
    }

    /// Returns whether any request is being decoded, processed or answered.
    pub(super) fn has_work(&self) -> bool {
        !self.in_flight.is_empty() || self.encoding.is_some() || self.connection.is_decoding()
    }

    /// Reports an event to the observer, if there is one.
    pub(super) fn report(&self, event: impl FnOnce(&dyn Observer)) {
        self.config.observers.report(event);
    }

    /// Reports that a frame was refused before its request was started.
    pub(super) fn report_refusal(&self, reason: &'static str) {
        self.report(|observer| observer.refused(&Refusal::new(reason)));
    }
}
