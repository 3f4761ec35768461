//! Serde implementations for messages, tool results, roles and timestamps, in the same form as on
//! the wire.

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{DeserializeOwned, Error as _},
    ser::{Error as _, SerializeMap},
};

use crate::{EncodeError, Map, Message, Role, Timestamp, ToolResult, Value, from_value};

/// Serializes the message as a map with the four keys of PROTOCOL 3.1.
///
/// A message with an empty role cannot be serialized, just as it cannot be encoded.
impl Serialize for Message {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.role.is_empty() {
            return Err(S::Error::custom(EncodeError::EmptyRole));
        }
        // Serialize a map instead of a struct because some formats omit the keys of structs.
        let mut map = serializer.serialize_map(Some(4))?;
        map.serialize_entry("role", &self.role)?;
        map.serialize_entry("content", &self.content)?;
        map.serialize_entry("metadata", &self.metadata)?;
        map.serialize_entry("timestamp", &self.timestamp)?;
        map.end()
    }
}

/// Deserializes a message by the rules of PROTOCOL 3: `role` and `content` are required, `metadata`
/// and `timestamp` may be missing or null, and unknown keys are ignored. A missing timestamp
/// becomes the current time.
impl<'de> Deserialize<'de> for Message {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Fields {
            role: Role,
            content: Value,
            metadata: Option<Map>,
            timestamp: Option<String>,
        }
        let fields: Fields = read_fields(deserializer)?;
        if fields.role.is_empty() {
            return Err(D::Error::custom("role is empty"));
        }
        let timestamp = match fields.timestamp.as_deref() {
            None | Some("") => Timestamp::now(),
            Some(text) => text.parse().map_err(D::Error::custom)?,
        };
        Ok(Self {
            role: fields.role,
            content: fields.content,
            metadata: fields.metadata.unwrap_or_default(),
            timestamp,
        })
    }
}

/// Serializes the result as a map with the four keys of PROTOCOL 3.4.
///
/// A failure without an error text cannot be serialized, just as it cannot be encoded.
impl Serialize for ToolResult {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if !self.success && self.error.as_ref().is_none_or(String::is_empty) {
            return Err(S::Error::custom(EncodeError::MissingToolError));
        }
        let mut map = serializer.serialize_map(Some(4))?;
        map.serialize_entry("success", &self.success)?;
        map.serialize_entry("data", &self.data)?;
        map.serialize_entry("error", &self.error)?;
        map.serialize_entry("metadata", &self.metadata)?;
        map.end()
    }
}

/// Deserializes a result by the rules of PROTOCOL 3.4: only `success` is required, and a failure
/// must have an error text.
impl<'de> Deserialize<'de> for ToolResult {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Fields {
            success: bool,
            data: Option<Value>,
            error: Option<String>,
            metadata: Option<Map>,
        }
        let fields: Fields = read_fields(deserializer)?;
        if !fields.success && fields.error.as_ref().is_none_or(String::is_empty) {
            return Err(D::Error::custom("a failure has no error text"));
        }
        Ok(Self {
            success: fields.success,
            data: fields.data.unwrap_or_default(),
            error: fields.error,
            metadata: fields.metadata.unwrap_or_default(),
        })
    }
}

/// Deserializes a whole map before its fields, so that the last value of a repeated key is used
/// (PROTOCOL 2.8).
fn read_fields<'de, D: Deserializer<'de>, T: DeserializeOwned>(
    deserializer: D,
) -> Result<T, D::Error> {
    from_value(Map::deserialize(deserializer)?).map_err(D::Error::custom)
}

impl Serialize for Role {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self)
    }
}

impl<'de> Deserialize<'de> for Role {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::from)
    }
}

/// Serializes the timestamp as text (PROTOCOL 5.1).
impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Deserializes the timestamp from text (PROTOCOL 5.3).
impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{from_value, to_value, value};

    const TIME: &str = "2025-11-08T12:34:56+05:30";

    #[test]
    fn a_message_has_its_wire_shape_in_serde() {
        let time: Timestamp = TIME.parse().unwrap();
        let message = Message::user(value!({"z": 1, "a": [null, 2.5]}))
            .with_metadata("k", "v")
            .with_timestamp(time);
        let shape = to_value(&message).unwrap();
        assert_eq!(shape.to_string(), message.to_string());
        assert_eq!(from_value::<Message>(shape).unwrap(), message);

        let text = serde_json::to_string(&message).unwrap();
        assert_eq!(serde_json::from_str::<Message>(&text).unwrap(), message);
    }

    #[test]
    fn a_message_is_deserialized_by_the_rules_of_the_wire() {
        let minimal = r#"{"content": null, "x": [], "role": "agent", "metadata": null}"#;
        let message: Message = serde_json::from_str(minimal).unwrap();
        assert_eq!((&*message.role, &message.content), ("agent", &Value::Null));
        let repeated = format!(
            r#"{{"role": 5, "role": "user", "content": 1, "content": 2, "timestamp": "{TIME}"}}"#
        );
        let message: Message = serde_json::from_str(&repeated).unwrap();
        assert_eq!(message.content, 2);
        assert_eq!(message.timestamp.to_string(), TIME);

        for (text, reason) in [
            ("[]", "expected a map"),
            (r#"{"content": 1}"#, "missing field `role`"),
            (r#"{"role": "user"}"#, "missing field `content`"),
            (r#"{"role": "", "content": 1}"#, "role is empty"),
            (r#"{"role": 5, "content": 1}"#, "expected a string"),
            (
                r#"{"role": "user", "content": 1, "metadata": []}"#,
                "expected a map",
            ),
            (
                r#"{"role": "user", "content": 1, "timestamp": "soon"}"#,
                r#"not an ISO 8601 timestamp: "soon""#,
            ),
        ] {
            let error = serde_json::from_str::<Message>(text).unwrap_err();
            assert!(error.to_string().contains(reason), "{text}: {error}");
        }
        assert!(to_value(Message::new("", 1)).is_err());
    }

    #[test]
    fn a_tool_result_has_its_wire_shape_in_serde() {
        let mut partial = ToolResult::failure("disk full").with_metadata("took", 0.5);
        partial.data = "half".into();
        for (result, shape) in [
            (
                ToolResult::success(vec![1, 2]),
                r#"{"success": true, "data": [1, 2], "error": null, "metadata": {}}"#,
            ),
            (
                partial,
                r#"{"success": false, "data": "half", "error": "disk full", "metadata": {"took": 0.5}}"#,
            ),
        ] {
            assert_eq!(to_value(&result).unwrap().to_string(), shape);
            assert_eq!(serde_json::from_str::<ToolResult>(shape).unwrap(), result);
        }
        let minimal: ToolResult = serde_json::from_str(r#"{"success": true}"#).unwrap();
        assert_eq!(minimal, ToolResult::success(()));
        for text in [
            r#"{"success": false}"#,
            r#"{"success": false, "error": ""}"#,
            "{}",
        ] {
            assert!(serde_json::from_str::<ToolResult>(text).is_err(), "{text}");
        }
        assert!(to_value(ToolResult::failure("")).is_err());
    }
}
