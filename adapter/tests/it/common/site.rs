#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::collections::BTreeMap;

use agentwire::{
    Balance, Endpoint, Error, LocalAgent, Message, RemoteAgent, ToolResult, agent_fn,
    registry::{InstanceRef, LocalRegistry, Registration, Registry},
    tool_fn,
};
use tokio::task::JoinHandle;

use super::{memory, within};

/// The registry, and what it has under the name `weather`.
#[derive(Default)]
pub(crate) struct Site {
    pub(crate) registry: LocalRegistry,
    pub(crate) servers: Vec<LocalAgent>,
}

impl Site {
    /// With so many instances.
    pub(crate) async fn with(instances: usize) -> Self {
        let mut site = Self::default();
        for _ in 0..instances {
            site.add().await;
        }
        site
    }

    /// Serves one more instance, which answers with its own endpoint.
    pub(crate) async fn add(&mut self) -> Endpoint {
        let endpoint = memory("instance");
        let server = self.serve(&endpoint).await;
        self.servers.push(server);
        self.register(&endpoint).await;
        endpoint
    }

    pub(crate) async fn serve(&self, endpoint: &Endpoint) -> LocalAgent {
        let own = endpoint.to_string();
        let agent = agent_fn("weather", move |_| {
            let own = own.clone();
            async move { Ok(Message::agent(own)) }
        });
        let tool = tool_fn("forecast", |_| async { Ok(ToolResult::success("rain")) });
        LocalAgent::builder(agent)
            .tool(tool)
            .serve(endpoint)
            .await
            .unwrap()
    }

    pub(crate) async fn register(&self, endpoint: &Endpoint) {
        let registration = Registration::new("weather", endpoint.clone());
        self.registry.register(registration).await.unwrap();
    }

    pub(crate) async fn unregister(&self, endpoint: &Endpoint) {
        let which = InstanceRef::new("weather").with_endpoint(endpoint.clone());
        self.registry.unregister(&which).await.unwrap();
    }

    pub(crate) fn remote(&self) -> RemoteAgent {
        self.remote_with(Balance::default())
    }

    pub(crate) fn remote_with(&self, balance: Balance) -> RemoteAgent {
        RemoteAgent::discover(self.registry.clone(), "weather")
            .balance(balance)
            .build()
            .unwrap()
    }
}

/// The endpoint of the instance that answers.
pub(crate) async fn ask(remote: &RemoteAgent) -> Result<String, Error> {
    let reply = within(remote.process(Message::user("where?"))).await?;
    Ok(reply.text().unwrap().to_owned())
}

/// How often each instance answers, one call after the other.
pub(crate) async fn ask_often(remote: &RemoteAgent, calls: usize) -> BTreeMap<String, usize> {
    let mut answers = BTreeMap::new();
    for _ in 0..calls {
        *answers.entry(ask(remote).await.unwrap()).or_default() += 1;
    }
    answers
}

pub(crate) fn call_by_name(remote: &RemoteAgent) -> JoinHandle<Result<Message, Error>> {
    let remote = remote.clone();
    tokio::spawn(async move { remote.process(Message::user("x")).await })
}

/// A process that crashed: it is registered, and nobody is there.
pub(crate) async fn register_dead(site: &Site) -> Endpoint {
    let endpoint = memory("dead");
    site.register(&endpoint).await;
    endpoint
}
