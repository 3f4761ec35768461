//! The two encodings of envelopes and values.

use crate::{
    DEFAULT_MEMORY_LIMIT, DecodeError, DecodeFault, EncodeError, Envelope, FrameError, MemoryBound,
    Value, json, msgpack, put_frame, schema::Detail,
};

/// The encoding of envelopes.
///
/// ```
/// # mod agentwire { pub use agentwire_codec::*; }
/// use agentwire::{Format, value};
///
/// let number = value!(2.5);
/// let (mut json, mut msgpack) = (Vec::new(), Vec::new());
/// Format::Json.encode_value(&number, &mut json)?;
/// Format::MessagePack.encode_value(&number, &mut msgpack)?;
/// assert_eq!(json, b"2.5");
/// assert_eq!(msgpack.len(), 9);
/// # Ok::<(), agentwire::EncodeError>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Format {
    /// JSON as CPython writes it ([PROTOCOL 4]). Every peer supports it.
    ///
    /// [PROTOCOL 4]: https://github.com/agentwire/agentwire/blob/main/PROTOCOL.md#4-json-text
    #[default]
    Json,
    /// MessagePack as Python's `msgpack` package writes it ([PROTOCOL 10]). MessagePack supports
    /// bytes but not integers beyond 64 bits.
    ///
    /// [PROTOCOL 10]: https://github.com/agentwire/agentwire/blob/main/PROTOCOL.md#10-messagepack
    MessagePack,
}

impl Format {
    /// Detects the format of `payload` from its first byte ([PROTOCOL 10.2]).
    ///
    /// A payload in neither format is treated as JSON, so the JSON decoder reports the error.
    ///
    /// [PROTOCOL 10.2]: https://github.com/agentwire/agentwire/blob/main/PROTOCOL.md#10-messagepack
    #[must_use]
    pub fn detect(payload: &[u8]) -> Self {
        match payload.first() {
            Some(0x80..=0x8f | 0xde | 0xdf) => Self::MessagePack,
            _ => Self::Json,
        }
    }

    /// Encodes `envelope` and appends it to `buffer`.
    ///
    /// # Errors
    ///
    /// Returns an error if the format cannot represent the envelope. The bytes that were already
    /// appended remain in `buffer`; [`put_frame`](crate::put_frame) removes them.
    pub fn encode(self, envelope: &Envelope, buffer: &mut Vec<u8>) -> Result<(), EncodeError> {
        match self {
            Self::Json => json::encode_envelope(envelope, buffer),
            Self::MessagePack => msgpack::encode_envelope(envelope, buffer),
        }
    }

    /// Appends `envelope` to `buffer` as one frame.
    ///
    /// If the payload exceeds `limit`, it is encoded again in the compact form ([PROTOCOL 4.10] and
    /// 10.6), in which no value takes more bytes than it took in the payload from which it was
    /// read. Therefore, what a peer sent can be sent back, however the peer wrote it.
    ///
    /// If an error is returned, `buffer` is unchanged.
    ///
    /// # Errors
    ///
    /// Returns an error if the format cannot represent the envelope, or if the payload exceeds
    /// `limit` in both forms.
    ///
    /// [PROTOCOL 4.10]: https://github.com/agentwire/agentwire/blob/main/PROTOCOL.md#4-json-text
    pub fn put_frame(
        self,
        envelope: &Envelope,
        limit: usize,
        buffer: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        match put_frame(buffer, limit, |buffer| self.encode(envelope, buffer)) {
            Err(EncodeError::Frame(FrameError::TooLarge { .. })) => {
                put_frame(buffer, limit, |buffer| match self {
                    Self::Json => json::encode_compact_envelope(envelope, buffer),
                    Self::MessagePack => msgpack::encode_compact_envelope(envelope, buffer),
                })
            }
            result => result,
        }
    }

    /// Decodes the envelope in `payload`. Its values may take [`DEFAULT_MEMORY_LIMIT`].
    ///
    /// # Errors
    ///
    /// Returns an error if the payload is not a valid envelope, or if its values use too much
    /// memory. The error contains the id of the envelope if the id could be read.
    pub fn decode(self, payload: &[u8]) -> Result<Envelope, DecodeError> {
        self.decode_with(payload, Detail::Known, DEFAULT_MEMORY_LIMIT)
            .map(|(envelope, _)| envelope)
    }

    /// Decodes the envelope in `payload`, whose values may take `max_memory` bytes. Returns the
    /// envelope and the memory that it takes, which is at most [`memory_bound`](Self::memory_bound)
    /// and at least the length of the payload.
    ///
    /// # Errors
    ///
    /// [`decode`](Self::decode) describes them.
    pub fn decode_within(
        self,
        payload: &[u8],
        max_memory: usize,
    ) -> Result<(Envelope, usize), DecodeError> {
        self.decode_with(payload, Detail::Known, max_memory)
    }

