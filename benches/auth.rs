//! Measures what authentication, permissions, quotas and the record add to a lone call over a Unix
//! socket, in turns with the same server without them.

#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a program that prints its results"
)]

use std::{path::Path, time::Instant};

use agentwire::{
    Bearer, LocalAgent, Message, Principal, RemoteAgent, agent_fn,
    auth::{JsonLines, Policy, Quota, Role, Rule, Security, TokenDigest, Tokens, Users, Verb},
    transport::internal::own_uid,
};
use tokio::runtime::{Builder, Runtime};

const TOKEN: &str = "zBYkLxyN4mQx0oZ1GcZ0m1wJqE6S4a7q5cK8yPq3u9M";

/// A server and the times of its calls, in nanoseconds.
struct Case {
    name: &'static str,
    _server: LocalAgent,
    client: RemoteAgent,
    times: Vec<u64>,
}

fn main() {
    // One thread, to measure work rather than wake-ups.
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    let directory = tempfile::tempdir().expect("a directory");
    let alice = || Principal::new("alice").with_role("forecasts");
    let forecasts = Rule::new([Verb::Call]).agents(["weather*"]);
    let policy = || Policy::new().role(Role::new("forecasts").allow(forecasts.clone()));
    let uid = own_uid().expect("a user");
    let user = || {
        let users = Users::new().allow_uid(uid, alice());
        Security::new().authenticate(users).authorize(policy())
    };
    let token = || {
        // As many tokens as a server with many callers has.
        let many = (0..999).fold(Tokens::new(), |tokens, number| {
            let name = format!("caller {number}");
            tokens.allow(TokenDigest::of(&name), Principal::new(name))
        });
        let tokens = many.allow(TokenDigest::of(TOKEN), alice());
        Security::new().authenticate(tokens).authorize(policy())
    };
    let quota = Quota::new().requests_per_minute(u64::MAX / 1000).streams(8);
    let record = JsonLines::file(directory.path().join("audit.jsonl")).open();
    let record = record.expect("a file");

    let mut cases = Vec::new();
    for (name, security, is_token) in [
        ("without", None, false),
        ("Unix user, policy", Some(user()), false),
        ("token, policy", Some(token()), true),
        ("token, policy, quota", Some(token().quota(quota)), true),
        (
            "token, policy, quota, record",
            Some(token().quota(quota).audit(record)),
            true,
        ),
    ] {
        let path = directory.path().join(format!("{}.sock", cases.len()));
        cases.push(Case::start(&runtime, name, &path, security, is_token));
    }
    for round in 0..ROUNDS {
        for case in &mut cases {
            let times = case.round(&runtime);
            // The first round warms up.
            if round > 0 {
                case.times.extend(times);
            }
        }
    }
    let mut base = None;
    for case in &mut cases {
        case.times.sort_unstable();
        let median = case.times[case.times.len() / 2];
        let base = *base.get_or_insert(median);
        println!(
            "{:30} {:7.2} us  {:+6.2} us  {:.3}",
            case.name,
            median as f64 / 1000.0,
            (median as f64 - base as f64) / 1000.0,
            median as f64 / base as f64,
        );
    }
}

impl Case {
    fn start(
        runtime: &Runtime,
        name: &'static str,
        path: &Path,
        security: Option<Security>,
        is_token: bool,
    ) -> Self {
        let echo = agent_fn("weather", |message: Message| async move {
            Ok(Message::agent(message.content))
        });
        let server = LocalAgent::builder(echo).endpoint(format!("unix://{}", path.display()));
        let server = match security {
            Some(security) => server.security(security),
            None => server,
        };
        let server = runtime.block_on(server.serve()).expect("a free path");
        let client = RemoteAgent::builder(server.endpoint()).name("weather");
        let client = if is_token {
            client.credentials(Bearer::new(TOKEN))
        } else {
            client
        };
        Self {
            name,
            client: client.build().expect("valid settings"),
            _server: server,
            times: Vec::new(),
        }
    }

    /// Makes calls one after the other.
    fn round(&self, runtime: &Runtime) -> Vec<u64> {
        runtime.block_on(async {
            let mut times = Vec::with_capacity(CALLS);
            for _ in 0..CALLS {
                let message = Message::user("What is the weather in San Francisco?");
                let start = Instant::now();
                self.client.process(message).await.expect("an answer");
                times.push(u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX));
            }
            times
        })
    }
}

const ROUNDS: usize = 101;
const CALLS: usize = 500;
