//! How to test an agent: over `memory://`, without sockets, ports or files.
//!
//! `cargo run --example in_memory` runs the two tests below. In a crate of your own they would
//! stand under `#[tokio::test]` and need no `main`.

#![allow(clippy::expect_used, reason = "tests may panic")]

use agentwire::{
    Agent, AgentError, Error, ErrorCode, LocalAgent, Map, Message, RemoteAgent, RequestContext,
    Value,
};

/// The agent under test: divides `{"dividend": …, "divisor": …}`.
struct Divider;

impl Agent for Divider {
    fn name(&self) -> &str {
        "divider"
    }

    async fn process(&self, message: Message, _: RequestContext) -> Result<Message, AgentError> {
        let number = |key: &str| message.content.get(key).and_then(Value::as_i64);
        let (Some(dividend), Some(divisor)) = (number("dividend"), number("divisor")) else {
            return Err(AgentError::new("I need a dividend and a divisor"));
        };
        match dividend.checked_div(divisor) {
            Some(quotient) => Ok(Message::agent(quotient)),
            // A code of your own lets callers tell this failure from others.
            None => Err(AgentError::with_code(
                "CANNOT_DIVIDE",
                format!("no {dividend} / {divisor}"),
            )),
        }
    }
}

async fn it_divides() -> Result<(), Error> {
    // Tests run at the same time, so each takes a name of its own.
    let _server = LocalAgent::serve(Divider, "memory://it-divides").await?;
    let divider = RemoteAgent::new("memory://it-divides")?;

    let reply = divider.process(division(42, 6)).await?;

    assert_eq!(reply.content, Value::from(7));
    Ok(())
}

async fn it_refuses_to_divide_by_zero() -> Result<(), Error> {
    let _server = LocalAgent::serve(Divider, "memory://it-refuses").await?;
    let divider = RemoteAgent::new("memory://it-refuses")?;

    let error = divider
        .process(division(1, 0))
        .await
        .expect_err("there is no such number");

    // What the agent said, as opposed to a timeout or a lost connection.
    let answer = error.remote().expect("the agent answered");
    assert_eq!(answer.code, ErrorCode::from("CANNOT_DIVIDE"));
    assert_eq!(answer.message, "no 1 / 0");
    Ok(())
}

fn division(dividend: i64, divisor: i64) -> Message {
    Message::user(Map::from([("dividend", dividend), ("divisor", divisor)]))
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    it_divides().await?;
    it_refuses_to_divide_by_zero().await?;
    println!("Both tests passed.");
    Ok(())
}
