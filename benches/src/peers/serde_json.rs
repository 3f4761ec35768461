//! The codec for typed envelopes through serde_json.

use super::{
    envelope::{Answer, Envelope, ID, Request},
    frame::put,
    raw::{Codec, Method},
};
use crate::{BenchError, shape::CHUNKS};

/// A codec that encodes typed envelopes with serde_json.
#[derive(Clone, Copy)]
pub(super) struct SerdeJson;

impl Codec for SerdeJson {
    fn request(self, method: Method, text: &str, payload: &mut Vec<u8>) -> Result<(), BenchError> {
        let method = match method {
            Method::Process => "process",
            Method::Stream => "stream",
        };
        let request = Envelope::request(ID.to_owned(), method, text);
        Ok(::serde_json::to_writer(payload, &request)?)
    }

    fn answer(self, request: &[u8], outgoing: &mut Vec<u8>) -> Result<(), BenchError> {
        let request: Envelope<Request> = ::serde_json::from_slice(request)?;
        let answers = match request.payload.method.as_str() {
            "stream" => CHUNKS,
            _ => 1,
        };
        let answer = request.answer();
        for _ in 0..answers {
            put(outgoing, |payload| {
                Ok(::serde_json::to_writer(payload, &answer)?)
            })?;
        }
        Ok(())
    }

    fn text<R>(self, answer: &[u8], read: impl FnOnce(&str) -> R) -> Result<R, BenchError> {
        let answer: Envelope<Answer> = ::serde_json::from_slice(answer)?;
        Ok(read(&answer.payload.message.content))
    }
}
