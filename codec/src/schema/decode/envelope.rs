//! Decodes the keys of an envelope.

use super::{
    fields::{Refused, missing_key, read_refused, syntax_fault, text_or_value},
    payload::{read_body, read_raw_body},
};
use crate::{
    Body, DecodeError, DecodeFault, Envelope, EnvelopeType, Map, PROTOCOL_VERSION, RequestId,
    SentAt, repeated::repeatable_text, schema::FormatReader,
};

/// The keys of an envelope that are decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Detail {
    /// Only the known keys, which are decoded into typed values.
    Known,
    /// All keys. The body is a [`Body::Raw`].
    Everything,
}

/// Decodes one envelope, which must be the entire input of `reader`.
///
/// The keys may be in any order. All known senders write the type before the payload, in which case
/// the payload is decoded directly. Otherwise, the payload is first skipped and then decoded at the
/// end.
///
/// Returns the envelope and the memory that its values use.
pub(crate) fn decode<'de, R: FormatReader<'de>>(
    mut reader: R,
    detail: Detail,
) -> Result<(Envelope, usize), DecodeError> {
    let mut fields = EnvelopeFields::default();
    let result =
        read_envelope_fields(&mut reader, &mut fields, detail).and_then(|()| fields.check());
    let kind = match result {
        Ok(kind) => kind,
        Err(fault) => {
            let is_of_payload = matches!(fault, DecodeFault::Memory { .. }) && fields.is_complete();
            let (kind, fault) = match fields.check() {
                Ok(kind) if is_of_payload => (Some(kind), fault),
                Err(earlier) if is_of_payload => (None, earlier),
                _ => (None, fault),
            };
            let id = fields.id.and_then(Result::ok);
            return Err(DecodeError::new(id, kind, fault));
        }
    };
    let Some(PayloadField { position, decoded }) = fields.payload else {
        let id = fields.id.and_then(Result::ok);
        return Err(DecodeError::new(id, None, missing_key("payload")));
    };
    let body = match decoded {
        Some((decoded_as, body)) if decoded_as == kind => body,
        stale => {
            // Free the body of the wrong type before decoding the payload again.
            drop(stale);
            reader.seek(position);
            read_payload_as(&mut reader, kind, detail)
        }
    };
    let id = fields.id.and_then(Result::ok);
    match (body, id) {
        (Ok(mut body), Some(id)) => {
            if let Body::Raw(raw) = &mut body {
                raw.timestamp.clone_from(&fields.timestamp);
                raw.unknown = fields.unknown;
            }
            let envelope = Envelope {
                id,
                timestamp: fields.timestamp,
                body,
            };
            Ok((envelope, reader.memory()))
        }
        (Ok(_), None) => Err(DecodeError::new(None, None, missing_key("id"))),
        (Err(fault), id) => Err(DecodeError::new(id, Some(kind), fault)),
    }
}

/// The values of the keys of an envelope that have been decoded so far. Invalid values are kept for
/// the error message.
struct EnvelopeFields<P> {
    version: Option<Result<(), Refused>>,
    kind: Option<Result<EnvelopeType, Refused>>,
    id: Option<Result<RequestId, Refused>>,
    timestamp: Option<SentAt>,
    payload: Option<PayloadField<P>>,
    /// The unknown keys, which are collected only for [`Detail::Everything`].
    unknown: Map,
}

struct PayloadField<P> {
    position: P,
    /// The decoded body and the type that was used to decode it, or `None` if the type was not
    /// known when the payload was read.
    decoded: Option<(EnvelopeType, Result<Body, DecodeFault>)>,
}

impl<P> Default for EnvelopeFields<P> {
    fn default() -> Self {
        Self {
            version: None,
            kind: None,
            id: None,
            timestamp: None,
            payload: None,
            unknown: Map::new(),
        }
    }
}

impl<P> EnvelopeFields<P> {
    /// Returns whether all keys have been read that an error about the payload depends on.
    fn is_complete(&self) -> bool {
        self.version.is_some() && self.kind.is_some() && self.id.is_some()
    }

    /// Checks the fields and returns the type. The version is checked first, because the rules of
    /// other versions are unknown.
    fn check(&self) -> Result<EnvelopeType, DecodeFault> {
        match &self.version {
            Some(Ok(())) => {}
            Some(Err(version)) => {
                return Err(DecodeFault::Version {
                    version: version.value.clone(),
                });
            }
            None => return Err(missing_key("version")),
        }
        let kind = match &self.kind {
            Some(Ok(kind)) => *kind,
            Some(Err(kind)) => {
                let reason = format!("unknown type {}", repeatable_text(&kind.value.to_string()));
                return Err(DecodeFault::Envelope { reason });
            }
            None => return Err(missing_key("type")),
        };
        match &self.id {
            Some(Ok(_)) => Ok(kind),
            Some(Err(id)) => {
                let reason = format!("id must be text, not {}", id.kind());
                Err(DecodeFault::Envelope { reason })
            }
            None => Err(missing_key("id")),
        }
    }
}

