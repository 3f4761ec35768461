//! Turns the bytes of a WebSocket connection into frames with a length.

use tokio::io::ReadBuf;

use super::{
    fault::WebSocketFault,
    header::{Header, Opcode, Role},
    mask,
    options::{FragmentBudget, WebSocketOptions},
    spare::{self, READ_SIZE},
    text::TextCheck,
};

/// The incoming half of a connection, without its I/O.
#[derive(Debug)]
pub(super) struct Reader {
    role: Role,
    max_message: usize,
    raw: RawBuffer,
    /// The length of the message that is delivered, of which `prefix_len` bytes are left.
    prefix: [u8; PREFIX_LEN],
    prefix_len: usize,
    frame: Option<DataFrame>,
    text: Option<TextCheck>,
    message: Option<Fragments>,
}

/// The data frame whose payload is being read.
#[derive(Debug)]
struct DataFrame {
    remaining: usize,
    mask: Option<[u8; 4]>,
    offset: usize,
}

/// A message of several frames. Its length is only known at its end.
#[derive(Debug)]
struct Fragments {
    bytes: Vec<u8>,
    budget: FragmentBudget,
    /// Whether the current frame is the last one of the message.
    is_last: bool,
    /// The number of delivered bytes once the message is complete.
    delivered: Option<usize>,
}

/// What a reader needs or has found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// More bytes of the connection are needed.
    NeedBytes,
    /// Bytes can be taken with [`Reader::deliver`], or can be read directly.
    Deliver,
    Ping(Box<[u8]>),
    Pong,
    Close(CloseFrame),
}

/// The close frame of a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CloseFrame {
    pub(super) code: Option<u16>,
    pub(super) reason: Box<str>,
}

impl Reader {
    pub(super) fn new(role: Role, options: &WebSocketOptions, received: &[u8]) -> Self {
        let mut raw = RawBuffer::default();
        raw.append(received);
        Self {
            role,
            // A length has four bytes.
            max_message: options.max_message.min(u32::MAX as usize),
            raw,
            prefix: [0; PREFIX_LEN],
            prefix_len: 0,
            frame: None,
            text: None,
            message: None,
        }
    }

    /// Returns the buffer that receives the bytes of the connection.
    pub(super) fn raw(&mut self) -> &mut RawBuffer {
        &mut self.raw
    }

    /// Returns whether the input ended between messages.
    pub(super) fn is_between_messages(&self) -> bool {
        self.raw.is_empty() && self.frame.is_none() && self.message.is_none()
    }

    /// Returns how many bytes of an incomplete message were collected, or `None` if there is none.
    pub(super) fn collected(&self) -> Option<usize> {
        let message = self.message.as_ref()?;
        message.delivered.is_none().then_some(message.bytes.len())
    }

    /// Interprets the received bytes up to the next event.
    pub(super) fn advance(&mut self, fragments: &FragmentBudget) -> Result<Step, WebSocketFault> {
        loop {
            if self.prefix_len > 0 || self.has_complete_message() {
                return Ok(Step::Deliver);
            }
            if self.message.is_some() && self.frame.is_some() {
                if !self.collect()? {
                    return Ok(Step::NeedBytes);
                }
                continue;
            }
            if self.frame.is_some() {
                return Ok(Step::Deliver);
            }
            let Some((header, len)) = Header::read(self.raw.bytes(), self.role)? else {
                return Ok(Step::NeedBytes);
            };
            if header.opcode.is_control() {
                match self.control(&header, len)? {
                    Some(step) => return Ok(step),
                    None => return Ok(Step::NeedBytes),
                }
            }
            self.begin(&header, fragments)?;
            self.raw.consume(len);
        }
    }

    /// Copies bytes of the current message. Returns whether there were any. After an error, the
    /// copied bytes must be discarded.
    pub(super) fn deliver(&mut self, out: &mut ReadBuf<'_>) -> Result<bool, WebSocketFault> {
        let before = out.remaining();
        if self.prefix_len > 0 {
            let prefix = &self.prefix[PREFIX_LEN - self.prefix_len..];
            let count = prefix.len().min(out.remaining());
            out.put_slice(&prefix[..count]);
            self.prefix_len -= count;
            if self.prefix_len > 0 {
                return Ok(count > 0);
            }
        }
        if let Some(message) = &mut self.message {
            if let Some(delivered) = &mut message.delivered {
                let rest = &message.bytes[*delivered..];
                let count = rest.len().min(out.remaining());
                out.put_slice(&rest[..count]);
                *delivered += count;
                if *delivered == message.bytes.len() {
                    self.message = None;
                }
            }
        } else if let Some(frame) = &self.frame {
            let count = self.raw.len().min(frame.remaining).min(out.remaining());
            if count > 0 {
                let start = out.filled().len();
                out.put_slice(&self.raw.bytes()[..count]);
                self.raw.consume(count);
                self.received(&mut out.filled_mut()[start..])?;
            }
        }
        Ok(out.remaining() < before)
    }

