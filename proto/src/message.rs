//! The conversion of messages and errors.

use agentwire_codec::{
    DecodeFault, EncodeError, Map, Message as EnvelopeMessage, Timestamp, WireError,
    internal::repeatable,
};

use crate::{
    Error, Message,
    content::{read_content, read_details, read_texts, write_content, write_details, write_texts},
};

impl Message {
    pub(crate) fn write(message: EnvelopeMessage) -> Result<Self, EncodeError> {
        if message.role.is_empty() {
            return Err(EncodeError::EmptyRole);
        }
        Ok(Self {
            role: message.role.as_str().to_owned(),
            content: write_content(message.content)?,
            metadata: write_texts(message.metadata)?,
            timestamp: message.timestamp.to_string(),
        })
    }

    pub(crate) fn read(self) -> Result<EnvelopeMessage, DecodeFault> {
        if self.role.is_empty() {
            return Err(self.refuse("role is empty".to_owned()));
        }
        let timestamp = match self.timestamp.parse::<Timestamp>() {
            Ok(timestamp) => timestamp,
            // As in an envelope, an empty timestamp is the time of reading (PROTOCOL 3.3).
            Err(_) if self.timestamp.is_empty() => Timestamp::now(),
            Err(error) => return Err(self.refuse(format!("timestamp is {error}"))),
        };
        let mut message = EnvelopeMessage::new(self.role, read_content(self.content));
        message.metadata = read_texts(self.metadata);
        message.timestamp = timestamp;
        Ok(message)
    }

    fn refuse(self, reason: String) -> DecodeFault {
        let data = Map::from([
            ("role", self.role),
            ("content", self.content),
            ("timestamp", self.timestamp),
        ]);
        DecodeFault::Message {
            reason,
            data: repeatable(&data.into()),
        }
    }
}

impl Error {
    pub(crate) fn write(error: WireError) -> Self {
        Self {
            code: error.code.as_str().to_owned(),
            message: error.message,
            // Details that JSON cannot represent are less important than the error itself.
            details: write_details(error.details).unwrap_or_default(),
        }
    }

    pub(crate) fn read(self) -> WireError {
        WireError::new(self.code, self.message).with_details(read_details(self.details))
    }
}
