use super::{
    fields::{missing, syntax, text_or_value},
    payload::read_body,
};
use crate::{
    Body, DecodeError, DecodeFault, Envelope, EnvelopeType, PROTOCOL_VERSION, RequestId, SentAt,
    Value, schema::Source,
};

/// Reads one envelope, which must be all that `source` holds.
///
/// Keys may come in any order. When the type comes before the payload, as every known writer has it, the
/// payload is read in place; otherwise it is stepped over and read at the end.
pub(crate) fn decode<'de, S: Source<'de>>(mut source: S) -> Result<Envelope, DecodeError> {
    let mut head = Head::default();
    let result = read_head(&mut source, &mut head).and_then(|()| head.check());
    let checked = match result {
        Ok(checked) => checked,
        Err(fault) => return Err(DecodeError::new(head.id.and_then(Result::ok), None, fault)),
    };
    let Some(Payload { mark, read }) = head.payload else {
        let id = head.id.and_then(Result::ok);
        return Err(DecodeError::new(id, None, missing("payload")));
    };
    let body = match read {
        Some((kind, body)) if kind == checked => body,
        stale => {
            // What was read by another type is of no use, so it must not take room any longer.
            drop(stale);
            source.rewind(mark);
            read_body(&mut source, checked)
        }
    };
    let id = head.id.and_then(Result::ok);
    match (body, id) {
        (Ok(body), Some(id)) => Ok(Envelope {
            id,
            timestamp: head.timestamp,
            body,
        }),
        (Ok(_), None) => Err(DecodeError::new(None, None, missing("id"))),
        (Err(fault), id) => Err(DecodeError::new(id, Some(checked), fault)),
    }
}

/// The keys of an envelope as they come. What is there and wrong is kept for the error.
struct Head<M> {
    version: Option<Result<(), Value>>,
    kind: Option<Result<EnvelopeType, Value>>,
    id: Option<Result<RequestId, Value>>,
    timestamp: Option<SentAt>,
    payload: Option<Payload<M>>,
}

struct Payload<M> {
    mark: M,
    read: Option<(EnvelopeType, Result<Body, DecodeFault>)>,
}

impl<M> Default for Head<M> {
    fn default() -> Self {
        Self {
            version: None,
            kind: None,
            id: None,
            timestamp: None,
            payload: None,
        }
    }
}

impl<M> Head<M> {
    /// The version decides first: of another one, nothing more is known.
    fn check(&self) -> Result<EnvelopeType, DecodeFault> {
        match &self.version {
            Some(Ok(())) => {}
            Some(Err(version)) => {
                return Err(DecodeFault::Version {
                    version: version.clone(),
                });
            }
            None => return Err(missing("version")),
        }
        let kind = match &self.kind {
            Some(Ok(kind)) => *kind,
            Some(Err(kind)) => {
                let reason = format!("unknown type {}", shortened(kind));
                return Err(DecodeFault::Envelope { reason });
            }
            None => return Err(missing("type")),
        };
        match &self.id {
            Some(Ok(_)) => Ok(kind),
            Some(Err(id)) => {
                let reason = format!("id must be text, not {}", id.kind());
                Err(DecodeFault::Envelope { reason })
            }
            None => Err(missing("id")),
        }
    }
}

fn read_head<'de, S: Source<'de>>(
    source: &mut S,
    head: &mut Head<S::Mark>,
) -> Result<(), DecodeFault> {
    let Some(mut cursor) = source.enter_map().map_err(syntax::<S>)? else {
        // Whatever it is, it must be well-formed before it can be the wrong thing.
        let value = skip_to_end(source)?;
        let reason = format!("expected an object, not {}", value.kind());
        return Err(DecodeFault::Envelope { reason });
    };
    while let Some(key) = source.next_key(&mut cursor).map_err(syntax::<S>)? {
        match &*key {
            "version" => {
                head.version = Some(text_or_value(source, |text| {
                    (text == PROTOCOL_VERSION).then_some(())
                })?);
            }
            "type" => head.kind = Some(text_or_value(source, EnvelopeType::from_text)?),
            "id" => head.id = Some(text_or_value(source, |text| Some(RequestId::from(text)))?),
            "timestamp" => {
                head.timestamp = text_or_value(source, |text| Some(SentAt::from(text)))?.ok();
            }
            "payload" => head.payload = Some(read_payload(source, &head.kind)?),
            _ => {
                source.skip().map_err(syntax::<S>)?;
            }
        }
    }
    source.finish().map_err(syntax::<S>)
}

/// The value as JSON, cut off if it is long: it comes from the peer and goes into an answer.
fn shortened(value: &Value) -> String {
    let text = value.to_string();
    // The text is ASCII, so any cut is between characters.
    match text.get(..MAX_SHOWN_LEN) {
        Some(start) if text.len() > MAX_SHOWN_LEN => {
            format!("{start}… ({} characters)", text.len())
        }
        _ => text,
    }
}

fn skip_to_end<'de, S: Source<'de>>(source: &mut S) -> Result<Value, DecodeFault> {
    let value = source.value().map_err(syntax::<S>)?;
    source.finish().map_err(syntax::<S>)?;
    Ok(value)
}

fn read_payload<'de, S: Source<'de>>(
    source: &mut S,
    kind: &Option<Result<EnvelopeType, Value>>,
) -> Result<Payload<S::Mark>, DecodeFault> {
    let mark = source.mark();
    let read = match kind {
        Some(Ok(kind)) => match read_body(source, *kind) {
            Err(fault @ DecodeFault::Syntax { .. }) => return Err(fault),
            Err(fault) => {
                // The rest of the envelope may still hold the id, so go on behind the payload.
                source.rewind(mark);
                source.skip().map_err(syntax::<S>)?;
                Some((*kind, Err(fault)))
            }
            Ok(body) => Some((*kind, Ok(body))),
        },
        _ => {
            source.skip().map_err(syntax::<S>)?;
            None
        }
    };
    Ok(Payload { mark, read })
}

/// How much of an unknown type an error shows, in bytes.
const MAX_SHOWN_LEN: usize = 200;
