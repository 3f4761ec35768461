//! The bytes that both sides count.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use agentwire::{
    Agent, AgentError, LocalAgent, Message, RemoteAgent, RequestContext,
    observer::{Observer, Side},
};
use futures_core::Stream;
use futures_util::stream;

use crate::{common::within, endpoints};

/// The bytes of one side.
#[derive(Default)]
struct Traffic {
    sent: AtomicU64,
    received: AtomicU64,
}

#[derive(Default)]
struct Traffics {
    server: Traffic,
    client: Traffic,
}

impl Traffics {
    fn of(&self, side: Side) -> &Traffic {
        match side {
            Side::Server => &self.server,
            Side::Client => &self.client,
        }
    }
}

impl Traffic {
    fn counts(&self) -> [u64; 2] {
        [self.sent.load(Relaxed), self.received.load(Relaxed)]
    }
}

impl Observer for Traffics {
    fn bytes_sent(&self, side: Side, bytes: u64) {
        self.of(side).sent.fetch_add(bytes, Relaxed);
    }

    fn bytes_received(&self, side: Side, bytes: u64) {
        self.of(side).received.fetch_add(bytes, Relaxed);
    }
}

struct Echo;

impl Agent for Echo {
    fn name(&self) -> &str {
        "echo"
    }

    async fn process(&self, message: Message, _: RequestContext) -> Result<Message, AgentError> {
        Ok(message)
    }

    fn stream(
        &self,
        message: Message,
        _: RequestContext,
    ) -> impl Stream<Item = Result<Message, AgentError>> + Send {
        stream::iter([Ok(message)])
    }
}

#[tokio::test]
async fn what_one_side_sends_the_other_receives_over_every_carrier() {
    for endpoint in endpoints("traffic") {
        for shared in [1, 8] {
            let traffics = Arc::new(Traffics::default());
            let server = LocalAgent::builder(Echo)
                .observer(traffics.clone())
                .endpoint(endpoint.as_str())
                .serve()
                .await
                .unwrap();
            let remote = RemoteAgent::builder(server.endpoint())
                .observer(traffics.clone())
                .max_in_flight_per_connection(shared)
                .build()
                .unwrap();
            let long = "x".repeat(100_000);
            let mut least = 0;
            for text in ["hi", &long] {
                for _ in 0..2 {
                    within(remote.process(Message::user(text))).await.unwrap();
                    let mut chunks = remote.stream(Message::user(text));
                    while let Some(chunk) = within(chunks.next()).await {
                        chunk.unwrap();
                    }
                    least += 2 * text.len() as u64;
                    let [sent, received] = traffics.client.counts();
                    assert!(sent > least, "{endpoint}: {sent}");
                    assert!(received > least, "{endpoint}: {received}");
                }
            }
            within(remote.close()).await;
            within(server.stop()).await;
            let [sent, received] = traffics.client.counts();
            assert_eq!(traffics.server.counts(), [received, sent], "{endpoint}");
        }
    }
}
