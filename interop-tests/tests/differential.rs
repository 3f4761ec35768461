//! Compares the codec with CPython's `json` and the package `msgpack`, on random envelopes.
//!
//! One language writes an envelope, the other reads it and writes it again: the bytes must be the
//! same. `AGENTWIRE_DOCUMENTS` sets the number of envelopes in each direction, and `AGENTWIRE_SEED`
//! selects them. For a million, build with `--release`:
//!
//!     AGENTWIRE_DOCUMENTS=1000000 cargo test --release -p agentwire-interop-tests --test differential

use std::{
    env,
    io::{BufReader, BufWriter, Read, Write},
    process::{Child, Command, Stdio},
};

use agentwire::{EncodeError, Format};
use agentwire_codec::Envelope;
use agentwire_interop_tests::{Generator, TestFailure, TestResult, expect, script_command};

/// A process that is killed on drop, so that none outlives a test that fails.
struct Running(Child);

impl Running {
    fn start(command: &mut Command) -> Result<Self, TestFailure> {
        Ok(Self(command.spawn()?))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // The process may have exited by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn setting(variable: &str, default: u64) -> Result<u64, TestFailure> {
    match env::var(variable) {
        Ok(text) => Ok(text.parse::<u64>()?),
        Err(_) => Ok(default),
    }
}

#[test]
fn rust_reads_and_rewrites_what_python_writes() -> TestResult {
    let (count, seed) = (
        setting("AGENTWIRE_DOCUMENTS", DOCUMENTS)?,
        setting("AGENTWIRE_SEED", SEED)?,
    );
    let arguments = ["write", &seed.to_string(), &count.to_string()];
    let mut command = script_command("differential.py", &arguments)?;
    let mut python = Running::start(command.stdout(Stdio::piped()))?;
    let stdout = python
        .0
        .stdout
        .take()
        .ok_or(TestFailure::new("no output"))?;
    let mut records = BufReader::new(stdout);
    for number in 0..count {
        let during =
            |failure: TestFailure| failure.during(format_args!("document {number} of seed {seed}"));
        let json = read_payload(&mut records).map_err(during)?;
        let msgpack = read_payload(&mut records).map_err(during)?;
        check(&json, &msgpack).map_err(during)?;
    }
    let mut rest = [0];
    expect(
        "bytes after the last document",
        &records.read(&mut rest)?,
        &0,
    )?;
    expect("Python's exit", &python.0.wait()?.code(), &Some(0))
}

/// Checks that both payloads come back unchanged and hold the same envelope.
fn check(json: &[u8], msgpack: &[u8]) -> TestResult {
    let from_json = round_trip(Format::Json, json)?;
    let from_msgpack = round_trip(Format::MessagePack, msgpack)?;
    match (from_json, from_msgpack) {
        (Some(from_json), Some(from_msgpack)) => expect(
            "the envelope in JSON and in MessagePack",
            &from_json,
            &from_msgpack,
        ),
        (None, None) => Err(TestFailure::new("a document without a payload")),
        _ => Ok(()),
    }
}

fn round_trip(format: Format, payload: &[u8]) -> Result<Option<Envelope>, TestFailure> {
    if payload.is_empty() {
        return Ok(None);
    }
    expect("the format", &Format::detect(payload), &format)?;
    let envelope = format.decode(payload)?;
    let mut written = Vec::new();
    format.encode(&envelope, &mut written)?;
    if written != payload {
        let (written, payload) = (written.escape_ascii(), payload.escape_ascii());
        return Err(TestFailure::new(format!(
            "{payload}\n  came back as\n{written}"
        )));
    }
    Ok(Some(envelope))
}

fn read_payload(records: &mut impl Read) -> Result<Vec<u8>, TestFailure> {
    let mut header = [0; 4];
    records.read_exact(&mut header)?;
    let mut payload = vec![0; usize::try_from(u32::from_be_bytes(header))?];
    records.read_exact(&mut payload)?;
    Ok(payload)
}

#[test]
fn python_reads_and_rewrites_what_rust_writes() -> TestResult {
    let (count, seed) = (
        setting("AGENTWIRE_DOCUMENTS", DOCUMENTS)?,
        setting("AGENTWIRE_SEED", SEED)?,
    );
    let mut command = script_command("differential.py", &["read"])?;
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut python = Running::start(command)?;
    let (stdin, stdout) = (python.0.stdin.take(), python.0.stdout.take());
    let (Some(stdin), Some(mut stdout)) = (stdin, stdout) else {
        return Err(TestFailure::new("no input or no output"));
    };
    let written = write_records(count, seed, &mut BufWriter::new(stdin));
    let mut verdict = String::new();
    // Checked before `written`, because it explains why Python may have stopped reading.
    stdout.read_to_string(&mut verdict)?;
    expect(
        "the verdict of Python",
        verdict.trim(),
        format!("ok {count}").as_str(),
    )?;
    written
}

fn write_records(count: u64, seed: u64, output: &mut impl Write) -> TestResult {
    let mut generator = Generator::new(seed);
    let mut payload = Vec::new();
    for _ in 0..count {
        let envelope = generator.envelope();
        for format in [Format::Json, Format::MessagePack] {
            payload.clear();
            match format.encode(&envelope, &mut payload) {
                Ok(()) => {}
                Err(EncodeError::BytesInJson | EncodeError::IntegerTooLarge) => payload.clear(),
                Err(error) => return Err(error.into()),
            }
            output.write_all(&u32::try_from(payload.len())?.to_be_bytes())?;
            output.write_all(&payload)?;
        }
    }
    output.flush()?;
    Ok(())
}

const DOCUMENTS: u64 = 20_000;
const SEED: u64 = 3;
