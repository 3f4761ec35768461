//! The typed envelopes of the peers that use serde.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Envelope<P> {
    pub(super) version: String,
    pub(super) r#type: String,
    pub(super) id: String,
    pub(super) timestamp: String,
    pub(super) payload: P,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Request {
    pub(super) method: String,
    pub(super) agent_name: String,
    pub(super) message: Message,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Answer {
    pub(super) message: Message,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Message {
    pub(super) role: String,
    pub(super) content: String,
    pub(super) metadata: BTreeMap<String, ::serde_json::Value>,
    pub(super) timestamp: String,
}

impl Envelope<Request> {
    pub(super) fn request(id: String, method: &str, text: &str) -> Self {
        let request = Request {
            method: method.to_owned(),
            agent_name: "echo".to_owned(),
            message: message("user", text.to_owned()),
        };
        envelope("request", id, request)
    }

    /// Returns the reply envelope, which contains the same content.
    pub(super) fn answer(self) -> Envelope<Answer> {
        let answer = Answer {
            message: message("agent", self.payload.message.content),
        };
        envelope("response", self.id, answer)
    }
}

fn envelope<P>(kind: &str, id: String, payload: P) -> Envelope<P> {
    Envelope {
        version: "1.0".to_owned(),
        r#type: kind.to_owned(),
        id,
        timestamp: TIME.to_owned(),
        payload,
    }
}

fn message(role: &str, content: String) -> Message {
    Message {
        role: role.to_owned(),
        content,
        metadata: BTreeMap::new(),
        timestamp: TIME.to_owned(),
    }
}

/// An id with the length of a UUID.
pub(super) const ID: &str = "67e55044-10b1-426f-9247-bb680e5fe0c8";

/// A fixed timestamp, so that no peer reads the clock.
pub(super) const TIME: &str = "2025-11-08T12:34:56.789012+00:00";
