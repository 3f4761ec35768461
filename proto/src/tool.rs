//! The conversion of tool calls and tool results, and of the payloads that travel in them.

use agentwire_codec::{DecodeFault, EncodeError, Map, ToolResult as EnvelopeResult, Value, json};

use crate::{
    ToolCall, ToolResult,
    content::{read_texts, write_json, write_texts},
};

impl ToolCall {
    pub(crate) fn write(name: String, arguments: Map, metadata: Map) -> Result<Self, EncodeError> {
        Ok(Self {
            name,
            arguments: write_json(&arguments.into())?,
            metadata: write_texts(metadata)?,
        })
    }

    /// Returns the arguments. An empty text stands for no arguments.
    pub(crate) fn arguments(&self) -> Result<Map, DecodeFault> {
        if self.arguments.is_empty() {
            return Ok(Map::new());
        }
        let fault = |reason| DecodeFault::Payload { reason };
        match json::from_slice(self.arguments.as_bytes()) {
            Ok(Value::Map(arguments)) => Ok(arguments),
            Ok(other) => {
                let kind = other.kind();
                Err(fault(format!("arguments must be an object, not {kind}")))
            }
            Err(error) => Err(fault(format!("arguments are not JSON: {error}"))),
        }
    }
}

impl ToolResult {
    pub(crate) fn write(result: EnvelopeResult) -> Result<Self, EncodeError> {
        let error = result.error.unwrap_or_default();
        if !result.success && error.is_empty() {
            return Err(EncodeError::MissingToolError);
        }
        Ok(Self {
            success: result.success,
            data: write_json(&result.data)?,
            error,
            metadata: write_texts(result.metadata)?,
        })
    }

    /// Writes the payload of the response to a method that is not a tool.
    pub(crate) fn write_payload(payload: Map) -> Result<Self, EncodeError> {
        Ok(Self {
            success: true,
            data: write_json(&payload.into())?,
            ..Self::default()
        })
    }

    pub(crate) fn read(self) -> Result<EnvelopeResult, DecodeFault> {
        if !self.success && self.error.is_empty() {
            return Err(DecodeFault::Payload {
                reason: "result: a failure has no error text".to_owned(),
            });
        }
        let mut result = EnvelopeResult::success(read_data(self.data));
        result.success = self.success;
        result.error = (!self.error.is_empty()).then_some(self.error);
        result.metadata = read_texts(self.metadata);
        Ok(result)
    }

    pub(crate) fn read_payload(self) -> Result<Map, DecodeFault> {
        match read_data(self.data) {
            Value::Map(payload) => Ok(payload),
            Value::Null => Ok(Map::new()),
            other => {
                let reason = format!("the data must be an object, not {}", other.kind());
                Err(DecodeFault::Payload { reason })
            }
        }
    }
}

/// Reads the data of a result. Unlike a content, data is always JSON; other writers may still send
/// text.
fn read_data(data: String) -> Value {
    if data.is_empty() {
        return Value::Null;
    }
    json::from_slice(data.as_bytes()).unwrap_or(Value::Text(data))
}
