//! Credentials of callers over HTTP.

#[allow(dead_code, reason = "this suite uses a part of it")]
#[path = "../auth/support.rs"]
mod support;

use agentwire::{
    ApiKey, Credential, LocalAgent, Message, Principal, RemoteAgent,
    auth::{Authenticate, Denied, Quota, Security},
    http::HttpOptions,
    map, stream_fn,
    transport::Peer as TransportPeer,
};
use support::{bearer, client, serve, token, tokens};
use tokio::{io::AsyncReadExt, net::TcpListener};

use crate::{
    common::within,
    peer::{Peer, message},
};

fn alice() -> Principal {
    Principal::new("alice").with_role("agent-consumer")
}

/// A slow authenticator, such as one that queries a service.
struct Slow;

impl Authenticate for Slow {
    async fn request(
        &self,
        _: &TransportPeer,
        credential: &Credential,
    ) -> Result<Option<Principal>, Denied> {
        tokio::task::yield_now().await;
        let mut known = [alice(), Principal::new("bob")].into_iter();
        Ok(known.find(|one| credential.secret() == token(one.name())))
    }
}

/// Returns a server whose agents answer with the principal, for both kinds of authenticators.
async fn servers() -> [LocalAgent; 2] {
    let prompt = Security::new().authenticate(tokens([alice(), Principal::new("bob")]));
    let slow = Security::new().authenticate(Slow);
    [
        serve(prompt, "http://127.0.0.1:0").await,
        serve(slow, "http://127.0.0.1:0").await,
    ]
}

