//! nginx and haproxy, which end TLS in front of a server.

use std::{fs, time::Duration};

use agentwire::{Message, RemoteAgent, TlsClient};
use agentwire_interop_tests::{TestFailure, TestResult, expect, within};
use tokio::{
    net::{TcpListener, TcpStream},
    process::{Child, Command},
    time::sleep,
};

use super::{
    Served, authority,
    authority::{Authority, text},
    spawn,
};

/// A program that listens with TLS at one port, and forwards to another.
async fn start(
    authority: &Authority,
    behind: u16,
    terminator: fn(&Authority, u16, u16) -> Result<Command, TestFailure>,
) -> Result<(Child, u16), TestFailure> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let port = listener.local_addr()?.port();
    drop(listener);
    let child = spawn(&mut terminator(authority, port, behind)?)?;
    while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
        sleep(Duration::from_millis(20)).await;
    }
    Ok((child, port))
}

fn nginx(authority: &Authority, port: u16, behind: u16) -> Result<Command, TestFailure> {
    let file = authority.file("nginx.conf");
    let directory = authority.file("");
    let (certificate, key) = (authority.file("server.pem"), authority.file("server.key"));
    let config = format!(
        "daemon off;\nmaster_process off;\npid nginx.pid;\nerror_log stderr error;\n\
         events {{ worker_connections 256; }}\n\
         http {{\n\
         access_log off;\n\
         client_body_temp_path body;\nproxy_temp_path proxy;\nfastcgi_temp_path fastcgi;\n\
         uwsgi_temp_path uwsgi;\nscgi_temp_path scgi;\n\
         client_max_body_size 16m;\n\
         map $http_upgrade $connection_upgrade {{ default upgrade; '' ''; }}\n\
         server {{\n\
         listen 127.0.0.1:{port} ssl http2;\n\
         ssl_protocols TLSv1.3;\nssl_certificate {};\nssl_certificate_key {};\n\
         location / {{\n\
         proxy_pass http://127.0.0.1:{behind};\n\
         proxy_http_version 1.1;\n\
         proxy_set_header Upgrade $http_upgrade;\n\
         proxy_set_header Connection $connection_upgrade;\n\
         }}\n}}\n}}\n",
        text(&certificate),
        text(&key)
    );
    fs::write(&file, config)?;
    let mut command = Command::new("nginx");
    command.args(["-p", text(&directory), "-c", text(&file)]);
    Ok(command)
}

/// haproxy, which speaks HTTP/2 with the server, too.
fn haproxy(authority: &Authority, port: u16, behind: u16) -> Result<Command, TestFailure> {
    let both = authority.file("both.pem");
    let mut pem = fs::read(authority.file("server.pem"))?;
    pem.extend(fs::read(authority.file("server.key"))?);
    fs::write(&both, pem)?;
    let file = authority.file("haproxy.cfg");
    let config = format!(
        "defaults\n  mode http\n  timeout connect 30s\n  timeout client 300s\n  timeout server 300s\n\
         frontend tls\n  bind 127.0.0.1:{port} ssl crt {} alpn h2,http/1.1\n\
         \x20 use_backend upgrades if {{ hdr(upgrade) -i websocket }}\n  default_backend agent\n\
         backend agent\n  server agent 127.0.0.1:{behind} proto h2\n\
         backend upgrades\n  server agent 127.0.0.1:{behind}\n",
        text(&both)
    );
    fs::write(&file, config)?;
    let mut command = Command::new("haproxy");
    command.args(["-db", "-q", "-f", text(&file)]);
    Ok(command)
}

/// Calls and streams from a server behind a terminator.
async fn reaches_a_server(
    scheme: &str,
    terminator: fn(&Authority, u16, u16) -> Result<Command, TestFailure>,
) -> TestResult {
    within(Box::pin(async {
        let authority = authority().await?;
        let served = Served::plain().await?;
        let (_running, port) = start(&authority, served.port, terminator).await?;
        let remote = RemoteAgent::builder(format!("{scheme}://127.0.0.1:{port}"))
            .tls(TlsClient::new().ca(authority.file("ca.pem"))?)
            .timeout(Duration::from_secs(120))
            .build()?;
        for content in ["hello", "żółw 🐢\u{2028}", &"x".repeat(1 << 20)] {
            let reply = remote.process(Message::user(content)).await?;
            expect("the answer", &reply.text(), &Some(content))?;
        }
        let calls = (0..64).map(|_| remote.process(Message::user("at once")));
        for reply in futures_util::future::join_all(calls).await {
            expect("the answer", &reply?.text(), &Some("at once"))?;
        }
        let mut chunks = remote.stream(Message::user("part"));
        for i in 0..3 {
            // The second chunk is made after the first one has arrived, so nothing may collect
            // them on the way.
            if i == 1 {
                served.agent.go_on.notify_one();
            }
            let Some(chunk) = chunks.next().await else {
                return Err(TestFailure::new(format!("no chunk {i}")));
            };
            expect("the index", &chunk?.metadata["i"].as_i64(), &Some(i))?;
        }
        let is_over = chunks.next().await.is_none();
        expect("the end of the stream", &is_over, &true)?;
        served.server.stop().await;
        Ok(())
    }))
    .await
}

#[tokio::test]
async fn a_client_of_https_reaches_a_server_behind_nginx() -> TestResult {
    reaches_a_server("https", nginx).await
}

#[tokio::test]
async fn a_client_of_wss_reaches_a_server_behind_nginx() -> TestResult {
    reaches_a_server("wss", nginx).await
}

#[tokio::test]
async fn a_client_of_https_reaches_a_server_behind_haproxy() -> TestResult {
    reaches_a_server("https", haproxy).await
}

#[tokio::test]
async fn a_client_of_wss_reaches_a_server_behind_haproxy() -> TestResult {
    reaches_a_server("wss", haproxy).await
}
