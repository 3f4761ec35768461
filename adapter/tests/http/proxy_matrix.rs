//! A proxy between every pair of schemes.

use agentwire::{
    Endpoint, LocalAgent, Map, Message, Proxy, RemoteAgent, RetryPolicy, TlsClient, TlsServer,
    ToolResult, Value, tool_fn,
};
use futures_util::{StreamExt, future::join_all};

use crate::{
    common::{ScriptedAgent, within},
    tls::authority::Authority,
};

/// Schemes with a port of their own. The socket of `unix` is in a directory.
const SCHEMES: [&str; 11] = [
    "unix", "tcp", "tls", "ws", "wss", "http", "h2c", "https", "grpc", "grpcs", "memory",
];

/// Returns an endpoint of each scheme.
fn endpoints(directory: &std::path::Path, name: &str) -> Vec<Endpoint> {
    let endpoint = |scheme: &str| match scheme {
        "unix" => format!("unix://{}/{name}.sock", directory.display()),
        "memory" => format!("memory://matrix-{name}-{:016x}", fastrand::u64(..)),
        "tcp" | "tls" | "grpc" | "grpcs" => format!("{scheme}://127.0.0.1:0"),
        _ => format!("{scheme}://127.0.0.1:0/{name}"),
    };
    SCHEMES
        .iter()
        .map(|scheme| endpoint(scheme).parse().unwrap())
        .collect()
}

/// Calls, streams, runs a tool and fails through one proxy. Returns the number of checks.
async fn check(cell: &str, remote: &RemoteAgent) -> usize {
    let contents = [
        Value::from("h\u{e9}\u{2028} \u{1f600} \"quoted\" \n"),
        "42".into(),
        "".into(),
        "x".repeat(100_000).into(),
        vec![Value::from(1), 2.5.into(), ().into(), "\u{e9}".into()].into(),
        Map::from([("z", Value::from(i64::MAX)), ("a", true.into())]).into(),
    ];
    for content in &contents {
        let reply = within(remote.process(Message::user(content.clone()))).await;
        let reply = reply.unwrap_or_else(|error| panic!("{cell}: {error:?}"));
        assert_eq!((&*reply.role, &reply.content), ("agent", content), "{cell}");
    }
    let chunks = remote.stream(Message::user("x")).collect::<Vec<_>>();
    let chunks: Result<Vec<_>, _> = within(chunks).await.into_iter().collect();
    let chunks = chunks.unwrap_or_else(|error| panic!("{cell}: {error:?}"));
    let indexes: Vec<_> = chunks
        .iter()
        .map(|chunk| chunk.metadata["i"].to_plain_text())
        .collect();
    assert_eq!(indexes, ["0", "1", "2"], "{cell}");

    let fail = Message::user("x").with_metadata("do", "fail");
    let error = within(remote.process(fail)).await.unwrap_err();
    let wire = error
        .remote()
        .unwrap_or_else(|| panic!("{cell}: {error:?}"));
    assert_eq!(wire.code.as_str(), "OUT_OF_STOCK", "{cell}");
    assert_eq!(wire.message, "out of stock", "{cell}");
    assert_eq!(wire.details["missing"], 3, "{cell}");

    let mut stream = remote.stream(Message::user("x").with_metadata("do", "stop"));
    assert!(within(stream.next()).await.unwrap().is_ok(), "{cell}");
    // A stream that is dropped in the middle disturbs nothing.
    drop(stream);

    let kwargs = Map::from([("a", 2), ("b", 3)]);
    let result = within(remote.execute("add", kwargs)).await;
    let result = result.unwrap_or_else(|error| panic!("{cell}: {error:?}"));
    assert_eq!(result.data, Value::from(5), "{cell}");
    let error = within(remote.execute("nope", Map::new()))
        .await
        .unwrap_err();
    assert_eq!(error.code().as_str(), "TOOL_NOT_FOUND", "{cell}");
    within(remote.ping())
        .await
        .unwrap_or_else(|error| panic!("{cell}: {error:?}"));
    contents.len() + 6
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_stands_between_every_pair_of_schemes() {
    let directory = tempfile::tempdir().unwrap();
    let authority = Authority::new("matrix");
    let issued = authority.server();
    let server_tls = TlsServer::from_pem(&issued.certificate, &issued.key).unwrap();
    let client_tls = TlsClient::new().ca(authority.file()).unwrap();
    let client = |endpoint: &Endpoint| {
        let builder = RemoteAgent::builder(endpoint).retry(RetryPolicy::never());
        if endpoint.is_secure() {
            builder.tls(client_tls.clone())
        } else {
            builder
        }
    };

    let add = tool_fn("add", |kwargs: Map| async move {
        let number = |key| kwargs[key].as_i64().unwrap_or_default();
        Ok(ToolResult::success(number("a") + number("b")))
    });
    let mut builder = LocalAgent::builder(ScriptedAgent)
        .tool(add)
        .tls(server_tls.clone());
    for endpoint in endpoints(directory.path(), "far") {
        builder = builder.endpoint(endpoint);
    }
    let server = within(builder.serve()).await.unwrap();
    assert_eq!(server.endpoints().len(), SCHEMES.len());

    let (mut cells, mut checks) = (0, 0);
    for (far, target) in SCHEMES.iter().zip(server.endpoints()) {
        let mut builder = Proxy::builder(client(target)).tls(server_tls.clone());
        for endpoint in endpoints(directory.path(), &format!("near-{far}")) {
            builder = builder.endpoint(endpoint);
        }
        let proxy = within(builder.serve()).await.unwrap();
        let row = SCHEMES
            .iter()
            .zip(proxy.endpoints())
            .map(|(near, endpoint)| {
                let remote = client(endpoint).build().unwrap();
                async move { check(&format!("{near} -> {far}"), &remote).await }
            });
        let row = join_all(row).await;
        cells += row.len();
        checks += row.iter().sum::<usize>();
        within(proxy.stop()).await;
    }
    println!("proxy matrix: {cells} pairs of schemes, {checks} checks");
    assert_eq!(cells, SCHEMES.len() * SCHEMES.len());
}
