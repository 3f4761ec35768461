//! Tests of an agent over `memory://`, without sockets, ports or files.
//!
//! `cargo run --example in_memory` runs the two tests below. In your own crate, add the attribute
//! `#[tokio::test]` to the tests and remove `main`.

#![allow(clippy::expect_used, reason = "tests may panic")]

use agentwire::{
    Agent, AgentError, Error, ErrorCode, LocalAgent, Map, Message, RemoteAgent, RequestContext,
    Value,
};

/// The agent under test, which divides `{"dividend": …, "divisor": …}`.
struct Divider;

impl Agent for Divider {
    fn name(&self) -> &str {
        "divider"
    }

    async fn process(&self, message: Message, _: RequestContext) -> Result<Message, AgentError> {
        let number = |key: &str| message.content.get(key).and_then(Value::as_i64);
        let (Some(dividend), Some(divisor)) = (number("dividend"), number("divisor")) else {
            return Err(AgentError::new("expected a dividend and a divisor"));
        };
        match dividend.checked_div(divisor) {
            Some(quotient) => Ok(Message::agent(quotient)),
            // The specific code allows callers to distinguish this failure from others.
            None => Err(AgentError::with_code(
                "CANNOT_DIVIDE",
                format!("cannot divide {dividend} by {divisor}"),
            )),
        }
    }
}

async fn the_divider_divides() -> Result<(), Error> {
    // Tests run concurrently in one process, so each test needs a separate endpoint.
    let _server = LocalAgent::serve(Divider, "memory://divides").await?;
    let divider = RemoteAgent::new("memory://divides")?;

    let reply = divider.process(division(42, 6)).await?;

    assert_eq!(reply.content, 7);
    Ok(())
}

async fn division_by_zero_is_an_error() -> Result<(), Error> {
    let _server = LocalAgent::serve(Divider, "memory://division-by-zero").await?;
    let divider = RemoteAgent::new("memory://division-by-zero")?;

    let error = divider
        .process(division(1, 0))
        .await
        .expect_err("division by zero");

    // `remote` returns the error if the agent sent it, but not for a timeout or a lost connection.
    let remote = error.remote().expect("an error of the agent");
    assert_eq!(remote.code, ErrorCode::from("CANNOT_DIVIDE"));
    assert_eq!(remote.message, "cannot divide 1 by 0");
    Ok(())
}

fn division(dividend: i64, divisor: i64) -> Message {
    Message::user(Map::from([("dividend", dividend), ("divisor", divisor)]))
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    the_divider_divides().await?;
    division_by_zero_is_an_error().await?;
    println!("Both tests passed.");
    Ok(())
}