    /// Returns how many bytes of the current payload can be read from the connection without the
    /// raw buffer. The bytes must be passed to [`received`](Self::received).
    pub(super) fn direct(&self) -> usize {
        match &self.frame {
            Some(frame)
                if self.prefix_len == 0 && self.message.is_none() && self.raw.is_empty() =>
            {
                frame.remaining
            }
            _ => 0,
        }
    }

    /// Returns whether more bytes have been received.
    pub(super) fn has_more(&self) -> bool {
        !self.raw.is_empty() || self.has_complete_message()
    }

    /// Unmasks and checks bytes of the current payload.
    pub(super) fn received(&mut self, bytes: &mut [u8]) -> Result<(), WebSocketFault> {
        let Some(frame) = &mut self.frame else {
            return Ok(());
        };
        if let Some(mask) = frame.mask {
            mask::apply(mask, frame.offset, bytes);
        }
        frame.offset += bytes.len();
        frame.remaining -= bytes.len();
        let has_ended = frame.remaining == 0;
        if has_ended {
            self.frame = None;
        }
        let is_last = self.message.as_ref().is_none_or(|message| message.is_last);
        if let Some(text) = &mut self.text {
            if !text.push(bytes) || (has_ended && is_last && !text.is_complete()) {
                return Err(WebSocketFault::InvalidText);
            }
        }
        Ok(())
    }

    fn has_complete_message(&self) -> bool {
        let message = self.message.as_ref();
        message.is_some_and(|message| message.delivered.is_some())
    }

    /// Begins the data frame after `header`.
    fn begin(&mut self, header: &Header, fragments: &FragmentBudget) -> Result<(), WebSocketFault> {
        match (header.opcode, &self.message) {
            (Opcode::Continuation, None) => return Err(WebSocketFault::UnexpectedContinuation),
            (Opcode::Text | Opcode::Binary, Some(_)) => {
                return Err(WebSocketFault::ExpectedContinuation);
            }
            _ => {}
        }
        let collected = self
            .message
            .as_ref()
            .map_or(0, |message| message.bytes.len());
        let len = header.len.saturating_add(collected as u64);
        let too_large = WebSocketFault::TooLarge {
            len,
            max: self.max_message,
        };
        if len > self.max_message as u64 {
            return Err(too_large);
        }
        let remaining = usize::try_from(header.len).map_err(|_| too_large)?;
        if header.opcode != Opcode::Continuation {
            self.text = (header.opcode == Opcode::Text).then(TextCheck::default);
        }
        self.frame = Some(DataFrame {
            remaining,
            mask: header.mask,
            offset: 0,
        });
        match &mut self.message {
            Some(message) => message.is_last = header.is_final,
            None if !header.is_final => {
                self.message = Some(Fragments {
                    bytes: Vec::new(),
                    budget: fragments.clone(),
                    is_last: false,
                    delivered: None,
                });
            }
            None => {
                self.start_delivery(remaining);
                if remaining == 0 {
                    self.frame = None;
                }
            }
        }
        Ok(())
    }

    /// Moves received bytes to the fragmented message. Returns whether the frame is complete.
    fn collect(&mut self) -> Result<bool, WebSocketFault> {
        let (Some(frame), Some(message)) = (&self.frame, &mut self.message) else {
            return Ok(true);
        };
        let count = frame.remaining.min(self.raw.len());
        let is_complete = count == frame.remaining;
        if count > 0 {
            let before = message.bytes.capacity();
            message.bytes.reserve(count);
            let grown = message.bytes.capacity() - before;
            if !message.budget.acquire(grown) {
                // The memory that was not acquired must not be released.
                message.bytes = Vec::new();
                message.budget.release(before);
                return Err(WebSocketFault::NoMemory);
            }
            message.bytes.extend_from_slice(&self.raw.bytes()[..count]);
            self.raw.consume(count);
        }
        let mut bytes = std::mem::take(&mut message.bytes);
        let start = bytes.len() - count;
        let checked = self.received(&mut bytes[start..]);
        if is_complete {
            self.frame = None;
        }
        let len = bytes.len();
        if let Some(message) = &mut self.message {
            message.bytes = bytes;
            if is_complete && message.is_last {
                message.delivered = Some(0);
                self.start_delivery(len);
                if len == 0 {
                    self.message = None;
                }
            }
        }
        checked.map(|()| is_complete)
    }