fn read_envelope_fields<'de, R: FormatReader<'de>>(
    reader: &mut R,
    fields: &mut EnvelopeFields<R::Position>,
    detail: Detail,
) -> Result<(), DecodeFault> {
    let Some(mut cursor) = reader.enter_map().map_err(syntax_fault::<R>)? else {
        // Report the wrong kind of value only if the entire input is well-formed.
        let refused = read_refused(reader)?;
        reader.finish().map_err(syntax_fault::<R>)?;
        let reason = format!("expected an object, not {}", refused.kind());
        return Err(DecodeFault::Envelope { reason });
    };
    while let Some(key) = reader.next_key(&mut cursor).map_err(syntax_fault::<R>)? {
        match &*key {
            "version" => {
                fields.version = Some(text_or_value(reader, |text| {
                    (text == PROTOCOL_VERSION).then_some(())
                })?);
            }
            "type" => fields.kind = Some(text_or_value(reader, EnvelopeType::from_text)?),
            "id" => fields.id = Some(text_or_value(reader, |text| Some(RequestId::from(text)))?),
            "timestamp" => {
                fields.timestamp = text_or_value(reader, |text| Some(SentAt::from(text)))?.ok();
            }
            "payload" => fields.payload = Some(read_payload(reader, fields, detail)?),
            _ if detail == Detail::Everything => {
                let value = reader.value().map_err(syntax_fault::<R>)?;
                fields.unknown.insert(key, value);
            }
            _ => {
                reader.skip().map_err(syntax_fault::<R>)?;
            }
        }
    }
    reader.finish().map_err(syntax_fault::<R>)
}

fn read_payload<'de, R: FormatReader<'de>>(
    reader: &mut R,
    fields: &EnvelopeFields<R::Position>,
    detail: Detail,
) -> Result<PayloadField<R::Position>, DecodeFault> {
    let position = reader.position();
    let decoded = match &fields.kind {
        Some(Ok(kind)) => match read_payload_as(reader, *kind, detail) {
            Err(fault @ DecodeFault::Syntax { .. }) => return Err(fault),
            // Skipping the rest of a large payload may take as long as decoding it.
            Err(fault @ DecodeFault::Memory { .. }) if fields.is_complete() => return Err(fault),
            Err(fault) => {
                // The id may follow the payload, so continue after the payload.
                reader.rewind(position);
                reader.skip().map_err(syntax_fault::<R>)?;
                Some((*kind, Err(fault)))
            }
            Ok(body) => Some((*kind, Ok(body))),
        },
        _ => {
            reader.skip().map_err(syntax_fault::<R>)?;
            None
        }
    };
    Ok(PayloadField { position, decoded })
}

fn read_payload_as<'de, R: FormatReader<'de>>(
    reader: &mut R,
    kind: EnvelopeType,
    detail: Detail,
) -> Result<Body, DecodeFault> {
    match detail {
        Detail::Known => read_body(reader, kind),
        Detail::Everything => read_raw_body(reader, kind),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Format;

    /// Skipping the rest of a large payload would take as long as decoding it.
    #[test]
    fn nothing_is_read_after_values_that_take_too_much_memory() {
        let list = "0,".repeat(1000);
        let text = format!(
            r#"{{"version":"1.0","type":"request","id":"7","payload":{{"method":"process","message":{{"role":"user","content":[{list} this is not JSON"#
        );
        let error = Format::Json
            .decode_within(text.as_bytes(), 4096)
            .unwrap_err();
        assert!(matches!(error.fault(), DecodeFault::Memory { limit: 4096 }));
        assert_eq!(error.id(), Some(&"7".into()));
        assert_eq!(error.envelope_type(), Some(EnvelopeType::Request));
        // An error of the envelope counts before an error of its payload.
        let text = text.replacen("1.0", "2.0", 1);
        let error = Format::Json
            .decode_within(text.as_bytes(), 4096)
            .unwrap_err();
        assert!(matches!(error.fault(), DecodeFault::Version { .. }));
        // An id after the payload is still read.
        let text = format!(
            r#"{{"version":"1.0","type":"request","payload":{{"method":"process","message":{{"role":"user","content":[{list}0]}}}},"id":"7"}}"#
        );
        let error = Format::Json
            .decode_within(text.as_bytes(), 4096)
            .unwrap_err();
        assert!(matches!(error.fault(), DecodeFault::Memory { .. }));
        assert_eq!(error.id(), Some(&"7".into()));
    }
}
