//! Calls over TLS beside calls over TCP, for agentwire and its peers.

use std::{future::Future, time::Instant};

use agentwire::{LocalAgent, Message, RemoteAgent, agent_fn};
use futures_util::future::{BoxFuture, join_all};
use tokio::runtime::Runtime;

use super::{certificate::Certificate, raw};

/// The text that every peer sends and receives.
pub(crate) const TEXT: &str = "What is the weather in San Francisco?";

/// The number of calls in flight on one connection.
pub(crate) const WINDOW: usize = 64;

/// A peer over a carrier, and the times of its calls in nanoseconds.
pub(crate) struct Case {
    name: &'static str,
    lone: Box<dyn Fn() -> BoxFuture<'static, ()>>,
    many: Box<dyn Fn(usize) -> BoxFuture<'static, ()>>,
    lone_times: Vec<u64>,
    many_times: Vec<u64>,
}

impl Case {
    /// `lone` makes one call. `many` makes a number of calls, of which [`WINDOW`] are in flight.
    pub(crate) fn new<L, M>(
        name: &'static str,
        lone: impl Fn() -> L + 'static,
        many: impl Fn(usize) -> M + 'static,
    ) -> Self
    where
        L: Future<Output = ()> + Send + 'static,
        M: Future<Output = ()> + Send + 'static,
    {
        Self {
            name,
            lone: Box::new(move || Box::pin(lone())),
            many: Box::new(move |calls| Box::pin(many(calls))),
            lone_times: Vec::new(),
            many_times: Vec::new(),
        }
    }

    async fn round(&mut self, is_warm: bool) {
        for _ in 0..LONE_CALLS {
            let start = Instant::now();
            (self.lone)().await;
            if is_warm {
                self.lone_times.push(nanoseconds(start));
            }
        }
        let start = Instant::now();
        (self.many)(MANY_CALLS).await;
        if is_warm {
            self.many_times.push(nanoseconds(start) / MANY_CALLS as u64);
        }
    }
}

/// Makes calls, of which [`WINDOW`] are in flight.
pub(crate) async fn in_window<F: Future<Output = ()>>(calls: usize, call: impl Fn() -> F) {
    let callers = (0..WINDOW).map(|_| async {
        for _ in 0..calls / WINDOW {
            call().await;
        }
    });
    join_all(callers).await;
}

pub(crate) fn run(runtime: &Runtime) {
    let certificate = Certificate::new();
    let mut cases = runtime.block_on(async {
        let mut cases = vec![
            agentwire("agentwire, tcp", None).await,
            agentwire("agentwire, tls", Some(&certificate)).await,
            raw::case("tokio, serde_json, tcp", None).await,
            raw::case("tokio-rustls, serde_json, tls", Some(&certificate)).await,
        ];
        #[cfg(feature = "peers")]
        {
            cases.push(super::grpc::case("tonic, tcp", None).await);
            cases.push(super::grpc::case("tonic, tls", Some(&certificate)).await);
        }
        for round in 0..ROUNDS {
            for case in &mut cases {
                // The first round warms up.
                case.round(round > 0).await;
            }
        }
        cases
    });
    println!(
        "Calls with a text of {} bytes, medians of {} rounds, us a call:",
        TEXT.len(),
        ROUNDS - 1
    );
    println!("{:30} {:>10} {:>14}", "", "a lone call", "64 in flight");
    for case in &mut cases {
        let [lone, many] = [&mut case.lone_times, &mut case.many_times].map(|times| {
            times.sort_unstable();
            times[times.len() / 2] as f64 / 1000.0
        });
        println!("{:30} {lone:11.2} {many:14.2}", case.name);
    }
    if !cfg!(feature = "peers") {
        println!("tonic needs --features peers");
    }
}

/// A client keeps one connection: for lone calls one call at a time, and otherwise 64.
async fn agentwire(name: &'static str, certificate: Option<&Certificate>) -> Case {
    let echo = agent_fn("weather", |message: Message| async move {
        Ok(Message::agent(message.content))
    });
    let server = LocalAgent::builder(echo);
    let server = match certificate {
        Some(certificate) => server
            .endpoint("tls://127.0.0.1:0")
            .tls(certificate.server()),
        None => server.endpoint("tcp://127.0.0.1:0"),
    };
    let server = server.serve().await.expect("a free port");
    let client = |in_flight| {
        let client = RemoteAgent::builder(server.endpoint())
            .name("weather")
            .max_connections(1)
            .max_in_flight_per_connection(in_flight);
        let client = match certificate {
            Some(certificate) => client.tls(certificate.client()),
            None => client,
        };
        client.build().expect("valid settings")
    };
    let call = async |client: RemoteAgent| {
        let reply = client
            .process(Message::user(TEXT))
            .await
            .expect("an answer");
        assert_eq!(reply.text(), Some(TEXT));
    };
    let (one, shared) = (client(1), client(WINDOW));
    // The server lives as long as the program.
    std::mem::forget(server);
    Case::new(
        name,
        move || call(one.clone()),
        move |calls| {
            let shared = shared.clone();
            async move { in_window(calls, || call(shared.clone())).await }
        },
    )
}

fn nanoseconds(start: Instant) -> u64 {
    u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

/// A build without optimization only shows that the program works.
const ROUNDS: usize = if cfg!(debug_assertions) { 2 } else { 51 };
const LONE_CALLS: usize = 200;
const MANY_CALLS: usize = 100 * WINDOW;
