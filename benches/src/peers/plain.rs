//! A codec that copies bytes: the least that a peer can do.

use super::{
    frame::put,
    raw::{Codec, Method},
};
use crate::{BenchError, shape::CHUNKS};

/// Unencoded bytes, padded to the size of an envelope.
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
        // This checks only for UTF-8; other peers decode an envelope as well.
        Ok(read(std::str::from_utf8(text)?))
    }
}

/// How many bytes an envelope adds to the text.
const ENVELOPE: usize = 250;

/// The first byte of a request for a stream.
const STREAM: u8 = b's';
