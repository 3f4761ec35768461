//! A call that has been sent on a shared connection.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use agentwire_codec::RequestId;

use super::{
    shared::{Answer, Sent, Shared},
    slot::{SharedConnection, Slot},
};
use crate::client::channel::{failure::Failure, request::Request};

/// A future that resolves to the answer of one call. Dropping the future cancels the call.
#[derive(Debug)]
pub(super) struct Pending {
    /// Keeps the connection open.
    _connection: Arc<SharedConnection>,
    shared: Arc<Shared>,
    id: RequestId,
    sent: Sent,
}

impl Pending {
    /// Queues a request on the connection of a slot. Returns a failure without sending anything if
    /// the connection has ended.
    pub(super) fn send(slot: Slot, request: &Request) -> Result<Self, Failure> {
        let shared = slot.connection.shared().map(Arc::clone);
        let shared = shared.ok_or_else(Failure::not_connected)?;
        let sent = shared
            .send(&request.id, &request.frame, slot.permit)
            .ok_or_else(Failure::not_connected)?;
        Ok(Self {
            _connection: slot.connection,
            shared,
            id: request.id.clone(),
            sent,
        })
    }

    /// Handles the timeout of the call. Returns `true` if the connection has received no answer
    /// since the call was sent. The connection then accepts no more calls.
    pub(super) fn timed_out(&self) -> bool {
        self.shared
            .retire_if_silent_since(self.sent.received_before)
    }
}

impl Future for Pending {
    type Output = Answer;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Answer> {
        Pin::new(&mut self.sent.answer)
            .poll(cx)
            // The driver ended without a result for this call.
            .map(|answer| answer.unwrap_or(Err(Failure::Broken(None))))
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.shared.cancel(&self.id);
    }
}
