//! Refuses frames whose requests are never started.

use agentwire_codec::{
    Envelope, ErrorCode, ForeignProtocol, Format, Map, RequestId, Value, WireError,
};

use super::state::{Session, Starved};
use crate::{
    connection::MAX_SMALL,
    server::carrier::{
        frames::{close_reason::CloseReason, foreign_protocol, reply::Reply},
        refusals::{no_memory, stopping},
    },
};

impl Session {
    /// Queues an error for an oversized frame or for bytes of another protocol, and stops reading
    /// requests. Earlier requests are still answered.
    pub(super) fn refuse_frame(
        &mut self,
        len: usize,
        max: usize,
        protocol: Option<ForeignProtocol>,
    ) {
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

    /// Refuses a frame that has waited too long for memory.
    pub(super) fn refuse_starved(&mut self, frame: Starved) {
        match frame {
            Starved::Incomplete => self.refuse_incomplete(no_memory()),
            Starved::Complete(len) => self.refuse_complete(len, no_memory()),
        }
    }

    /// Refuses the first frame if the server is stopping and the frame waits for memory or for its
    /// rest. Returns whether a frame was refused.
    pub(super) fn refuse_unfinished(&mut self) -> bool {
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
}
