//! MessagePack in the exact format of Python's `msgpack.packb` ([PROTOCOL 10]).
//!
//! [PROTOCOL 10]: https://github.com/agentwire/agentwire/blob/main/PROTOCOL.md#10-messagepack

mod memory;
mod read;
mod write;

pub(crate) use self::{memory::scan_memory, read::COSTS};
use self::{read::MsgpackReader, write::MsgpackWriter};
use crate::{
    DecodeError, DecodeFault, EncodeError, Envelope, Value,
    schema::{self, Detail, FormatReader, ReadError},
};

/// Decodes MessagePack that consists of one value. Only the length of the bytes limits the memory
/// that the value uses.
///
/// # Errors
///
/// Returns [`DecodeFault::Syntax`] if the bytes are not valid according to [PROTOCOL 10.4].
///
/// [PROTOCOL 10.4]: https://github.com/agentwire/agentwire/blob/main/PROTOCOL.md#10-messagepack
pub fn from_slice(bytes: &[u8]) -> Result<Value, DecodeFault> {
    let read = || {
        let mut reader = MsgpackReader::new(bytes, usize::MAX);
        let value = reader.value()?;
        reader.finish()?;
        Ok(value)
    };
    read().map_err(|error: ReadError| {
        error.into_fault(<MsgpackReader<'_> as FormatReader<'_>>::FORMAT)
    })
}

/// Encodes a value as MessagePack and appends it to `buffer`.
///
/// # Errors
///
/// Returns an error if the value contains an integer beyond 64 bits or is nested too deeply. The
/// bytes that were already appended remain in `buffer`.
pub fn write(value: &Value, buffer: &mut Vec<u8>) -> Result<(), EncodeError> {
    schema::write_value(&mut MsgpackWriter::new(buffer), value)
}

pub(crate) fn decode_envelope(
    payload: &[u8],
    detail: Detail,
    max_memory: usize,
) -> Result<(Envelope, usize), DecodeError> {
    schema::decode(MsgpackReader::new(payload, max_memory), detail)
}

pub(crate) fn encode_envelope(
    envelope: &Envelope,
    buffer: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    schema::encode(&mut MsgpackWriter::new(buffer), envelope)
}

/// Encodes an envelope in the compact form (PROTOCOL 10.6).
#[cold]
pub(crate) fn encode_compact_envelope(
    envelope: &Envelope,
    buffer: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    schema::encode(&mut MsgpackWriter::compact(buffer), envelope)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::{MAX_DEPTH, Map};

    fn written(value: &Value) -> Vec<u8> {
        let mut buffer = Vec::new();
        write(value, &mut buffer).unwrap();
        buffer
    }

    fn bytes_of(hex: &str) -> Vec<u8> {
        (0..hex.len())
            .step_by(2)
            .map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap())
            .collect()
    }

    /// The expected bytes were written by `packb` of Python's msgpack 1.2.
    #[test]
    fn every_type_and_size_is_encoded_as_python_encodes_it() {
        let numbered = |len: usize| (0..len).map(|i| (i.to_string(), i)).collect::<Map>();
        for (value, start) in [
            (Value::from(0), "00"),
            (127.into(), "7f"),
            (128.into(), "cc80"),
            (255.into(), "ccff"),
            (256.into(), "cd0100"),
            (65_535.into(), "cdffff"),
            (65_536.into(), "ce00010000"),
            (u32::MAX.into(), "ceffffffff"),
            ((1_u64 << 32).into(), "cf0000000100000000"),
            ((1_u64 << 63).into(), "cf8000000000000000"),
            (u64::MAX.into(), "cfffffffffffffffff"),
            ((-1).into(), "ff"),
            ((-32).into(), "e0"),
            ((-33).into(), "d0df"),
            ((-128).into(), "d080"),
            ((-129).into(), "d1ff7f"),
            ((-32_768).into(), "d18000"),
            ((-32_769).into(), "d2ffff7fff"),
            (i32::MIN.into(), "d280000000"),
            ((i64::from(i32::MIN) - 1).into(), "d3ffffffff7fffffff"),
            (i64::MIN.into(), "d38000000000000000"),
            (Value::Null, "c0"),
            (true.into(), "c3"),
            (false.into(), "c2"),
            (1.5.into(), "cb3ff8000000000000"),
            ((-0.0).into(), "cb8000000000000000"),
            ("".into(), "a0"),
            ("a".repeat(31).into(), "bf61"),
            ("é".repeat(16).into(), "d920c3a9"),
            ("a".repeat(256).into(), "da010061"),
            ("a".repeat(65_536).into(), "db0001000061"),
            (Value::List(Vec::new()), "90"),
            (vec![1; 15].into(), "9f01"),
            (vec![1; 16].into(), "dc001001"),
            (vec![1; 65_536].into(), "dd0001000001"),
            (Map::new().into(), "80"),
            (numbered(15).into(), "8fa13000"),
            (numbered(16).into(), "de0010a13000"),
            (numbered(65_536).into(), "df00010000a13000"),
            (Bytes::new().into(), "c400"),
            (Bytes::from_static(b"\x00\xff").into(), "c40200ff"),
            (Bytes::from(vec![0; 256]).into(), "c5010000"),
            (Bytes::from(vec![0; 65_536]).into(), "c60001000000"),
        ] {
            let bytes = written(&value);
            assert!(
                bytes.starts_with(&bytes_of(start)),
                "{value:?}: {bytes:02x?}"
            );
            assert_eq!(from_slice(&bytes).unwrap(), value);
        }
        let nested = Map::from([
            ("b", Value::from(1)),
            (
                "a",
                vec![Value::from(Map::from([("c", Value::Null)]))].into(),
            ),
        ]);
        assert_eq!(written(&nested.into()), bytes_of("82a16201a1619181a163c0"));
    }

    #[test]
    fn unsupported_input_is_refused_with_its_position() {
        for (hex, reason) in [
            ("", "unexpected end at byte 0"),
            ("c1", "unknown type at byte 0"),
            ("c70100ff", "extension types are not supported at byte 0"),
            (
                "91d6ff00000000",
                "extension types are not supported at byte 1",
            ),
            ("810101", "a map key must be text at byte 1"),
            ("81c40161c0", "a map key must be text at byte 1"),
            ("a2c328", "text is not UTF-8 at byte 1"),
            ("a2", "unexpected end at byte 1"),
            ("cd01", "unexpected end at byte 1"),
            ("ddffffffff", "unexpected end at byte 5"),
            ("dfffffffff", "unexpected end at byte 5"),
            ("c6ffffffff", "unexpected end at byte 5"),
            ("0000", "extra data after the value at byte 1"),
        ] {
            let error = from_slice(&bytes_of(hex)).unwrap_err().to_string();
            assert_eq!(
                error,
                format!("Failed to decode MessagePack: {reason}"),
                "{hex}"
            );
        }
        let mut buffer = Vec::new();
        let error = write(&u128::MAX.into(), &mut buffer).unwrap_err();
        assert!(matches!(error, EncodeError::IntegerTooLarge));
    }

    #[test]
    fn nesting_is_bounded_in_both_directions() {
        let nested = |depth: usize| [vec![0x91; depth - 1], vec![0x90]].concat();
        let deepest = from_slice(&nested(MAX_DEPTH)).unwrap();
        assert_eq!(written(&deepest), nested(MAX_DEPTH));
        let error = from_slice(&nested(MAX_DEPTH + 1)).unwrap_err();
        assert!(error.to_string().contains("deeper"), "{error}");
        assert!(write(&vec![deepest].into(), &mut Vec::new()).is_err());
    }
}
