//! agenkit's client calls a server that authenticates.

use agentwire::{
    Agent, AgentError, LocalAgent, Map, Message, Principal, RequestContext, ToolResult, Value,
    auth::{Security, TokenDigest, Tokens},
    tool_fn,
};
use agentwire_codec::json;
use agentwire_interop_tests::{TestFailure, TestResult, expect_that, script_command, within};
use futures_util::{Stream, stream};

const TOKEN: &str = "a token for agenkit";

/// Returns what an agent learns about its caller.
fn caller(message: &Message, context: &RequestContext) -> String {
    let keys: Vec<_> = message.metadata.keys().map(|key| key.to_string()).collect();
    let name = context.principal().map_or("nobody", Principal::name);
    format!("{name} {}", keys.join(","))
}

/// An agent that answers calls and streams with what it learns about its caller.
struct Weather;

impl Agent for Weather {
    fn name(&self) -> &str {
        "weather"
    }

    async fn process(
        &self,
        message: Message,
        context: RequestContext,
    ) -> Result<Message, AgentError> {
        Ok(Message::agent(caller(&message, &context)))
    }

    fn stream(
        &self,
        message: Message,
        context: RequestContext,
    ) -> impl Stream<Item = Result<Message, AgentError>> + Send {
        stream::iter([Ok(Message::agent(caller(&message, &context)))])
    }
}

async fn serve(endpoint: &str) -> Result<LocalAgent, agentwire::Error> {
    let alice = Principal::new("alice").with_role("agent-consumer");
    let tokens = Tokens::new().allow(TokenDigest::of(TOKEN), alice);
    let forecast = tool_fn("forecast", |_: Map, context: RequestContext| async move {
        let name = context.principal().map_or("nobody", Principal::name);
        Ok(ToolResult::success(name))
    });
    LocalAgent::builder(Weather)
        .tool(forecast)
        .endpoint(endpoint)
        .security(Security::new().authenticate(tokens))
        .serve()
        .await
}

async fn agenkit_is_authenticated(endpoint: &str) -> TestResult {
    within(async {
        let server = serve(endpoint).await?;
        let endpoint = server.endpoint().to_string();
        let mut command = script_command("authenticated.py", &[&endpoint, TOKEN])?;
        let output = tokio::task::spawn_blocking(move || command.output()).await??;
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        let outcomes = json::from_slice(&output.stdout);
        let outcomes = outcomes.map_err(|error| TestFailure::new(format!("{error}: {errors}")))?;
        for accepted in ["authorization", "token", "api_key", "forged"] {
            for (method, expected) in [
                ("process", "alice "),
                ("stream", "alice "),
                ("execute", "alice"),
            ] {
                let found = &outcomes[accepted][method];
                expect_that(found.as_str() == Some(expected), || {
                    format!("{accepted} {method}: {found}")
                })?;
            }
        }
        for (refused, text) in [
            ("none", "A credential is required"),
            ("only_forged", "A credential is required"),
            ("wrong", "The credential is not valid"),
        ] {
            for method in ["process", "stream", "execute"] {
                let found = &outcomes[refused][method];
                let error = found
                    .get("error")
                    .and_then(Value::as_str)
                    .unwrap_or_default();
                expect_that(error.contains(text), || {
                    format!("{refused} {method}: {found}")
                })?;
            }
        }
        server.stop().await;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn agenkit_is_accepted_with_a_token_and_refused_without_over_tcp() -> TestResult {
    agenkit_is_authenticated("tcp://127.0.0.1:0").await
}

#[tokio::test]
async fn agenkit_is_accepted_with_a_token_and_refused_without_over_unix() -> TestResult {
    let directory = tempfile::tempdir()?;
    let socket = format!("unix://{}", directory.path().join("a.sock").display());
    agenkit_is_authenticated(&socket).await
}
