//! The command `proxy`.

use agentwire_codec::{
    Body, Call, Map, Message, Request, RequestId, Response, Timestamp, WireError,
};
use rustix::process::Signal;

use crate::{
    peer::{Peer, Wire},
    program::{Server, run, run_with_input},
};

async fn proxy_to(target: &str, options: &[&str]) -> Server {
    let args = ["proxy", "tcp://127.0.0.1:0", target];
    Server::start(args.iter().chain(options)).await
}

/// A message with values that a proxy could easily alter.
fn fragile() -> Message {
    let time: Timestamp = "2025-11-08T12:34:56.000001+05:30".parse().expect("a time");
    Message::new("oracle", f64::NAN)
        .with_metadata("z", u64::MAX)
        .with_metadata("a", "\u{1f980}")
        .with_timestamp(time)
}

#[tokio::test]
async fn a_proxy_connects_tcp_and_unix_sockets() {
    let directory = tempfile::tempdir().expect("directory");
    let path = |name: &str| format!("unix://{}", directory.path().join(name).display());
    let target = Server::start(["serve", &path("far.sock"), "--agent", "count:3"]).await;
    let tcp = proxy_to(&target.endpoint, &[]).await;
    let unix = Server::start(["proxy", &path("near.sock"), &tcp.endpoint]).await;
    for endpoint in [&tcp.endpoint, &unix.endpoint] {
        assert_eq!(
            run(["call", endpoint, "--text", "x"])
                .await
                .messages()
                .len(),
            1
        );
        assert_eq!(
            run(["stream", endpoint, "--text", "x"])
                .await
                .messages()
                .len(),
            3
        );
    }
    unix.running.send(Signal::TERM);
    assert_eq!(unix.running.end().await.success(), "");
    assert!(!directory.path().join("near.sock").exists());
}

#[tokio::test]
async fn a_proxy_stands_between_websocket_and_any_other_carrier() {
    let directory = tempfile::tempdir().expect("directory");
    let carriers = ["unix", "tcp", "ws"];
    let listen = |scheme: &str, name: &str| match scheme {
        "unix" => format!("unix://{}", directory.path().join(name).display()),
        _ => format!("{scheme}://127.0.0.1:0"),
    };
    for far in carriers {
        let agent = ["serve", &listen(far, "far.sock"), "--agent", "count:3"];
        let target = Server::start(agent).await;
        for near in carriers {
            let proxy = ["proxy", &listen(near, "near.sock"), &target.endpoint];
            let proxy = Server::start(proxy).await;
            let endpoint = &proxy.endpoint;
            assert!(endpoint.starts_with(near), "{endpoint}");
            let call = run(["call", endpoint, "--text", "x"]).await;
            assert_eq!(call.messages().len(), 1, "{near} to {far}: {call:?}");
            let stream = run(["stream", endpoint, "--text", "x"]).await;
            assert_eq!(stream.messages().len(), 3, "{near} to {far}: {stream:?}");
            run(["ping", endpoint, "--count", "1"]).await.success();
            run(["describe", endpoint]).await.success();
            proxy.running.send(Signal::TERM);
            proxy.running.end().await.success();
        }
    }
}

#[tokio::test]
async fn messages_pass_unchanged_in_both_directions() {
    for (named, arrives) in [("near", "near"), ("", "far")] {
        let target = Peer::listen().await;
        let proxy = proxy_to(&target.endpoint(), &["--name", "far"]).await;
        let mut near = Wire::connect(&proxy.endpoint).await;
        let id = RequestId::from("chosen by the caller");
        near.send(&id, Request::Process(Call::new(named, fragile())))
            .await;

        let (mut far, far_id, request) = target.request().await;
        assert_eq!(request, Request::Process(Call::new(arrives, fragile())));
        far.send(&far_id, Response::Message(fragile())).await;

        let answer = near.receive().await;
        assert_eq!(answer.id, id);
        assert_eq!(answer.body, Response::Message(fragile()).into());
    }
}

#[tokio::test]
async fn an_error_passes_with_its_code_message_and_details() {
    let details = Map::from([("limit", 3), ("a", 1)]);
    for code in [
        "QUOTA_EXCEEDED",
        "AGENT_NOT_FOUND",
        "AGENT_TIMEOUT",
        "INTERNAL_ERROR",
    ] {
        let target = Peer::listen().await;
        // One proxy per call: it pools its connection to the target, and could reuse it for the
        // next call before it notices that the target closed it.
        let proxy = proxy_to(&target.endpoint(), &[]).await;
        let error = WireError::new(code, "no more\ntoday").with_details(details.clone());
        let mut near = Wire::connect(&proxy.endpoint).await;
        let id = RequestId::random();
        near.send(&id, Request::Process(Call::new("", Message::user("x"))))
            .await;
        let (mut far, far_id, _) = target.request().await;
        far.send(&far_id, error.clone()).await;
        assert_eq!(near.receive().await.body, Body::Error(error));
    }
}

#[tokio::test]
async fn a_stream_passes_chunk_by_chunk_and_so_does_its_error() {
    let error = WireError::new("STREAM_ERROR", "torn").with_details(Map::from([("at", 3)]));
    for end in [Body::StreamEnd, Body::Error(error)] {
        let target = Peer::listen().await;
        let proxy = proxy_to(&target.endpoint(), &[]).await;
        let mut near = Wire::connect(&proxy.endpoint).await;
        let id = RequestId::random();
        near.send(&id, Request::Stream(Call::new("", Message::user("x"))))
            .await;
        let (mut far, far_id, request) = target.request().await;
        assert!(matches!(request, Request::Stream(_)), "{request:?}");
        for _ in 0..3 {
            far.send(&far_id, Body::StreamChunk(fragile())).await;
            // The next chunk is sent only after this one has arrived.
            let chunk = near.receive().await;
            assert_eq!(
                (chunk.id, chunk.body),
                (id.clone(), Body::StreamChunk(fragile()))
            );
        }
        far.send(&far_id, end.clone()).await;
        assert_eq!(near.receive().await.body, end);
    }
}