    /// Returns an upper bound of the memory that the envelope in `payload` takes when it is
    /// decoded, without decoding it.
    #[must_use]
    pub fn memory_bound(self, payload: &[u8]) -> usize {
        let mut bound = MemoryBound::new(self);
        bound.scan(payload, usize::MAX);
        bound.bytes()
    }

    /// Decodes the envelope in `payload` and keeps all its keys. The body is a [`Body::Raw`].
    ///
    /// Use this method in a program that forwards envelopes without interpreting them.
    ///
    /// # Errors
    ///
    /// Returns an error if the payload is not a valid envelope, or if its values use too much
    /// memory. The keys inside the payload of the envelope are not checked.
    ///
    /// [`Body::Raw`]: crate::Body::Raw
    pub fn decode_raw(self, payload: &[u8]) -> Result<Envelope, DecodeError> {
        self.decode_with(payload, Detail::Everything, DEFAULT_MEMORY_LIMIT)
            .map(|(envelope, _)| envelope)
    }

    /// Decodes the envelope in `payload` as [`decode_raw`](Self::decode_raw) does, with another
    /// limit of memory. Returns the envelope and the memory that it takes.
    ///
    /// # Errors
    ///
    /// [`decode_raw`](Self::decode_raw) describes them.
    pub fn decode_raw_within(
        self,
        payload: &[u8],
        max_memory: usize,
    ) -> Result<(Envelope, usize), DecodeError> {
        self.decode_with(payload, Detail::Everything, max_memory)
    }

    fn decode_with(
        self,
        payload: &[u8],
        detail: Detail,
        max_memory: usize,
    ) -> Result<(Envelope, usize), DecodeError> {
        match self {
            Self::Json => json::decode_envelope(payload, detail, max_memory),
            Self::MessagePack => msgpack::decode_envelope(payload, detail, max_memory),
        }
    }

    /// Encodes a value and appends it to `buffer`, without interpreting it as an envelope.
    ///
    /// ```
    /// # mod agentwire { pub use agentwire_codec::*; }
    /// use agentwire::{Format, value};
    ///
    /// let mut payload = Vec::new();
    /// Format::Json.encode_value(&value!({"a": [1, 2.0]}), &mut payload)?;
    /// assert_eq!(payload, br#"{"a": [1, 2.0]}"#);
    /// # Ok::<(), agentwire::EncodeError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Returns an error if the format cannot represent the value. The bytes that were already
    /// appended remain in `buffer`.
    pub fn encode_value(self, value: &Value, buffer: &mut Vec<u8>) -> Result<(), EncodeError> {
        match self {
            Self::Json => json::write(value, buffer),
            Self::MessagePack => msgpack::write(value, buffer),
        }
    }

    /// Decodes `payload` as a value, without interpreting it as an envelope.
    ///
    /// # Errors
    ///
    /// Returns [`DecodeFault::Syntax`] if the bytes are not valid in this format.
    pub fn decode_value(self, payload: &[u8]) -> Result<Value, DecodeFault> {
        match self {
            Self::Json => json::from_slice(payload),
            Self::MessagePack => msgpack::from_slice(payload),
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::value;

    fn encoded(format: Format, value: &Value) -> Result<Vec<u8>, EncodeError> {
        let mut payload = b"before".to_vec();
        format.encode_value(value, &mut payload)?;
        Ok(payload.split_off(b"before".len()))
    }

    #[test]
    fn a_value_round_trips_only_in_its_own_format() {
        let value = value!({"text": "\u{e9}", "list": [null, true, -1, 0.5, {"": []}]});
        for (format, other) in [
            (Format::Json, Format::MessagePack),
            (Format::MessagePack, Format::Json),
        ] {
            let payload = encoded(format, &value).unwrap();
            assert_eq!(Format::detect(&payload), format);
            assert_eq!(format.decode_value(&payload).unwrap(), value);
            assert!(other.decode_value(&payload).is_err());
        }
    }

    #[test]
    fn a_value_that_only_the_other_format_carries_is_refused() {
        let bytes = Value::from(Bytes::from_static(b"\xff"));
        let error = encoded(Format::Json, &bytes).unwrap_err();
        assert!(matches!(error, EncodeError::BytesInJson), "{error}");
        assert_eq!(
            encoded(Format::MessagePack, &bytes).unwrap(),
            b"\xc4\x01\xff"
        );

        let big = Value::from(u128::MAX);
        let error = encoded(Format::MessagePack, &big).unwrap_err();
        assert!(matches!(error, EncodeError::IntegerTooLarge), "{error}");
        let digits = u128::MAX.to_string();
        assert_eq!(encoded(Format::Json, &big).unwrap(), digits.as_bytes());
    }
}
