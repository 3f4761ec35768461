//! The named cases in Rust. `python/cases.py` contains cases with the same names.
//!
//! Each case is a client of a server that runs the interop agent. A case fails if an answer differs
//! from the expected answer. Two cases have additional requirements: `no_streaming` requires a
//! server with the agent `mute`, and `server_restart` requires a caller that replaces the server.

mod abandoned_calls;
mod calls;
mod errors;
mod many_calls;
mod raw_frames;
mod streams;

use std::time::Duration;

use agentwire::{Error, Map, Message, MessageStream, RemoteAgent, Value};
use agentwire_codec::json;

pub use self::{
    abandoned_calls::{deadline, dropped_call, dropped_stream},
    calls::{
        any_name, empty_message, metadata, null_content, one_mib_message, simple_call,
        structured_content, unicode,
    },
    errors::{agent_error, error_mid_stream, no_streaming},
    many_calls::{concurrent_calls, concurrent_clients, sequential_calls, server_restart},
    raw_frames::{bad_json_keeps_connection, unknown_method, wrong_type},
    streams::{stream_many, stream_one, stream_zero},
};
use crate::{Target, TestFailure, TestResult, expect};

macro_rules! cases_by_name {
    ($($case:ident)*) => {
        /// Runs the case with the given name. `server_restart` is not available by name.
        ///
        /// # Errors
        ///
        /// Returns an error if the case fails or if no case has this name.
        ///
        /// # Cancel safety
        ///
        /// If the future is dropped, the case is stopped.
        pub async fn run(case: &str, target: Target<'_>) -> TestResult {
            match case {
                $(stringify!($case) => $case(target).await,)*
                _ => Err(TestFailure::new(format!("there is no case {case:?}"))),
            }
        }
    };
}

cases_by_name! {
    simple_call unicode structured_content null_content metadata empty_message one_mib_message
    any_name
    stream_zero stream_one stream_many
    agent_error error_mid_stream no_streaming
    unknown_method wrong_type bad_json_keeps_connection
    sequential_calls concurrent_clients concurrent_calls
    deadline dropped_call dropped_stream
}

/// Creates a client for the server under test.
fn client(target: Target<'_>) -> Result<RemoteAgent, TestFailure> {
    named_client(target, "interop")
}

fn named_client(target: Target<'_>, name: &str) -> Result<RemoteAgent, TestFailure> {
    let builder = RemoteAgent::builder(target.endpoint).name(name);
    Ok(builder
        .format(target.format)
        .timeout(CALL_TIMEOUT)
        .build()?)
}

/// Makes a call and checks that the reply has the same content.
async fn echo(client: &RemoteAgent, content: impl Into<Value>) -> TestResult {
    echo_with(client, content, Map::new()).await
}

async fn echo_with(client: &RemoteAgent, content: impl Into<Value>, metadata: Map) -> TestResult {
    let mut message = Message::user(content);
    message.metadata = metadata;
    let reply = client.process(message.clone()).await?;
    expect("the role", &reply.role, "agent")?;
    expect("the content", &reply.content, &message.content)?;
    expect("the metadata", &reply.metadata, &message.metadata)
}

/// Reads a stream until it ends and returns its chunks and its result.
async fn collect(mut stream: MessageStream) -> (Vec<Message>, Result<(), Error>) {
    let mut chunks = Vec::new();
    while let Some(item) = stream.next().await {
        match item {
            Ok(chunk) => chunks.push(chunk),
            Err(error) => return (chunks, Err(error)),
        }
    }
    (chunks, Ok(()))
}

/// Checks the chunks of a stream from the interop agent.
fn expect_chunks(chunks: &[Message], content: &Value, count: usize) -> TestResult {
    expect("the number of chunks", &chunks.len(), &count)?;
    for (i, chunk) in chunks.iter().enumerate() {
        let wanted = match content.as_str() {
            Some(text) => format!("{text} #{i}").into(),
            None => content.clone(),
        };
        expect(format_args!("the role of chunk {i}"), &chunk.role, "agent")?;
        expect(
            format_args!("the content of chunk {i}"),
            &chunk.content,
            &wanted,
        )?;
        // gRPC carries metadata as text.
        let is_text = chunk
            .metadata
            .get("i")
            .is_some_and(|i| i.as_str().is_some());
        let index = if is_text {
            Value::from(i.to_string())
        } else {
            i.into()
        };
        let metadata = Map::from([("i", index)]);
        expect(
            format_args!("the metadata of chunk {i}"),
            &chunk.metadata,
            &metadata,
        )?;
    }
    Ok(())
}

/// Parses JSON as a value.
fn value(text: &str) -> Result<Value, TestFailure> {
    let read = json::from_slice(text.as_bytes());
    read.map_err(|fault| TestFailure::from(fault).during(text))
}

fn map(text: &str) -> Result<Map, TestFailure> {
    match value(text)? {
        Value::Map(map) => Ok(map),
        other => Err(TestFailure::new(format!("not a map: {other:#?}"))),
    }
}

/// The timeout of each call, which is much longer than any case needs, even on a loaded machine.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);