fn to(agent: &str) -> String {
    let agent = format!(r#""agent_name": "{agent}", "message":"#);
    message("").replacen(r#""message":"#, &agent, 1)
}

#[tokio::test]
async fn a_request_has_the_principal_of_its_header_or_is_refused() {
    for server in servers().await {
        let mut peer = Peer::connect(server.endpoint()).await;
        let header = |name| format!("Authorization: Bearer {}\r\n", token(name));
        let right = header("alice");
        let tool = r#"{"payload": {"tool_name": "forecast", "kwargs": {}}}"#;
        for (path, body) in [
            ("/process", to("weather")),
            ("/stream", to("clock")),
            ("/execute", tool.to_owned()),
        ] {
            peer.post(path, &right, &body).await;
            let reply = peer.reply().await;
            assert_eq!(reply.status, 200, "{path}");
            assert!(reply.text().contains("alice"), "{path}");
            peer.post(path, &header("bob"), &body).await;
            let reply = peer.reply().await;
            assert_eq!((reply.status, &*reply.code()), (403, "PERMISSION_DENIED"));
            for wrong in [
                "",
                "Authorization: Bearer wrong\r\n",
                "Authorization: Basic YTpi\r\n",
                "Authorization: \r\n",
                "Authorization: Bearer \u{e9}\r\n",
            ] {
                peer.post(path, wrong, &body).await;
                let reply = peer.reply().await;
                assert_eq!(reply.status, 401, "{path} {wrong}");
                assert_eq!(reply.code(), "UNAUTHENTICATED");
                assert_eq!(reply.header("www-authenticate"), Some("Bearer"));
            }
        }
        assert_eq!(peer.get("GET", "/describe", &right).await.status, 200);
        assert_eq!(peer.get("GET", "/describe", "").await.status, 401);
        // Probes need no credential.
        for path in ["/health", "/live", "/ready"] {
            assert_eq!(peer.get("GET", path, "").await.status, 200);
        }
    }
}

#[tokio::test]
async fn clients_with_credentials_are_known_over_both_versions_of_http() {
    for scheme in ["http", "h2c"] {
        let security = Security::new().authenticate(Slow);
        let server = serve(security, &format!("{scheme}://127.0.0.1:0")).await;
        let remote = client(&server)
            .credentials(bearer("alice"))
            .build()
            .unwrap();
        let reply = within(remote.process(Message::user("?"))).await.unwrap();
        assert_eq!(reply.content["principal"], "alice");
        let clock = RemoteAgent::builder(server.endpoint()).name("clock");
        let clock = clock.credentials(bearer("alice")).build().unwrap();
        let mut chunks = clock.stream(Message::user("?"));
        within(chunks.next()).await.unwrap().unwrap();
        assert!(within(chunks.next()).await.is_none());
        let wrong = client(&server)
            .credentials(bearer("mallory"))
            .build()
            .unwrap();
        let error = within(wrong.process(Message::user("?"))).await.unwrap_err();
        assert_eq!(error.code().as_str(), "UNAUTHENTICATED");
        let mut chunks = wrong.stream(Message::user("?"));
        let error = within(chunks.next()).await.unwrap().unwrap_err();
        assert_eq!(error.code().as_str(), "UNAUTHENTICATED");
    }
}

#[tokio::test]
async fn a_client_sends_a_bearer_token_in_the_header_as_well() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let builder = || RemoteAgent::builder(&*endpoint);
    for (remote, header) in [
        (
            builder().credentials(bearer("alice")),
            Some("the secret token of alice"),
        ),
        (builder().credentials(ApiKey::new("key")), None),
        (builder(), None),
    ] {
        let remote = remote.build().unwrap();
        let call = tokio::spawn(async move { remote.process(Message::user("?")).await });
        let (mut stream, _) = within(listener.accept()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(within(stream.read_u8()).await.unwrap());
        }
        let head = String::from_utf8(head).unwrap();
        let found = head
            .lines()
            .find_map(|line| line.strip_prefix("authorization: "));
        let expected = header.map(|token| format!("Bearer {token}"));
        assert_eq!(found, expected.as_deref(), "{head}");
        call.abort();
    }
}

#[tokio::test]
async fn a_quota_that_is_used_up_has_its_own_status() {
    let quota = Quota::new().requests_per_minute(2).burst(2);
    let security = Security::new().quota(quota);
    let server = serve(security, "http://127.0.0.1:0").await;
    let mut peer = Peer::connect(server.endpoint()).await;
    for _ in 0..2 {
        assert_eq!(peer.ask("/process", &to("weather")).await.status, 200);
    }
    for path in ["/process", "/stream"] {
        let reply = peer.ask(path, &to("clock")).await;
        assert_eq!((reply.status, &*reply.code()), (429, "RATE_LIMITED"));
        let wait: u64 = reply.header("retry-after").unwrap().parse().unwrap();
        assert!((1..=60).contains(&wait), "{wait}");
    }
}

#[tokio::test]
async fn the_route_auth_tells_whether_a_credential_is_needed() {
    let silent = || {
        stream_fn("silent", |message: Message| {
            futures_util::stream::iter([Ok(message)])
        })
    };
    let builder = || {
        LocalAgent::builder(silent())
            .endpoint("http://127.0.0.1:0")
            .http_options(HttpOptions::new().invoke_routes(true))
    };
    let open = within(builder().serve()).await.unwrap();
    let mut peer = Peer::connect(open.endpoint()).await;
    let auth = peer.get("GET", "/auth", "").await;
    let schemes = Vec::<agentwire::Value>::new();
    let expected = map! {"required": false, "schemes": schemes, "authenticated": false};
    assert_eq!(auth.json(), agentwire::Value::from(expected));

    let security = Security::new().authenticate(tokens([alice()]));
    let closed = within(builder().security(security).serve()).await.unwrap();
    let mut peer = Peer::connect(closed.endpoint()).await;
    let right = format!("Authorization: Bearer {}\r\n", token("alice"));
    for (header, is_authenticated) in [("", false), (&*right, true)] {
        let auth = peer.get("GET", "/auth", header).await;
        assert_eq!(auth.status, 200);
        assert_eq!(auth.json()["required"], true);
        assert_eq!(auth.json()["schemes"][0], "bearer");
        assert_eq!(auth.json()["authenticated"], is_authenticated);
    }
    let auth = peer
        .get("GET", "/auth", "Authorization: Bearer wrong\r\n")
        .await;
    assert_eq!(auth.status, 401);
    assert_eq!(auth.json()["error"]["code"], "UNAUTHENTICATED");
    let body = r#"{"input": "x"}"#;
    let reply = peer.ask("/invoke", body).await;
    assert_eq!(reply.status, 401);
    assert_eq!(reply.json()["error"]["code"], "UNAUTHENTICATED");
    assert_eq!(peer.ask("/invoke/stream", body).await.status, 401);
}
