//! Turns frames with a length into messages.

use super::{
    entropy::unpredictable,
    header::{Header, MAX_CONTROL, Opcode, Role},
    mask,
    reader::PREFIX_LEN,
};

/// The outgoing half of a connection, without its I/O.
#[derive(Debug)]
pub(super) struct Writer {
    role: Role,
    /// The part of a length that has been written.
    prefix: [u8; PREFIX_LEN],
    prefix_len: usize,
    /// The payload of the current message that has not been written.
    remaining: usize,
    mask: [u8; 4],
    offset: usize,
    out: Vec<u8>,
    sent: usize,
    pong: Option<Box<[u8]>>,
    has_ping: bool,
    close: Option<(Option<u16>, Box<str>)>,
    is_closed: bool,
}

impl Writer {
    pub(super) fn new(role: Role) -> Self {
        Self {
            role,
            prefix: [0; PREFIX_LEN],
            prefix_len: 0,
            remaining: 0,
            mask: [0; 4],
            offset: 0,
            out: Vec::new(),
            sent: 0,
            pong: None,
            has_ping: false,
            close: None,
            is_closed: false,
        }
    }

    /// Answers a ping. Of several pings, only the last one is answered (RFC 6455, section 5.5.3).
    pub(super) fn pong(&mut self, payload: Box<[u8]>) {
        self.pong = Some(payload);
    }

    pub(super) fn ping(&mut self) {
        self.has_ping = true;
    }

    /// Queues a close frame, unless one was queued or sent. Messages that are written afterwards
    /// are discarded.
    pub(super) fn close(&mut self, code: Option<u16>, reason: &str) {
        if !self.is_closed && self.close.is_none() {
            self.close = Some((code, reason.into()));
        }
    }

    /// Returns the bytes to be sent.
    pub(super) fn queued(&self) -> &[u8] {
        &self.out[self.sent..]
    }

    /// Removes bytes that were sent. An idle connection has no buffer.
    pub(super) fn advance(&mut self, count: usize) {
        self.sent += count;
        if self.sent == self.out.len() {
            self.out = Vec::new();
            self.sent = 0;
        }
    }

    /// Returns how many bytes can be queued.
    pub(super) fn space(&self) -> usize {
        MAX_QUEUED.saturating_sub(self.queued().len())
    }

    /// Returns how many of the next `len` bytes can be sent without copying them. They must be
    /// passed to [`skip`](Self::skip).
    pub(super) fn direct(&self, len: usize) -> usize {
        let count = self.remaining.min(len);
        if self.role == Role::Server
            && count >= MIN_DIRECT
            && self.queued().is_empty()
            && !self.is_closed
        {
            count
        } else {
            0
        }
    }

    /// Records that bytes of the current payload were sent without a copy.
    pub(super) fn skip(&mut self, count: usize) {
        self.remaining -= count;
        self.offset += count;
    }

    /// Returns whether a message is incomplete, so that control frames must wait.
    pub(super) fn is_in_message(&self) -> bool {
        self.remaining > 0 || self.prefix_len > 0
    }

    /// Queues control frames if no message is incomplete.
    pub(super) fn queue_control(&mut self) {
        if self.is_closed || self.is_in_message() {
            return;
        }
        if let Some(pong) = self.pong.take() {
            self.control(Opcode::Pong, &pong);
        }
        if std::mem::take(&mut self.has_ping) {
            self.control(Opcode::Ping, &fastrand::u32(..).to_be_bytes());
        }
        if let Some((code, reason)) = self.close.take() {
            let mut payload = Vec::new();
            if let Some(code) = code {
                payload.extend_from_slice(&code.to_be_bytes());
                let mut end = reason.len().min(MAX_CONTROL - payload.len());
                while !reason.is_char_boundary(end) {
                    end -= 1;
                }
                payload.extend_from_slice(&reason.as_bytes()[..end]);
            }
            self.control(Opcode::Close, &payload);
            self.is_closed = true;
        }
    }

    /// Queues bytes of frames with a length. Returns how many bytes were taken: all that fit, up to
    /// the next payload that can be sent without a copy.
    pub(super) fn push(&mut self, bytes: &[u8]) -> usize {
        let mut rest = bytes;
        while !rest.is_empty() && self.space() > 0 {
            if self.remaining == 0 {
                if self.prefix_len == 0 {
                    self.queue_control();
                }
                if self.is_closed {
                    return bytes.len();
                }
                let count = rest.len().min(PREFIX_LEN - self.prefix_len);
                let (prefix, after) = rest.split_at(count);
                self.prefix[self.prefix_len..][..count].copy_from_slice(prefix);
                self.prefix_len += count;
                rest = after;
                if self.prefix_len == PREFIX_LEN {
                    self.begin();
                }
                continue;
            }
            let count = self.remaining.min(rest.len());
            if self.role == Role::Server && count >= MIN_DIRECT {
                break;
            }
            let (payload, after) = rest.split_at(count.min(self.space()));
            let start = self.out.len();
            self.out.extend_from_slice(payload);
            if self.role == Role::Client {
                mask::apply(self.mask, self.offset, &mut self.out[start..]);
            }
            self.skip(payload.len());
            rest = after;
        }
        bytes.len() - rest.len()
    }

    /// Begins the message whose length is complete.
    fn begin(&mut self) {
        let len = u32::from_be_bytes(self.prefix);
        self.prefix_len = 0;
        self.remaining = len as usize;
        self.offset = 0;
        self.header(Opcode::Binary, len.into());
    }

    fn control(&mut self, opcode: Opcode, payload: &[u8]) {
        self.header(opcode, payload.len() as u64);
        let start = self.out.len();
        self.out.extend_from_slice(payload);
        if self.role == Role::Client {
            mask::apply(self.mask, 0, &mut self.out[start..]);
        }
    }

    fn header(&mut self, opcode: Opcode, len: u64) {
        let mask = (self.role == Role::Client).then(|| {
            let [a, b, c, d, ..] = unpredictable().to_be_bytes();
            [a, b, c, d]
        });
        self.mask = mask.unwrap_or_default();
        let header = Header {
            is_final: true,
            opcode,
            mask,
            len,
        };
        header.write(&mut self.out);
    }
}

/// The maximum size of the queue, from which writing waits.
const MAX_QUEUED: usize = 64 * 1024;

/// The size from which a server sends a payload without copying it.
const MIN_DIRECT: usize = 16 * 1024;
