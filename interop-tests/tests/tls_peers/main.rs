//! TLS with independent implementations: OpenSSL, GnuTLS, Python's module `ssl`, stunnel and socat,
//! and with certificates that OpenSSL has made.

mod authority;

use std::{process::Stdio, time::Duration};

use agentwire::{
    Endpoint, Error, LocalAgent, Message, RemoteAgent, RetryPolicy, TlsClient, TlsServer, agent_fn,
    transport::{CertificateProblem, Connector, EndpointConnector, Listener, TcpOptions, TlsError},
};
use agentwire_interop_tests::{
    AgentKind, Carrier, PythonPeer, PythonServer, TempEndpoint, TestFailure, TestResult, expect,
    expect_that, script_command, within,
};
use authority::{Authority, text};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    process::{Child, Command},
    time::sleep,
};

/// Starts an agent at a `tls://` endpoint. Returns the agent and its port.
async fn serve(authority: &Authority, name: &str) -> Result<(LocalAgent, u16), TestFailure> {
    let echo = agent_fn("echo", |message: Message| async {
        Ok(Message::agent(message.content))
    });
    let server = LocalAgent::builder(echo)
        .tls(server_tls(authority, name)?)
        .endpoint("tls://127.0.0.1:0")
        .serve()
        .await?;
    let port = server
        .endpoint()
        .host_and_port()
        .map_or(0, |(_, port)| port);
    Ok((server, port))
}

fn server_tls(authority: &Authority, name: &str) -> Result<TlsServer, TestFailure> {
    let [certificate, key] = ["pem", "key"].map(|end| authority.file(&format!("{name}.{end}")));
    Ok(TlsServer::from_pem(certificate, key)?)
}

fn client_tls(authority: &Authority) -> Result<TlsClient, TestFailure> {
    Ok(TlsClient::new().ca(authority.file("ca.pem"))?)
}

/// A request as a frame. The answer contains the text `over TLS`.
fn request() -> Vec<u8> {
    let envelope = r#"{"version": "1.0", "type": "request", "id": "a", "timestamp": "2026-11-29T12:00:00+00:00", "payload": {"method": "process", "message": {"role": "user", "content": "over TLS", "metadata": {}, "timestamp": "2026-11-29T12:00:00+00:00"}}}"#;
    let mut frame = vec![0, 0];
    let len = u16::try_from(envelope.len()).unwrap_or_default();
    frame.extend_from_slice(&len.to_be_bytes());
    frame.extend_from_slice(envelope.as_bytes());
    frame
}

/// Runs a client that copies between its own streams and the connection. Sends a request, and waits
/// for its answer or for the end of the client. Returns the output of the client.
async fn ask_with(command: &mut Command) -> Result<String, TestFailure> {
    let mut child = spawn(command)?;
    let (Some(mut stdin), Some(mut stdout), Some(mut stderr)) =
        (child.stdin.take(), child.stdout.take(), child.stderr.take())
    else {
        return Err(TestFailure::new("no pipes"));
    };
    // The client may have ended.
    let _ = stdin.write_all(&request()).await;
    let mut output = Vec::new();
    let mut buffer = vec![0; 4096];
    loop {
        let count = stdout.read(&mut buffer).await?;
        output.extend_from_slice(&buffer[..count]);
        let shown = String::from_utf8_lossy(&output);
        if count == 0 || shown.contains(r#""role": "agent""#) {
            break;
        }
    }
    drop(stdin);
    let _ = child.start_kill();
    let mut rest = Vec::new();
    stderr.read_to_end(&mut rest).await?;
    output.extend_from_slice(&rest);
    Ok(String::from_utf8_lossy(&output).into_owned())
}

fn spawn(command: &mut Command) -> Result<Child, TestFailure> {
    Ok(command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?)
}

fn s_client(authority: &Authority, port: u16, more: &[&str]) -> Command {
    let mut command = Command::new("openssl");
    let address = format!("127.0.0.1:{port}");
    command
        .args(["s_client", "-quiet", "-connect", &address])
        .args(["-CAfile", text(&authority.file("ca.pem"))])
        .args(["-verify_return_error", "-verify_ip", "127.0.0.1"])
        .args(more);
    command
}

