//! HTTP with independent implementations: curl and h2load as clients, and nginx and haproxy as ends
//! of TLS in front of a server.

#[allow(dead_code, reason = "these tests use a part of it")]
#[path = "../tls_peers/authority.rs"]
mod authority;
mod curl;
mod h2load;
mod terminators;

use std::{process::Stdio, sync::Arc};

use agentwire::{Agent, AgentError, LocalAgent, Message, RequestContext, TlsServer};
use agentwire_interop_tests::{TestFailure, TestResult, expect_that};
use authority::Authority;
use futures_core::Stream;
use futures_util::stream;
use tokio::{
    io::AsyncReadExt,
    process::{Child, Command},
    sync::Notify,
};

/// An agent that echoes. The second chunk of its streams waits for a permission.
#[derive(Debug, Clone, Default)]
struct Echo {
    go_on: Arc<Notify>,
}

impl Agent for Echo {
    fn name(&self) -> &str {
        "echo"
    }

    async fn process(&self, message: Message, _: RequestContext) -> Result<Message, AgentError> {
        Ok(Message::agent(message.content))
    }

    fn stream(
        &self,
        message: Message,
        _: RequestContext,
    ) -> impl Stream<Item = Result<Message, AgentError>> + Send {
        let go_on = Arc::clone(&self.go_on);
        stream::unfold(0, move |i| {
            let (go_on, content) = (Arc::clone(&go_on), message.content.clone());
            async move {
                if i == 1 {
                    go_on.notified().await;
                }
                let chunk = Message::agent(content).with_metadata("i", i);
                (i < 3).then_some((Ok(chunk), i + 1))
            }
        })
    }
}

/// A server, its agent and its address.
struct Served {
    agent: Echo,
    server: LocalAgent,
    /// The host and the port.
    address: String,
    port: u16,
}

impl Served {
    async fn plain() -> Result<Self, TestFailure> {
        let agent = Echo::default();
        let builder = LocalAgent::builder(agent.clone()).endpoint("http://127.0.0.1:0");
        Ok(Self::of(agent, builder.serve().await?))
    }

    async fn secure(authority: &Authority) -> Result<Self, TestFailure> {
        let [certificate, key] = ["server.pem", "server.key"].map(|name| authority.file(name));
        let agent = Echo::default();
        let server = LocalAgent::builder(agent.clone())
            .tls(TlsServer::from_pem(certificate, key)?)
            .endpoint("https://127.0.0.1:0")
            .serve()
            .await?;
        Ok(Self::of(agent, server))
    }

    fn of(agent: Echo, server: LocalAgent) -> Self {
        let port = server
            .endpoint()
            .host_and_port()
            .map_or(0, |(_, port)| port);
        Self {
            agent,
            server,
            address: format!("127.0.0.1:{port}"),
            port,
        }
    }
}

/// A body with one message. A person leaves out the rest of the envelope.
const BODY: &str = r#"{"payload": {"message": {"role": "user", "content": "over HTTP"}}}"#;

async fn authority() -> Result<Authority, TestFailure> {
    let authority = Authority::new("ours").await?;
    authority.issue("server", "IP:127.0.0.1").await?;
    Ok(authority)
}

/// Runs a program to its end. Returns its output.
async fn run(command: &mut Command) -> Result<String, TestFailure> {
    let output = command.kill_on_drop(true).output().await?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    expect_that(output.status.success(), || format!("{text}{errors}"))?;
    Ok(text)
}

fn spawn(command: &mut Command) -> Result<Child, TestFailure> {
    Ok(command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?)
}

/// Reads the output of a program until it contains a text.
async fn read_until(child: &mut Child, output: &mut String, text: &str) -> TestResult {
    let Some(stdout) = &mut child.stdout else {
        return Err(TestFailure::new("no pipe"));
    };
    let mut buffer = vec![0; 4096];
    while !output.contains(text) {
        let count = stdout.read(&mut buffer).await?;
        output.push_str(&String::from_utf8_lossy(&buffer[..count]));
        expect_that(count > 0, || format!("ended without {text:?}: {output}"))?;
    }
    Ok(())
}