    fn start_delivery(&mut self, len: usize) {
        // The limit of messages fits into four bytes.
        let len = u32::try_from(len).unwrap_or(u32::MAX);
        self.prefix = len.to_be_bytes();
        self.prefix_len = PREFIX_LEN;
    }

    /// Reads a control frame. Returns `None` while it is incomplete.
    fn control(&mut self, header: &Header, len: usize) -> Result<Option<Step>, WebSocketFault> {
        let payload = usize::try_from(header.len).unwrap_or(usize::MAX);
        let Some(bytes) = self.raw.bytes().get(len..len.saturating_add(payload)) else {
            return Ok(None);
        };
        let mut bytes = Box::<[u8]>::from(bytes);
        self.raw.consume(len + payload);
        if let Some(mask) = header.mask {
            mask::apply(mask, 0, &mut bytes);
        }
        Ok(Some(match header.opcode {
            Opcode::Ping => Step::Ping(bytes),
            Opcode::Close => Step::Close(read_close(&bytes)?),
            _ => Step::Pong,
        }))
    }
}

impl Drop for Fragments {
    fn drop(&mut self) {
        self.budget.release(self.bytes.capacity());
    }
}

fn read_close(payload: &[u8]) -> Result<CloseFrame, WebSocketFault> {
    let Some((code, reason)) = payload.split_first_chunk() else {
        if payload.is_empty() {
            return Ok(CloseFrame {
                code: None,
                reason: "".into(),
            });
        }
        return Err(WebSocketFault::InvalidClose);
    };
    let code = u16::from_be_bytes(*code);
    // RFC 6455, sections 7.4.1 and 7.4.2: the others are reserved.
    if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
        return Err(WebSocketFault::InvalidClose);
    }
    match std::str::from_utf8(reason) {
        Ok(reason) => Ok(CloseFrame {
            code: Some(code),
            reason: reason.into(),
        }),
        Err(_) => Err(WebSocketFault::InvalidText),
    }
}

/// Bytes of the connection that have not been interpreted. An idle connection has no buffer: the
/// next connection that reads on the same thread uses it.
#[derive(Debug, Default)]
pub(super) struct RawBuffer {
    /// The buffer, of which the bytes from `start` to `end` are filled.
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    is_busy: bool,
}

impl RawBuffer {
    fn append(&mut self, bytes: &[u8]) {
        let space = self.space(bytes.len());
        space[..bytes.len()].copy_from_slice(bytes);
        self.end += bytes.len();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    fn len(&self) -> usize {
        self.end - self.start
    }

    fn bytes(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    fn consume(&mut self, count: usize) {
        self.start += count;
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
    }

    /// Returns free space for a read, of at least `len` bytes.
    fn space(&mut self, len: usize) -> &mut [u8] {
        if self.buffer.len() - self.end < len {
            self.buffer.drain(..self.start);
            self.end -= self.start;
            self.start = 0;
            let needed = (self.end + len).max(self.buffer.len());
            self.buffer.resize(needed, 0);
        }
        &mut self.buffer[self.end..]
    }

    /// Returns free space for a read. If the last read filled its space, the space is larger.
    pub(super) fn read_space(&mut self) -> &mut [u8] {
        let size = if self.is_busy {
            BUSY_READ_SIZE
        } else {
            READ_SIZE
        };
        if self.is_empty() && self.buffer.len() < size {
            self.buffer = spare::take(size);
        }
        // What is left is the start of a header or of a control frame.
        self.space(size / 4)
    }

    /// Records the result of a read.
    pub(super) fn filled(&mut self, count: usize) {
        self.end += count;
        self.is_busy = self.end == self.buffer.len();
    }

    /// Gives the buffer away if it is empty.
    pub(super) fn release(&mut self) {
        if self.is_empty() {
            spare::keep(std::mem::take(&mut self.buffer));
            self.is_busy = false;
        }
    }
}

/// The length of a length (PROTOCOL 1.1).
pub(super) const PREFIX_LEN: usize = 4;
const BUSY_READ_SIZE: usize = 64 * 1024;
