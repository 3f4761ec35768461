//! Searches everything that the program writes for credentials.

use std::{fs, fs::File};

use agentwire::auth::TokenDigest;
use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
};

use crate::program::{Finished, Server, finish, program, within};

/// The token of the only principal. It has no part that appears elsewhere.
const TOKEN: &str = "hunter2-OMEGA-hunter2";
/// A token of no principal.
const WRONG: &str = "wrong2-OMEGA-wrong2";

#[tokio::test]
async fn no_log_record_or_error_contains_a_credential() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).display().to_string();
    let (auth, audit, file) = (path("auth.toml"), path("audit.jsonl"), path("token"));
    let digest = TokenDigest::of(TOKEN).to_hex();
    let principal = format!(
        "[[principal]]\nname = \"alice\"\nroles = [\"agent-full\"]\ntoken_sha256 = \"{digest}\"\n"
    );
    fs::write(&auth, principal).unwrap();
    fs::write(&file, TOKEN).unwrap();
    let start = async |args: &[&str]| {
        let secured = ["--auth", &auth, "--audit", &audit, "-vvv"];
        Server::start([args, &secured].concat()).await
    };
    let registry = Server::start([
        "registry",
        "serve",
        "tcp://127.0.0.1:0",
        "--auth",
        &auth,
        "-vvv",
    ])
    .await;
    let url = &*registry.endpoint;
    let mut agent = start(&[
        "serve",
        "tcp://127.0.0.1:0",
        "--registry",
        url,
        "--token-file",
        &file,
    ])
    .await;
    assert!(agent.running.line().await.starts_with("registered "));
    let target = &*agent.endpoint;
    let proxy_args = ["proxy", "tcp://127.0.0.1:0", target, "--token-file", &file];
    let proxy = Server::start([&proxy_args[..], &["--auth", &auth, "-vvv"]].concat()).await;

    let mut texts: Vec<(String, String)> = Vec::new();
    let mut keep = |what: String, finished: Finished| {
        texts.push((
            format!("{what}: standard output"),
            String::from_utf8_lossy(&finished.stdout).into_owned(),
        ));
        texts.push((format!("{what}: standard error"), finished.stderr));
    };
    for endpoint in [target, &proxy.endpoint] {
        for token in [TOKEN, WRONG] {
            for command in [
                &["call", endpoint, "hello"][..],
                &["stream", endpoint, "hello"],
                &["execute", endpoint, "tool"],
                &["describe", endpoint],
                &["ping", endpoint],
                &["bench", endpoint, "-n", "2"],
                &["registry", "list", url],
                &["registry", "lookup", url, "echo"],
                &["call", "--registry", url, "--name", "echo", "hello"],
                // The token in a wrong place.
                &["call", "tcp://127.0.0.1:1", "hello"],
                &["call", endpoint, "hello", "--timeout", "1ns"],
            ] {
                let mut given = program(command);
                given.args(["-vvv", "--token", token]);
                keep(command.join(" "), finish(given).await);
                let mut variable = program(command);
                variable.arg("-vvv").env("AGENTWIRE_TOKEN", token);
                keep(command.join(" "), finish(variable).await);
            }
        }
        for help in [&["call", "--help"][..], &["serve", "--help"]] {
            let mut command = program(help);
            command.env("AGENTWIRE_TOKEN", TOKEN);
            keep(help.join(" "), finish(command).await);
        }
    }
    // A credential in the message itself, as Python programs send it.
    for key in ["authorization", "token", "api_key"] {
        let metadata = match key {
            "authorization" => format!("{{\"{key}\": \"Bearer {TOKEN}\"}}"),
            _ => format!("{{\"{key}\": \"{TOKEN}\"}}"),
        };
        let mut command = program(["call", target, "hello", "--metadata", &metadata, "--raw"]);
        command.arg("-vvv");
        keep(format!("call with {key}"), finish(command).await);
    }
    // A token in place of its digest, and an unknown key.
    for wrong in [
        format!("[[principal]]\nname = \"a\"\ntoken_sha256 = \"{TOKEN}\"\n"),
        format!("[[principal]]\nname = \"a\"\ntoken = \"{TOKEN}\"\n"),
        format!("token_sha256 = {TOKEN}\n"),
        format!("[[principal]]\nname = \"a\"\nuid = \"{TOKEN}\"\n"),
    ] {
        let path = path("wrong.toml");
        fs::write(&path, &wrong).unwrap();
        let command = program(["serve", "tcp://127.0.0.1:0", "--auth", &path, "-vvv"]);
        keep("a wrong auth file".to_owned(), finish(command).await);
    }
    for (what, server) in [("proxy", proxy), ("agent", agent), ("registry", registry)] {
        server.running.send(Signal::TERM);
        keep(what.to_owned(), server.running.end().await);
    }
    texts.push(("audit".to_owned(), fs::read_to_string(&audit).unwrap()));

    assert_no_secret(&texts, &digest);
}

