use std::{fmt, sync::Arc};

use agentwire_codec::Map;
use agentwire_transport::{Endpoint, Error as TransportError, Listener};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    LocalAgentBuilder,
    accept::{Acceptor, Stop},
    config::Config,
    service::Service,
};
use crate::{Error, agent::Agent};

/// An agent that is being served on an endpoint.
///
/// It serves from the moment it is made until it is stopped. Dropping it aborts what is in flight.
///
/// ```
/// use agentwire::{LocalAgent, Message, RemoteAgent, agent_fn};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), agentwire::Error> {
/// let echo = agent_fn("echo", |message: Message| async move { Ok(Message::agent(message.content)) });
/// let server = LocalAgent::serve(echo, "memory://local-agent-page").await?;
///
/// let reply = RemoteAgent::new(server.endpoint())?.process(Message::user("hello")).await?;
/// assert_eq!(reply.text(), Some("hello"));
/// server.stop().await;
/// # Ok(())
/// # }
/// ```
pub struct LocalAgent {
    endpoint: Endpoint,
    service: Arc<Service>,
    config: Arc<Config>,
    stop: Stop,
    /// The accepting task and one task for each connection; nothing else.
    tasks: TaskTracker,
}

impl LocalAgent {
    /// Serves an agent with default settings.
    ///
    /// # Errors
    ///
    /// As [`LocalAgentBuilder::serve`].
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with I/O and time enabled.
    pub async fn serve<E>(agent: impl Agent, endpoint: E) -> Result<Self, Error>
    where
        E: TryInto<Endpoint>,
        TransportError: From<E::Error>,
    {
        Self::builder(agent).serve(endpoint).await
    }

    /// Settings for serving an agent.
    pub fn builder(agent: impl Agent) -> LocalAgentBuilder {
        LocalAgentBuilder::new(agent)
    }

    pub(super) fn start(listener: Listener, service: Service, config: Config) -> Self {
        let (service, config) = (Arc::new(service), Arc::new(config));
        let tasks = TaskTracker::new();
        let stop = Stop {
            drain: CancellationToken::new(),
            abort: CancellationToken::new(),
        };
        let endpoint = listener.endpoint().clone();
        tracing::debug!(%endpoint, agent = service.first().name(), "serving");
        let acceptor = Acceptor {
            listener,
            service: Arc::clone(&service),
            config: Arc::clone(&config),
            stop: stop.clone(),
            tasks: tasks.clone(),
        };
        tasks.spawn(acceptor.run());
        Self {
            endpoint,
            service,
            config,
            stop,
            tasks,
        }
    }

    /// Where it serves: the real port if the system chose one.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// The name of the agent; of several, that of the first.
    #[must_use]
    pub fn name(&self) -> &str {
        self.service.first().name()
    }

    /// What it offers, as a registration tells others: what the agent says of itself, and the tools under
    /// `tools`, each with its `name`, its `description` and its `parameters`.
    #[must_use]
    pub fn capabilities(&self) -> Map {
        self.service.capabilities()
    }

    /// Stops gracefully: no more connections and requests are accepted, those in flight are answered. What
    /// is not answered within the [grace](LocalAgentBuilder::grace) is dropped.
    ///
    /// It returns when all is done: no task is left, and no socket file.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the server keeps draining, without a limit in time; call this or
    /// [`abort`](Self::abort) again.
    pub async fn stop(&self) {
        self.stop.drain.cancel();
        self.tasks.close();
        if tokio::time::timeout(self.config.grace, self.tasks.wait())
            .await
            .is_err()
        {
            tracing::debug!(endpoint = %self.endpoint, "grace is over; dropping what is in flight");
            self.abort().await;
        }
    }

    /// Stops at once: drops what is in flight and closes all connections.
    ///
    /// It returns when all is done. An agent that blocks its thread holds this up.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the server stops all the same.
    pub async fn abort(&self) {
        self.stop.abort.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

impl Drop for LocalAgent {
    fn drop(&mut self) {
        self.stop.abort.cancel();
    }
}

impl fmt::Debug for LocalAgent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalAgent")
            .field("endpoint", &self.endpoint)
            .field("agent", &self.service.first().name())
            .finish_non_exhaustive()
    }
}
