//! What authentication, permissions, quotas and the record add to a lone call over a Unix socket, in
//! turns with the same server without them.

use std::{fs, hint::black_box, path::Path, time::Instant};

use agentwire::{
    Bearer, LocalAgent, Message, Principal, RemoteAgent, agent_fn,
    auth::{
        Access, AuthFile, JsonLines, Policy, Quota, Role, Rule, Security, TokenDigest, Tokens,
        Users, Verb,
    },
    transport::internal::own_uid,
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::signature::{Ed25519KeyPair, KeyPair};
use tokio::runtime::Runtime;

const TOKEN: &str = "zBYkLxyN4mQx0oZ1GcZ0m1wJqE6S4a7q5cK8yPq3u9M";

/// A server and the times of its calls, in nanoseconds.
struct Case {
    name: &'static str,
    _server: LocalAgent,
    client: RemoteAgent,
    times: Vec<u64>,
}

pub(crate) fn run(runtime: &Runtime) {
    let directory = tempfile::tempdir().expect("a directory");
    let alice = || Principal::new("alice").with_role("forecasts");
    let forecasts = Rule::new([Verb::Call]).agents(["weather*"]);
    let policy = || Policy::new().role(Role::new("forecasts").allow(forecasts.clone()));
    let uid = own_uid().expect("a user");
    let user = || {
        let users = Users::new().allow_uid(uid, alice());
        Security::new().authenticate(users).authorize(policy())
    };
    // As many tokens as a server with many callers has.
    let tokens = (0..999).fold(Tokens::new(), |tokens, number| {
        let name = format!("caller {number}");
        tokens.allow(TokenDigest::of(&name), Principal::new(name))
    });
    let tokens = tokens.allow(TokenDigest::of(TOKEN), alice());
    let token = || {
        let security = Security::new().authenticate(tokens.clone());
        security.authorize(policy())
    };
    let (file, jwt) = jwt(directory.path());
    let quota = Quota::new().requests_per_minute(u64::MAX / 1000).streams(8);
    let record = JsonLines::file(directory.path().join("audit.jsonl")).open();
    let record = record.expect("a file");

    let mut cases = Vec::new();
    for (name, security, token) in [
        ("without", None, None),
        ("Unix user, policy", Some(user()), None),
        ("token, policy", Some(token()), Some(TOKEN)),
        (
            "JWT (Ed25519), policy",
            Some(Security::from_file(file)),
            Some(&*jwt),
        ),
        (
            "token, policy, quota",
            Some(token().quota(quota)),
            Some(TOKEN),
        ),
        (
            "token, policy, quota, record",
            Some(token().quota(quota).audit(record)),
            Some(TOKEN),
        ),
    ] {
        let path = directory.path().join(format!("{}.sock", cases.len()));
        cases.push(Case::start(runtime, name, &path, security, token));
    }
    for round in 0..ROUNDS {
        for case in &mut cases {
            let times = case.round(runtime);
            // The first round warms up.
            if round > 0 {
                case.times.extend(times);
            }
        }
    }
    println!(
        "\nA lone call over a Unix socket, medians of {} calls:",
        (ROUNDS - 1) * CALLS
    );
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
    println!("\nOf these, without a server:");
    let found = nanoseconds(|| tokens.find(black_box(TOKEN)).is_some());
    println!("{:30} {found:7.0} ns", "find one of 1,000 tokens");
    let (policy, alice) = (policy(), alice());
    let access = Access::agent(Verb::Call, "weather");
    let allowed = nanoseconds(|| policy.allows(black_box(&alice), black_box(&access)));
    println!("{:30} {allowed:7.0} ns", "ask the policy");
}

/// Returns the time that a check takes, as the median of many rounds.
fn nanoseconds(mut check: impl FnMut() -> bool) -> f64 {
    let mut rounds: Vec<_> = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            for _ in 0..1000 {
                assert!(black_box(check()));
            }
            start.elapsed().as_secs_f64() * 1e6
        })
        .collect();
    rounds.sort_by(f64::total_cmp);
    rounds[rounds.len() / 2]
}

/// Returns a file that accepts the tokens of an issuer, and such a token of alice.
fn jwt(directory: &Path) -> (AuthFile, String) {
    let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).expect("a key");
    let x = encode(pair.public_key().as_ref());
    let keys =
        format!(r#"{{"keys": [{{"kty": "OKP", "crv": "Ed25519", "kid": "k", "x": "{x}"}}]}}"#);
    fs::write(directory.join("jwks.json"), keys).expect("a file");
    let text = r#"
        [[principal]]
        name = "alice"
        roles = ["forecasts"]
        [[role]]
        name = "forecasts"
        allow = [{ verbs = ["call"], agents = ["weather*"] }]
        [jwt]
        issuer = "issuer"
        audience = "agents"
        algorithms = ["EdDSA"]
        jwks = "jwks.json"
    "#;
    let path = directory.join("auth.toml");
    fs::write(&path, text).expect("a file");
    let header = encode(br#"{"alg": "EdDSA", "kid": "k"}"#);
    let claims = br#"{"iss": "issuer", "aud": "agents", "sub": "alice", "exp": 32503680000}"#;
    let signed = format!("{header}.{}", encode(claims));
    let signature = encode(pair.sign(signed.as_bytes()).as_ref());
    (
        AuthFile::open(path).expect("a file"),
        format!("{signed}.{signature}"),
    )
}

impl Case {
    fn start(
        runtime: &Runtime,
        name: &'static str,
        path: &Path,
        security: Option<Security>,
        token: Option<&str>,
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
        let client = match token {
            Some(token) => client.credentials(Bearer::new(token)),
            None => client,
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

/// A build without optimization only shows that the program works.
const ROUNDS: usize = if cfg!(debug_assertions) { 2 } else { 101 };
const CALLS: usize = 500;
