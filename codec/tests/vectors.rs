//! Golden vectors written by Python. `interop-tests/python/vectors.py` describes how they are made
//! and what they contain.

#![allow(clippy::unwrap_used, reason = "tests may panic")]

use agentwire_codec::{Format, RequestId};
use serde::Deserialize;

#[derive(Deserialize)]
struct Vector {
    name: String,
    rule: String,
    payload: Vec<Piece>,
    written: Option<Vec<Piece>>,
    refused: Option<String>,
    id: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Piece {
    Text(String),
    Hex { hex: String },
    Run { repeat: Box<Self>, times: usize },
}

impl Piece {
    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Text(text) => text.clone().into_bytes(),
            Self::Hex { hex } => (0..hex.len())
                .step_by(2)
                .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
                .collect(),
            Self::Run { repeat, times } => repeat.bytes().repeat(*times),
        }
    }
}

fn bytes(pieces: &[Piece]) -> Vec<u8> {
    pieces.iter().flat_map(Piece::bytes).collect()
}

/// Runs all vectors and reports each one that fails.
fn run(format: Format, file: &str) {
    let vectors: Vec<Vector> = serde_json::from_str(file).unwrap();
    assert!(vectors.len() > 100, "only {} vectors", vectors.len());
    let failures: Vec<String> = vectors
        .iter()
        .filter_map(|vector| check(format, vector).err())
        .collect();
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
}

fn check(format: Format, vector: &Vector) -> Result<(), String> {
    let failed = |problem: String| Err(format!("{} ({}): {problem}", vector.name, vector.rule));
    let payload = bytes(&vector.payload);
    let decoded = format.decode(&payload);
    let envelope = match (decoded, &vector.refused) {
        (Ok(_), Some(code)) => return failed(format!("read, and not refused with {code}")),
        (Err(error), None) => return failed(format!("refused: {error}")),
        (Err(error), Some(code)) => {
            let id = error.id().cloned().unwrap_or_else(RequestId::unknown);
            let found = (error.to_wire_error().code.to_string(), Some(id.to_string()));
            if found != (code.clone(), vector.id.clone()) {
                return failed(format!("refused with {found:?}: {error}"));
            }
            return Ok(());
        }
        (Ok(envelope), None) => envelope,
    };
    let wanted = vector.written.as_deref().map_or(payload, bytes);
    let mut written = Vec::new();
    if let Err(error) = format.encode(&envelope, &mut written) {
        return failed(format!("cannot be written: {error}"));
    }
    if written != wanted {
        let differs = written
            .iter()
            .zip(&wanted)
            .take_while(|(a, b)| a == b)
            .count();
        let around = |bytes: &[u8]| {
            let from = differs.saturating_sub(20);
            bytes[from..(from + 60).min(bytes.len())]
                .escape_ascii()
                .to_string()
        };
        let (written, wanted) = (around(&written), around(&wanted));
        return failed(format!("at byte {differs}: {written} in place of {wanted}"));
    }
    match format.decode(&written) {
        Ok(again) if again == envelope => Ok(()),
        again => failed(format!("reads back as {again:?}")),
    }
}

#[test]
fn json_matches_python() {
    run(Format::Json, include_str!("vectors/json.json"));
}

#[test]
fn messagepack_matches_python() {
    run(Format::MessagePack, include_str!("vectors/msgpack.json"));
}