#[tokio::test]
async fn an_unreachable_or_slow_target_fails_the_call_and_not_the_proxy() {
    let unreachable = {
        let peer = Peer::listen().await;
        peer.endpoint()
    };
    let proxy = proxy_to(&unreachable, &[]).await;
    let outcome = run(["call", &proxy.endpoint, "--text", "x"]).await;
    assert!(
        outcome.error(1).contains("CONNECTION_FAILED"),
        "{outcome:?}"
    );

    let slow = Server::agent("slow:600000").await;
    let proxy = proxy_to(&slow.endpoint, &["--timeout", "200ms"]).await;
    for _ in 0..2 {
        let outcome = run(["call", &proxy.endpoint, "--text", "x"]).await;
        assert!(outcome.error(1).contains("timed out"), "{outcome:?}");
    }
}

#[tokio::test]
async fn a_full_pool_fails_calls_in_words_that_name_no_missing_option() {
    let slow = Server::agent("slow:600000").await;
    let options = ["--pool", "1", "--timeout", "300ms"];
    let proxy = proxy_to(&slow.endpoint, &options).await;
    let calls = (0..2).map(|_| run(["call", &proxy.endpoint, "--text", "x"]));
    let outcomes = futures_util::future::join_all(calls).await;
    for outcome in &outcomes {
        let error = outcome.error(1);
        assert!(
            error.contains("The target of the proxy timed out"),
            "{error}"
        );
        assert!(!error.contains("max_connections"), "{error}");
    }
}

#[tokio::test]
async fn calls_share_the_connections_of_a_pool_if_they_are_allowed_to() {
    let slow = Server::agent("slow:100").await;
    let options = ["--pool", "1", "--share", "8"];
    let proxy = proxy_to(&slow.endpoint, &options).await;
    let calls = (0..8).map(|_| run(["call", &proxy.endpoint, "--text", "x"]));
    for outcome in futures_util::future::join_all(calls).await {
        assert_eq!(outcome.messages().len(), 1);
    }
}

#[tokio::test]
async fn a_proxy_finds_its_target_in_a_registry() {
    let registry = Server::start(["registry", "serve", "tcp://127.0.0.1:0"]).await;
    let url = &registry.endpoint;
    let by_name = ["--registry", url, "--name", "count"];
    let proxy = ["proxy", "tcp://127.0.0.1:0"].iter().chain(&by_name);
    let proxy = Server::start(proxy).await;
    let call = ["call", &proxy.endpoint, "x"];
    let absent = run(call).await;
    assert!(absent.error(1).contains("is not registered"), "{absent:?}");
    let serve = ["serve", "tcp://127.0.0.1:0", "--agent", "count:2"];
    let serve = serve.iter().chain(&by_name[..2]);
    let mut instances = Vec::new();
    for _ in 0..2 {
        let mut server = Server::start(serve.clone()).await;
        assert!(
            server
                .running
                .line()
                .await
                .starts_with("registered count at ")
        );
        instances.push(server);
    }
    assert_eq!(run(call).await.messages().len(), 1);
    let stream = run(["stream", &proxy.endpoint, "x"]).await;
    assert_eq!(stream.messages().len(), 2);
    // The other instance takes over.
    let first = instances.remove(0).running;
    first.send(Signal::KILL);
    first.end_killed().await;
    for _ in 0..4 {
        assert_eq!(run(call).await.messages().len(), 1);
    }
    for args in [
        &["proxy", "tcp://127.0.0.1:0"][..],
        &["proxy", "tcp://127.0.0.1:0", "--registry", url],
        &[
            "proxy",
            "tcp://h:1",
            "tcp://h:1",
            "--registry",
            url,
            "--name",
            "x",
        ],
        &["proxy"],
    ] {
        run(args).await.error(2);
    }
}

#[tokio::test]
async fn frames_beyond_the_default_limit_pass_if_every_side_allows_them() {
    let limit = ["--frame-limit", "32MiB"];
    let target = ["serve", "tcp://127.0.0.1:0"].iter().chain(&limit);
    let target = Server::start(target).await;
    let proxy = proxy_to(&target.endpoint, &limit).await;
    let text = "x".repeat(11 << 20);
    for (options, code) in [(&limit[..], 0), (&[], 2)] {
        let args = ["call", &proxy.endpoint, "--text", "-"];
        let args = args.iter().chain(options);
        let outcome = run_with_input(args, text.as_bytes()).await;
        assert_eq!(outcome.code, code, "{}", outcome.stderr);
    }
}

#[tokio::test]
async fn a_proxy_ends_within_its_grace() {
    let slow = Server::agent("slow:600000").await;
    let proxy = proxy_to(&slow.endpoint, &["--grace", "50ms"]).await;
    let mut near = Wire::connect(&proxy.endpoint).await;
    let call = Request::Process(Call::new("", Message::user("x")));
    near.send(&RequestId::random(), call).await;
    // Its answer shows that the proxy has read the call that was sent before it.
    near.send(&RequestId::from("ping"), Body::StreamEnd).await;
    assert_eq!(near.receive().await.id, RequestId::from("ping"));
    proxy.running.send(Signal::TERM);
    assert_eq!(proxy.running.end().await.success(), "");
}