fn expect_answer(output: &str) -> TestResult {
    expect_that(
        output.contains(r#""type": "response""#) && output.contains("over TLS"),
        || output.to_owned(),
    )
}

#[tokio::test]
async fn openssl_reaches_a_server_with_tls_1_3_and_not_with_1_2() -> TestResult {
    within(async {
        let authority = Authority::new("ours").await?;
        authority.issue("server", "IP:127.0.0.1").await?;
        let (server, port) = serve(&authority, "server").await?;
        let output = ask_with(&mut s_client(&authority, port, &["-tls1_3"])).await?;
        expect_answer(&output)?;
        let output = ask_with(&mut s_client(&authority, port, &["-tls1_2"])).await?;
        expect_that(output.contains("alert protocol version"), || output)?;
        server.stop().await;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn gnutls_reaches_a_server() -> TestResult {
    within(async {
        let authority = Authority::new("ours").await?;
        authority.issue("server", "IP:127.0.0.1").await?;
        let (server, port) = serve(&authority, "server").await?;
        let mut command = Command::new("gnutls-cli");
        command
            .args(["--x509cafile", text(&authority.file("ca.pem"))])
            .args(["--port", &port.to_string(), "127.0.0.1"]);
        let output = ask_with(&mut command).await?;
        expect_answer(&output)?;
        expect_that(output.contains("TLS1.3"), || output)?;
        server.stop().await;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn the_module_ssl_of_python_calls_a_server() -> TestResult {
    within(async {
        let authority = Authority::new("ours").await?;
        authority.issue("server", "IP:127.0.0.1").await?;
        let (server, port) = serve(&authority, "server").await?;
        let (port, ca) = (port.to_string(), authority.file("ca.pem"));
        let mut command = script_command("tls_call.py", &["127.0.0.1", &port, text(&ca)])?;
        let output = tokio::task::spawn_blocking(move || command.output()).await??;
        let stdout = String::from_utf8_lossy(&output.stdout);
        expect_that(stdout.starts_with("TLSv1.3 over TLS"), || {
            format!("{output:?}")
        })?;
        server.stop().await;
        Ok(())
    })
    .await
}

/// Calls a Python server through a program that ends TLS in front of it.
async fn call_through(
    peer: PythonPeer,
    terminator: impl Fn(&Authority, u16, u16) -> Result<Command, TestFailure>,
) -> TestResult {
    within(async {
        let authority = Authority::new("ours").await?;
        authority.issue("server", "IP:127.0.0.1").await?;
        let listen = TempEndpoint::new(Carrier::Tcp)?;
        let server = PythonServer::start_on(peer, AgentKind::Interop, listen.endpoint()).await?;
        let behind: Endpoint = server.endpoint().parse()?;
        let behind = behind.host_and_port().map_or(0, |(_, port)| port);
        let port = free_port().await?;
        let _running = spawn(&mut terminator(&authority, port, behind)?)?;
        while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            sleep(Duration::from_millis(20)).await;
        }
        let remote = RemoteAgent::builder(format!("tls://127.0.0.1:{port}"))
            .tls(client_tls(&authority)?)
            .build()?;
        for content in ["hello", "żółw 🐢", &"x".repeat(1 << 20)] {
            let reply = remote.process(Message::user(content)).await?;
            expect("the answer", &reply.text(), &Some(content))?;
        }
        let request = Message::user("part").with_metadata("count", 100);
        let mut chunks = remote.stream(request);
        let mut count = 0;
        while let Some(chunk) = chunks.next().await {
            chunk?;
            count += 1;
        }
        expect("the chunks", &count, &100)
    })
    .await
}

async fn free_port() -> Result<u16, TestFailure> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    Ok(listener.local_addr()?.port())
}

fn socat(authority: &Authority, port: u16, behind: u16) -> Result<Command, TestFailure> {
    let mut command = Command::new("socat");
    let (certificate, key) = (authority.file("server.pem"), authority.file("server.key"));
    command.arg(format!(
        "OPENSSL-LISTEN:{port},bind=127.0.0.1,reuseaddr,fork,verify=0,cert={},key={}",
        text(&certificate),
        text(&key)
    ));
    command.arg(format!("TCP:127.0.0.1:{behind}"));
    Ok(command)
}

fn stunnel(authority: &Authority, port: u16, behind: u16) -> Result<Command, TestFailure> {
    let file = authority.file("stunnel.conf");
    let (certificate, key) = (authority.file("server.pem"), authority.file("server.key"));
    let config = format!(
        "foreground = yes\npid =\n[agent]\naccept = 127.0.0.1:{port}\n\
         connect = 127.0.0.1:{behind}\ncert = {}\nkey = {}\n",
        text(&certificate),
        text(&key)
    );
    std::fs::write(&file, config)?;
    let mut command = Command::new("stunnel");
    command.arg(file);
    Ok(command)
}

#[tokio::test]
async fn a_python_server_behind_socat_is_called() -> TestResult {
    call_through(PythonPeer::Own, socat).await
}

#[tokio::test]
async fn a_python_server_behind_stunnel_is_called() -> TestResult {
    call_through(PythonPeer::Own, stunnel).await
}

#[cfg(feature = "agenkit")]
#[tokio::test]
async fn agenkit_behind_stunnel_is_called() -> TestResult {
    call_through(PythonPeer::Agenkit, stunnel).await
}

/// Issues the certificates of the tests of refusals: good ones, and one for each problem.
async fn authorities() -> Result<(Authority, Authority), TestFailure> {
    let (authority, other) = (
        Authority::new("ours").await?,
        Authority::new("theirs").await?,
    );
    for name in ["server", "client"] {
        authority.issue(name, "IP:127.0.0.1").await?;
    }
    authority.issue_expired("expired", "IP:127.0.0.1").await?;
    authority
        .issue("elsewhere", "DNS:elsewhere.example")
        .await?;
    authority.issue("revoked", "IP:127.0.0.1").await?;
    authority.revoke("revoked").await?;
    other.issue("stranger", "IP:127.0.0.1").await?;
    Ok((authority, other))
}

#[tokio::test]
async fn a_client_says_why_it_refuses_a_server_of_openssl_and_why_it_is_refused() -> TestResult {
    within(async {
        let (authority, other) = authorities().await?;
        let refuses = |problem| TlsError::Certificate(problem);
        let cases = [
            (&authority, "expired", refuses(CertificateProblem::Expired)),
            (
                &other,
                "stranger",
                refuses(CertificateProblem::UnknownIssuer),
            ),
            (
                &authority,
                "elsewhere",
                refuses(CertificateProblem::WrongName),
            ),
            (&authority, "revoked", refuses(CertificateProblem::Revoked)),
        ];
        for (from, name, expected) in cases {
            let tls = client_tls(&authority)?.crl(authority.file("crl.pem"))?;
            let found = call_s_server(&authority, from, name, &[], tls).await?;
            expect(name, &found, &Some(expected))?;
        }
        let crl = authority.file("crl.pem");
        let required = ["-Verify", "1", "-verify_return_error"];
        let checked = [&required[..], &["-crl_check", "-CRL", text(&crl)]].concat();
        let identity = |from: &Authority, name: &str| -> Result<TlsClient, TestFailure> {
            let [certificate, key] = ["pem", "key"].map(|end| from.file(&format!("{name}.{end}")));
            Ok(client_tls(&authority)?.identity(certificate, key)?)
        };
        let refused = |problem| TlsError::Refused(problem);
        let cases = [
            (
                client_tls(&authority)?,
                &required[..],
                refused(CertificateProblem::Missing),
            ),
            (
                identity(&authority, "expired")?,
                &required,
                refused(CertificateProblem::Expired),
            ),
            (
                identity(&other, "stranger")?,
                &required,
                refused(CertificateProblem::UnknownIssuer),
            ),
            (
                identity(&authority, "revoked")?,
                &checked,
                refused(CertificateProblem::Revoked),
            ),
        ];
        for (tls, options, expected) in cases {
            let found = call_s_server(&authority, &authority, "server", options, tls).await?;
            expect(
                format_args!("{expected:?}"),
                &found,
                &Some(expected.clone()),
            )?;
        }
        Ok(())
    })
    .await
}

/// Calls `openssl s_server`, which answers nothing. Returns why TLS failed.
async fn call_s_server(
    trusted: &Authority,
    authority: &Authority,
    name: &str,
    options: &[&str],
    tls: TlsClient,
) -> Result<Option<TlsError>, TestFailure> {
    let port = free_port().await?;
    let [certificate, key] = ["pem", "key"].map(|end| authority.file(&format!("{name}.{end}")));
    let mut command = Command::new("openssl");
    let address = format!("127.0.0.1:{port}");
    command
        .args(["s_server", "-quiet", "-accept", &address, "-tls1_3"])
        .args(["-cert", text(&certificate), "-key", text(&key)])
        .args(["-CAfile", text(&trusted.file("ca.pem"))])
        .args(options);
    let _running = spawn(&mut command)?;
    let endpoint: Endpoint = format!("tls://127.0.0.1:{port}").parse()?;
    let remote = RemoteAgent::builder(&endpoint)
        .tls(tls)
        .retry(RetryPolicy::never())
        .build()?;
    loop {
        match remote.process(Message::user("x")).await {
            Err(Error::ConnectionFailed { source, .. }) if source.is_refused() => {
                // The server is starting.
                sleep(Duration::from_millis(20)).await;
            }
            Err(Error::ConnectionFailed { source, .. }) => return Ok(source.tls().cloned()),
            other => return Err(TestFailure::new(format!("{other:?}"))),
        }
    }
}

#[tokio::test]
async fn a_server_says_why_it_refuses_a_client_of_openssl_and_why_it_is_refused() -> TestResult {
    within(async {
        let (authority, other) = authorities().await?;
        let tls = server_tls(&authority, "server")?
            .client_ca(authority.file("ca.pem"))?
            .crl(authority.file("crl.pem"))?;
        let mut listener = Listener::bind_tls(&"tls://127.0.0.1:0".parse()?, tls).await?;
        let port = listener
            .endpoint()
            .host_and_port()
            .map_or(0, |(_, port)| port);
        let identity = |from: &Authority, name: &str| {
            let [certificate, key] = ["pem", "key"].map(|end| from.file(&format!("{name}.{end}")));
            ["-cert", text(&certificate), "-key", text(&key)]
                .map(str::to_owned)
                .to_vec()
        };
        let refuses = |problem| TlsError::Certificate(problem);
        let mut distrusting = identity(&authority, "client");
        distrusting.extend(["-CAfile", text(&other.file("ca.pem"))].map(str::to_owned));
        let cases = [
            (
                Vec::new(),
                refuses(CertificateProblem::Missing),
                "certificate required",
            ),
            (
                identity(&authority, "expired"),
                refuses(CertificateProblem::Expired),
                "certificate expired",
            ),
            (
                identity(&other, "stranger"),
                refuses(CertificateProblem::UnknownIssuer),
                "unknown ca",
            ),
            (
                identity(&authority, "revoked"),
                refuses(CertificateProblem::Revoked),
                "certificate revoked",
            ),
            (
                distrusting,
                TlsError::Refused(CertificateProblem::UnknownIssuer),
                "unable to get local issuer",
            ),
        ];
        for (options, expected, told) in cases {
            let options: Vec<_> = options.iter().map(String::as_str).collect();
            let mut command = s_client(&authority, port, &options);
            let accept = async {
                let mut connection = listener.accept().await?;
                let error = connection.handshake().await.err();
                Ok::<_, TestFailure>(error.and_then(|error| error.tls().cloned()))
            };
            let (found, output) = tokio::join!(accept, ask_with(&mut command));
            expect(told, &found?, &Some(expected))?;
            let output = output?;
            expect_that(output.contains(told), || format!("{told}: {output}"))?;
        }
        Ok(())
    })
    .await
}

/// A new authority often has the name of the old one.
#[tokio::test]
async fn an_authority_of_the_same_name_is_not_trusted() -> TestResult {
    within(async {
        let authority = Authority::new("ours").await?;
        authority.issue("server", "IP:127.0.0.1").await?;
        let (server, port) = serve(&authority, "server").await?;
        let endpoint: Endpoint = format!("tls://127.0.0.1:{port}").parse()?;
        let connector = EndpointConnector::new(endpoint, TcpOptions::new());
        let other = Authority::new("ours").await?;
        let connected = connector.with_tls(client_tls(&other)?).connect().await;
        let found = connected.err().and_then(|error| error.tls().cloned());
        let expected = TlsError::Certificate(CertificateProblem::UnknownIssuer);
        expect("the error", &found, &Some(expected))?;
        server.stop().await;
        Ok(())
    })
    .await
}
