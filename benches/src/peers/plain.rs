//! A codec that only copies bytes, which is the minimum work of any peer.

use super::{
    frame::put,
    raw::{Codec, Method},
};
use crate::{BenchError, shape::CHUNKS};

/// A codec that sends unencoded bytes, padded to the size of an envelope.
#[derive(Clone, Copy)]
pub(super) struct Plain;

impl Codec for Plain {
    fn request(self, method: Method, text: &str, payload: &mut Vec<u8>) -> Result<(), BenchError> {
        let start = payload.len();
        payload.resize(start + ENVELOPE, b'.');
        if method == Method::Stream {
            payload[start] = STREAM;
        }
        payload.extend_from_slice(text.as_bytes());
        Ok(())
    }

    fn answer(self, request: &[u8], outgoing: &mut Vec<u8>) -> Result<(), BenchError> {
        let answers = match request.first() {
            Some(&STREAM) => CHUNKS,
            _ => 1,
        };
        for _ in 0..answers {
            put(outgoing, |payload| {
                payload.extend_from_slice(request);
                Ok(())
            })?;
        }
        Ok(())
    }

    fn text<R>(self, answer: &[u8], read: impl FnOnce(&str) -> R) -> Result<R, BenchError> {
        let text = answer.get(ENVELOPE..).ok_or("the answer is too short")?;
        // This codec only validates UTF-8, whereas other peers also decode an envelope.
        Ok(read(std::str::from_utf8(text)?))
    }
}

/// The number of bytes that an envelope adds to its text.
const ENVELOPE: usize = 250;

/// The first byte of a stream request.
const STREAM: u8 = b's';
