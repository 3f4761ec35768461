//! The quotas in the file of `--auth`.

use std::{fs, time::Instant};

use agentwire::{Credential, Error, Message, RemoteAgent, auth::TokenDigest};
use agentwire_codec::{Map, Value};
use rustix::process::Signal;

use crate::program::{Server, parse_lines, run, within};

fn token(name: &str) -> String {
    format!("the-token-of-{name}")
}

fn principal(name: &str, quota: &str) -> String {
    let digest = TokenDigest::of(&token(name)).to_hex();
    format!(
        "[[principal]]\nname = \"{name}\"\nroles = [\"agent-consumer\"]\n\
         token_sha256 = \"{digest}\"\n{quota}\n"
    )
}

fn client(server: &Server, name: &str) -> RemoteAgent {
    let remote = RemoteAgent::builder(&*server.endpoint);
    let remote = remote.credentials(Credential::bearer(token(name)));
    remote.build().unwrap()
}

async fn call(client: &RemoteAgent, text: &str) -> Result<(), Map> {
    let result = within(client.process(Message::user(text))).await;
    result.map(drop).map_err(details)
}

/// Returns the details of a refusal.
fn details(error: Error) -> Map {
    assert!(matches!(error, Error::RateLimited { .. }), "{error}");
    error.remote().unwrap().details.clone()
}

fn number(details: &Map, key: &str) -> u64 {
    details.get(key).and_then(Value::as_u64).unwrap()
}

/// Calls until a call is refused. Returns the number of accepted calls, and the details.
async fn call_until_refused(client: &RemoteAgent) -> (u64, Map) {
    let mut accepted = 0;
    loop {
        match call(client, "?").await {
            Ok(()) => accepted += 1,
            Err(details) => return (accepted, details),
        }
    }
}

#[tokio::test]
async fn each_principal_has_the_quota_of_the_file_or_its_own() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).display().to_string();
    let file = [
        principal("alice", ""),
        principal("eve", ""),
        principal("bob", "requests_per_minute = 1\nburst = 1"),
        principal("carol", "quota = { bytes_per_minute = 1000 }"),
        principal("dave", "streams = 1"),
        "[quota]\nrequests_per_minute = 1\nburst = 3\n".to_owned(),
    ];
    fs::write(path("auth.toml"), file.concat()).unwrap();
    let args = ["serve", "tcp://127.0.0.1:0", "--agent", "count:1000000000"];
    let files = [
        "--auth",
        &path("auth.toml"),
        "--audit",
        &path("audit.jsonl"),
    ];
    let server = Server::start([&args[..], &files].concat()).await;

    // A stranger uses up the quota of its address, and not that of the principals.
    let stranger = client(&server, "mallory");
    loop {
        let error = within(stranger.process(Message::user("?")))
            .await
            .unwrap_err();
        match error {
            Error::Unauthenticated { .. } => {}
            limited => break drop(details(limited)),
        }
    }
    for (name, burst) in [("alice", 3), ("bob", 1), ("eve", 3)] {
        let start = Instant::now();
        let (accepted, details) = call_until_refused(&client(&server, name)).await;
        // One more request is accepted with each minute, if the machine is that slow.
        let minutes = start.elapsed().as_secs() / 60;
        assert!(
            (burst..=burst + minutes + 1).contains(&accepted),
            "{name}: {accepted}"
        );
        assert_eq!(details.get("of"), Some(&Value::from("requests_per_minute")));
        assert_eq!(number(&details, "limit"), 1);
        let wait = number(&details, "retry_after_ms");
        assert!((1..=60_000).contains(&wait), "{wait}");
    }
    let refused = loop {
        let call = run(["call", &server.endpoint, "?", "--token", &token("alice")]).await;
        if call.code != 0 {
            break call;
        }
    };
    let error = refused.error(1);
    assert!(error.contains("RATE_LIMITED"), "{error}");
    assert!(error.contains("; try again in "), "{error}");

    // A large request is accepted and has to be paid for later.
    let carol = client(&server, "carol");
    call(&carol, &"x".repeat(100_000)).await.unwrap();
    let details = call(&carol, "?").await.unwrap_err();
    assert_eq!(details.get("of"), Some(&Value::from("bytes_per_minute")));
    assert!(number(&details, "retry_after_ms") > 60_000, "{details:?}");

    let dave = client(&server, "dave");
    let mut first = dave.stream(Message::user("?"));
    within(first.next()).await.unwrap().unwrap();
    let refused = within(dave.stream(Message::user("?")).next())
        .await
        .unwrap();
    let details = self::details(refused.unwrap_err());
    assert_eq!(details.get("of"), Some(&Value::from("streams")));
    assert!(number(&details, "retry_after_ms") > 0);
    call(&dave, "?").await.unwrap();
    drop(first);
    // The server learns of the end a little later.
    while within(dave.stream(Message::user("?")).next())
        .await
        .unwrap()
        .is_err()
    {}

    server.running.send(Signal::TERM);
    server.running.end().await.success();
    let records = parse_lines(&fs::read_to_string(path("audit.jsonl")).unwrap());
    for (name, of) in [
        (None, "requests_per_minute"),
        (Some("alice"), "requests_per_minute"),
        (Some("carol"), "bytes_per_minute"),
        (Some("dave"), "streams"),
    ] {
        let is_recorded = records.iter().any(|record| {
            record["event"].as_str() == Some("quota")
                && record["outcome"].as_str() == Some("denied")
                && record.get("principal").and_then(Value::as_str) == name
                && record["reason"].as_str() == Some(of)
        });
        assert!(is_recorded, "{name:?} {of}");
    }
}