#[track_caller]
fn assert_no_secret(texts: &[(String, String)], digest: &str) {
    let all: usize = texts.iter().map(|(_, text)| text.len()).sum();
    assert!(all > 10_000, "the logs have {all} bytes");
    for (what, text) in texts {
        for secret in ["OMEGA", digest] {
            let line = text.lines().find(|line| line.contains(secret));
            assert_eq!(line, None, "{what}");
        }
    }
}

/// Sends a request and returns all that is answered. `ends` closes the sending half, for servers that
/// wait for more.
async fn exchange(address: &str, request: &[u8], ends: bool) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request).await.unwrap();
    if ends {
        let _ = stream.shutdown().await;
    }
    let mut answer = Vec::new();
    // The connection may also be reset.
    let _ = within(stream.read_to_end(&mut answer)).await;
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn no_carrier_and_no_page_shows_a_credential() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).display().to_string();
    let digest = TokenDigest::of(TOKEN).to_hex();
    let principal = format!(
        "[[principal]]\nname = \"alice\"\nroles = [\"admin\"]\ntoken_sha256 = \"{digest}\"\n"
    );
    fs::write(path("auth.toml"), principal).unwrap();
    let mut texts: Vec<(String, String)> = Vec::new();
    for format in ["text", "json"] {
        let (log, audit) = (
            path(&format!("{format}.log")),
            path(&format!("{format}.jsonl")),
        );
        let mut command = program([
            "serve",
            "tcp://127.0.0.1:0",
            "ws://127.0.0.1:0",
            "http://127.0.0.1:0",
            "grpc://127.0.0.1:0",
            "--admin",
            "http://127.0.0.1:0",
            "--tool",
            "add",
            "-vvv",
            "--log-format",
            format,
            "--auth",
            &path("auth.toml"),
            "--audit",
            &audit,
        ]);
        // A file, because the log drops lines that a pipe does not take.
        command.stderr(File::create(&log).unwrap());
        let mut server = command.spawn().unwrap();
        let mut lines = BufReader::new(server.stdout.take().unwrap()).lines();
        let (mut admin, mut endpoints) = (String::new(), Vec::new());
        while endpoints.len() < 4 {
            let line = within(lines.next_line()).await.unwrap().unwrap();
            match line.split_once(" on ").unwrap() {
                ("admin", url) => url.clone_into(&mut admin),
                (_, endpoint) => endpoints.push(endpoint.to_owned()),
            }
        }
        for endpoint in &endpoints {
            for token in [TOKEN, WRONG] {
                for command in [
                    &["call", endpoint, "hello"][..],
                    &["stream", endpoint, "hello"],
                    &["execute", endpoint, "add", "{\"a\": 1, \"b\": 2}"],
                    &["describe", endpoint],
                    &["ping", endpoint],
                ] {
                    let mut command = program(command);
                    command.args(["-vvv", "--log-format", format, "--token", token]);
                    let finished = finish(command).await;
                    let stdout = String::from_utf8_lossy(&finished.stdout).into_owned();
                    texts.push((format!("{endpoint} {stdout}"), stdout));
                    texts.push((format!("{endpoint}: standard error"), finished.stderr));
                }
                // Keys in a case that is wrong in metadata, and headers.
                let metadata = format!(
                    r#"{{"Authorization": "Bearer {token}", "TOKEN": "{token}", "Api_Key": "{token}"}}"#
                );
                let address = endpoint.split_once("://").unwrap().1;
                let body = format!(
                    r#"{{"version": "1.0", "id": "1", "type": "request", "payload": {{"method": "process", "message": {{"role": "user", "content": "?", "metadata": {metadata}}}}}}}"#
                );
                let length = u32::try_from(body.len()).unwrap().to_be_bytes();
                let framed = [&length[..], body.as_bytes()].concat();
                let post = |path: &str, headers: &str| {
                    format!(
                        "POST {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\
                         Content-Type: application/json\r\n{headers}\
                         Content-Length: {}\r\n\r\n{body}",
                        body.len()
                    )
                };
                let header = format!("Authorization: Bearer {token}\r\n");
                let requests = match endpoint.split_once("://").unwrap().0 {
                    "http" => vec![
                        post("/process", &header),
                        post("/stream", &header),
                        post("/process", &header.repeat(2)),
                        post("/process", &format!("Authorization: {token}\r\n")),
                        post(&format!("/process?token={token}"), &header),
                        post("/nowhere", &header),
                        format!("BROKEN {header}\r\n\r\n"),
                        format!("GET /describe HTTP/1.0\r\n{header}\r\n"),
                    ],
                    "ws" => vec![format!(
                        "GET /?token={token} HTTP/1.1\r\nHost: a\r\n{header}Upgrade: websocket\r\n\
                         Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n\u{8}\0"
                    )],
                    _ => Vec::new(),
                };
                let mut requests: Vec<_> = requests.into_iter().map(String::into_bytes).collect();
                if endpoint.starts_with("tcp") {
                    requests.push(framed);
                }
                for request in requests {
                    // The agent repeats the metadata that it sees.
                    let answer = exchange(address, &request, !endpoint.starts_with("http")).await;
                    let request = String::from_utf8_lossy(&request).into_owned();
                    texts.push((format!("{endpoint}: {request:?}"), answer));
                }
            }
        }
        let admin = admin.strip_prefix("http://").unwrap();
        for page in [
            "/",
            "/metrics",
            "/connections",
            "/stats",
            "/ready",
            "/health",
        ] {
            for (token, status) in [(WRONG, " 401"), (TOKEN, " 200")] {
                let request = format!(
                    "GET {page} HTTP/1.1\r\nHost: {admin}\r\nAuthorization: Bearer {token}\r\n\
                     Connection: close\r\n\r\n"
                );
                let answer = exchange(admin, request.as_bytes(), false).await;
                let is_open = ["/", "/ready", "/health"].contains(&page);
                assert!(
                    is_open || answer[8..].starts_with(status),
                    "{page}: {answer}"
                );
                texts.push((page.to_owned(), answer));
            }
        }
        let pid = i32::try_from(server.id().unwrap()).unwrap();
        kill_process(Pid::from_raw(pid).unwrap(), Signal::TERM).unwrap();
        assert!(within(server.wait()).await.unwrap().success());
        let record = fs::read_to_string(&audit).unwrap();
        for outcome in ["allowed", "denied"] {
            assert!(
                record.contains(&format!(r#""outcome": "{outcome}""#)),
                "{record}"
            );
        }
        let log = fs::read_to_string(&log).unwrap();
        assert!(log.contains("/process"), "the log has no requests of HTTP");
        texts.extend([(audit, record), (format!("{format} log"), log)]);
    }
    assert_no_secret(&texts, &digest);
}
