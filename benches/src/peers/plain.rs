use super::{
    frame::put,
    raw::{Codec, Method},
};
use crate::{Failure, shape::CHUNKS};

/// Bytes as they are, with as many around the text as an envelope has.
#[derive(Clone, Copy)]
pub(super) struct Plain;

const ENVELOPE: usize = 250;

/// The first byte of a request for a stream.
const STREAM: u8 = b's';

impl Codec for Plain {
    fn request(self, method: Method, text: &str, payload: &mut Vec<u8>) -> Result<(), Failure> {
        let start = payload.len();
        payload.resize(start + ENVELOPE, b'.');
        if method == Method::Stream {
            payload[start] = STREAM;
        }
        payload.extend_from_slice(text.as_bytes());
        Ok(())
    }

    fn answer(self, request: &[u8], outgoing: &mut Vec<u8>) -> Result<(), Failure> {
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

    fn text<R>(self, answer: &[u8], read: impl FnOnce(&str) -> R) -> Result<R, Failure> {
        let text = answer.get(ENVELOPE..).ok_or("a short answer")?;
        // Its bytes are not looked at; that is for those with a codec.
        Ok(read(std::str::from_utf8(text)?))
    }
}
