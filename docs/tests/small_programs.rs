//! Tests that the small programs that new users typically write compile and run.

#![allow(clippy::expect_used, reason = "tests may panic")]

use std::{error::Error, net::SocketAddr, sync::Arc};

use agentwire::{
    Agent, AgentError, LocalAgent, Map, Message, RemoteAgent, RequestContext, Tool, ToolResult,
    Value, agent_fn, map,
    registry::{LocalRegistry, Query, Registration, Registry},
    stream_fn, typed_tool_fn,
};
use futures_util::stream;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

type TestResult = Result<(), Box<dyn Error>>;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Question {
    city: String,
    days: u8,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Forecast {
    city: String,
    temperatures: Vec<f64>,
}

#[tokio::test]
async fn structs_become_messages_and_messages_become_structs() -> TestResult {
    let weather = agent_fn("weather", |message: Message| async move {
        let question: Question = message.parse()?;
        let forecast = Forecast {
            city: question.city,
            temperatures: vec![21.5; question.days.into()],
        };
        Ok(Message::agent_from(forecast)?)
    });
    let _server = LocalAgent::serve(weather, "memory://structs").await?;
    let weather = RemoteAgent::new("memory://structs")?;

    let question = Question {
        city: "Oslo".to_owned(),
        days: 2,
    };
    let reply = weather.process(Message::user_from(&question)?).await?;

    let forecast = Forecast {
        city: "Oslo".to_owned(),
        temperatures: vec![21.5, 21.5],
    };
    assert_eq!(reply.parse::<Forecast>()?, forecast);
    Ok(())
}

#[test]
fn a_value_converts_to_a_struct_and_back() -> TestResult {
    let question: Question = agentwire::from_value(map! {"city": "Oslo", "days": 2})?;
    let value = agentwire::to_value(&question)?;
    assert_eq!(value["city"], "Oslo");
    assert_eq!(value, agentwire::to_value(question)?);
    Ok(())
}

#[test]
fn a_value_compares_with_text_and_numbers() {
    let message = Message::user("hello").with_metadata("attempt", 3);
    assert_eq!(message.content, "hello");
    assert!("hello" == message.content);
    assert_eq!(message.metadata["attempt"], 3);
    assert_ne!(message.content, 3);
}

#[test]
fn messages_compare_and_show_what_differs() {
    let message = Message::user("hello").with_metadata("attempt", 3);
    assert_eq!(message, message.clone());
    let mut other = message.clone();
    other.content = "goodbye".into();
    assert_ne!(message, other);
    assert!(format!("{message:#?}").contains("hello"), "{message:#?}");
}

#[tokio::test]
async fn socket_addresses_and_paths_are_endpoints() -> TestResult {
    let echo = || agent_fn("echo", |message: Message| async move { Ok(message) });
    let address = SocketAddr::from(([127, 0, 0, 1], 0));
    let server = LocalAgent::serve(echo(), address).await?;
    let reply = RemoteAgent::new(server.endpoint())?
        .process(Message::user("over TCP"))
        .await?;
    assert_eq!(reply.content, "over TCP");

    let directory = tempfile::tempdir()?;
    let path = directory.path().join("echo.sock");
    let _server = LocalAgent::serve(echo(), path.clone()).await?;
    let reply = RemoteAgent::new(path)?
        .process("over a socket".into())
        .await?;
    assert_eq!(reply.content, "over a socket");
    Ok(())
}

#[test]
fn endpoints_with_a_common_mistake_are_rejected_with_a_correction() {
    for (mistake, correction) in [
        ("unix://tmp/x.sock", "unix:///tmp/x.sock"),
        ("unix://~/x.sock", "unix://$HOME/x.sock"),
    ] {
        let error = RemoteAgent::new(mistake).expect_err("an invalid endpoint");
        let error = anyhow::Error::from(error);
        assert!(format!("{error:#}").contains(correction), "{error:#}");
    }
}

#[tokio::test]
async fn versions_are_text_and_find_takes_a_query_by_value() -> TestResult {
    let registry = LocalRegistry::new();
    let weather = Registration::new("weather", "tcp://10.0.0.7:4850".parse()?)
        .with_version("2.1.0")
        .with_capabilities(map! {"forecast": {"days": 3}});
    registry.register(weather).await?;

    let query = Query::new().version("^2").capability("forecast");
    let found = registry.find(query).await?;
    assert_eq!(found[0].name, "weather");
    assert_eq!(registry.find("weather").await?.len(), 1);
    assert!(registry.find(Query::new().version("^3")).await?.is_empty());
    Ok(())
}

fn check(number: i64) -> Result<i64, Box<dyn Error + Send + Sync>> {
    Err(format!("{number} is too large").into())
}

fn look_up(name: &str) -> anyhow::Result<i64> {
    anyhow::bail!("no entry named {name}")
}

#[tokio::test]
async fn the_question_mark_converts_any_error_into_an_agent_error() -> TestResult {
    let parser = agent_fn("parser", |message: Message| async move {
        let text = message.text().ok_or("expected text")?;
        let number = match text.strip_prefix('$') {
            Some(name) => look_up(name)?,
            None => text.parse()?,
        };
        Ok(Message::agent(check(number)?))
    });
    for (content, expected) in [
        (Value::Null, "expected text"),
        ("seven".into(), "invalid digit found in string"),
        ("$seven".into(), "no entry named seven"),
        ("7".into(), "7 is too large"),
    ] {
        let result = parser.process(Message::user(content), RequestContext::new());
        let error = result.await.expect_err("an error");
        assert_eq!(error.message(), expected);
    }
    Ok(())
}

#[test]
fn an_agent_error_converts_into_boxed_and_anyhow_errors() {
    fn boxed() -> Result<(), Box<dyn Error>> {
        Err(AgentError::new("out of paper"))?
    }
    fn anyhow() -> anyhow::Result<()> {
        Err(AgentError::new("out of paper"))?
    }
    assert_eq!(boxed().expect_err("an error").to_string(), "out of paper");
    assert_eq!(anyhow().expect_err("an error").to_string(), "out of paper");
}

struct Counter;

impl Agent for Counter {
    fn name(&self) -> &str {
        "counter"
    }

    async fn process(&self, message: Message, _: RequestContext) -> Result<Message, AgentError> {
        Ok(message)
    }
}

impl Tool for Counter {
    fn name(&self) -> &str {
        "count"
    }

    async fn execute(&self, kwargs: Map, _: RequestContext) -> Result<ToolResult, AgentError> {
        Ok(ToolResult::success(kwargs.len()))
    }
}

#[tokio::test]
async fn a_shared_value_is_an_agent_and_a_tool() -> TestResult {
    let counter = Arc::new(Counter);
    let server = LocalAgent::builder(Arc::clone(&counter))
        .tool(counter)
        .endpoint("memory://shared-value")
        .serve()
        .await?;
    let remote = RemoteAgent::new(server.endpoint())?;
    assert_eq!(remote.process("hello".into()).await?.content, "hello");
    let result = remote.execute("count", map! {"one": 1, "two": 2}).await?;
    assert_eq!(result.data, 2);
    Ok(())
}

#[tokio::test]
async fn a_closure_streams_and_describes_itself() -> TestResult {
    let count = stream_fn("count", |_: Message| {
        stream::iter((1..=3).map(|number| Ok(Message::agent(number))))
    });
    let _server = LocalAgent::serve(count, "memory://stream-fn").await?;
    let mut numbers = RemoteAgent::new("memory://stream-fn")?.stream("go".into());
    for expected in 1..=3 {
        let chunk = numbers.next().await.ok_or("the stream is too short")??;
        assert_eq!(chunk.content, expected);
    }
    assert!(numbers.next().await.is_none());

    let echo = agent_fn("echo", |message: Message| async move { Ok(message) })
        .with_capabilities(map! {"languages": ["en"]});
    assert_eq!(echo.capabilities()["languages"][0], "en");
    Ok(())
}

#[derive(Deserialize, JsonSchema)]
struct Stay {
    city: String,
    nights: u8,
}

#[tokio::test]
async fn a_tool_with_typed_arguments_refuses_wrong_ones() -> TestResult {
    let echo = agent_fn("echo", |message: Message| async move { Ok(message) });
    let book = typed_tool_fn("book", |stay: Stay| async move {
        Ok(ToolResult::success(format!(
            "{} x {}",
            stay.city, stay.nights
        )))
    });
    let server = LocalAgent::builder(echo)
        .tool(book)
        .endpoint("memory://typed-tool")
        .serve()
        .await?;
    let remote = RemoteAgent::new(server.endpoint())?;
    let result = remote
        .execute("book", map! {"city": "Oslo", "nights": 2})
        .await?;
    assert_eq!(result.data, "Oslo x 2");
    let wrong = remote
        .execute("book", map! {"city": "Oslo", "nights": "two"})
        .await;
    let error = wrong.err().ok_or("wrong arguments must be refused")?;
    assert!(error.to_string().contains("nights"), "{error}");
    Ok(())
}
