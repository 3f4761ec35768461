//! An agent with several instances, and the registry that lists them.

use std::collections::BTreeMap;

use agentwire::{
    Balance, Endpoint, Error, LocalAgent, Map, Message, RemoteAgent, ToolResult, agent_fn,
    registry::{InstanceRef, LocalRegistry, Registration, Registry},
    tool_fn,
};
use tokio::task::JoinHandle;

use super::{memory, within};

/// A registry, and the servers of the instances of the agent `weather` in it.
#[derive(Default)]
pub(crate) struct Instances {
    pub(crate) registry: LocalRegistry,
    pub(crate) servers: Vec<LocalAgent>,
}

impl Instances {
    /// Serves and registers `count` instances.
    pub(crate) async fn with(count: usize) -> Self {
        let mut instances = Self::default();
        for _ in 0..count {
            instances.add().await;
        }
        instances
    }

    /// Serves and registers one more instance, which answers with its own endpoint.
    pub(crate) async fn add(&mut self) -> Endpoint {
        let endpoint = memory("instance");
        let server = self.serve(&endpoint).await;
        self.servers.push(server);
        self.register(&endpoint).await;
        endpoint
    }

    pub(crate) async fn serve(&self, endpoint: &Endpoint) -> LocalAgent {
        let own = endpoint.to_string();
        let agent = agent_fn("weather", move |_: Message| {
            let own = own.clone();
            async move { Ok(Message::agent(own)) }
        });
        let tool = tool_fn("forecast", |_: Map| async {
            Ok(ToolResult::success("rain"))
        });
        LocalAgent::builder(agent)
            .tool(tool)
            .endpoint(endpoint)
            .serve()
            .await
            .unwrap()
    }

    pub(crate) async fn register(&self, endpoint: &Endpoint) {
        let registration = Registration::new("weather", endpoint.clone()).with_instance("");
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

/// Calls the agent and returns the endpoint of the instance that answered.
pub(crate) async fn ask(remote: &RemoteAgent) -> Result<String, Error> {
    let reply = within(remote.process(Message::user("where?"))).await?;
    Ok(reply.text().unwrap().to_owned())
}

/// Makes calls one after the other, and counts the answers of each instance.
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

/// Registers an endpoint where nothing listens, as a process that crashed leaves it.
pub(crate) async fn register_dead(instances: &Instances) -> Endpoint {
    let endpoint = memory("dead");
    instances.register(&endpoint).await;
    endpoint
}
