//! A codec for envelopes, for use with `tokio_util::codec::Framed`.

use bytes::{Buf, Bytes, BytesMut};
use tokio_util::codec::{Decoder, Encoder};

use crate::{
    DecodeError, EncodeError, Envelope, Format, FrameError, FrameLimits, HEADER_LEN, check_eof,
    peek_frame, reserve_for_frame,
};

/// A codec that decodes a byte stream into envelopes and encodes envelopes into frames.
///
/// Use it with `tokio_util::codec::Framed`.
///
/// A frame without a valid envelope is yielded as an `Err` item, and the stream continues with the
/// next frame. A framing error ends the stream.
///
/// ```
/// use agentwire_codec::{Envelope, EnvelopeCodec, Message, Call, Request, RequestId};
/// use bytes::BytesMut;
/// use tokio_util::codec::{Decoder, Encoder};
///
/// let request = Request::Process(Call::new("weather", Message::user("Oslo?")));
/// let envelope = Envelope::new(RequestId::random(), request);
/// let (mut codec, mut bytes) = (EnvelopeCodec::default(), BytesMut::new());
/// codec.encode(&envelope, &mut bytes)?;
/// let decoded = codec.decode(&mut bytes)?.expect("a whole frame is there")?;
/// assert_eq!(decoded, envelope);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct EnvelopeCodec {
    format: Format,
    limits: FrameLimits,
}

impl EnvelopeCodec {
    /// Creates a codec for this format and these limits.
    #[must_use]
    pub fn new(format: Format, limits: FrameLimits) -> Self {
        Self { format, limits }
    }
}

impl Decoder for EnvelopeCodec {
    type Item = Result<Envelope, DecodeError>;
    type Error = FrameError;

    fn decode(&mut self, buffer: &mut BytesMut) -> Result<Option<Self::Item>, FrameError> {
        let Some(len) = peek_frame(buffer, self.limits.max_receive())? else {
            reserve_for_frame(buffer);
            return Ok(None);
        };
        let envelope = self.format.decode(&buffer[HEADER_LEN..HEADER_LEN + len]);
        buffer.advance(HEADER_LEN + len);
        Ok(Some(envelope))
    }

    fn decode_eof(&mut self, buffer: &mut BytesMut) -> Result<Option<Self::Item>, FrameError> {
        match self.decode(buffer)? {
            Some(envelope) => Ok(Some(envelope)),
            None => check_eof(buffer).map(|()| None),
        }
    }
}

impl Encoder<&Envelope> for EnvelopeCodec {
    type Error = EncodeError;

    fn encode(&mut self, envelope: &Envelope, buffer: &mut BytesMut) -> Result<(), EncodeError> {
        // The conversions reuse the allocation, and copy the bytes only if the buffer is shared.
        let mut bytes = Vec::from(std::mem::take(buffer));
        let result = self
            .format
            .put_frame(envelope, self.limits.max_send(), &mut bytes);
        *buffer = BytesMut::from(Bytes::from(bytes));
        result
    }
}
