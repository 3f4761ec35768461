//! Calls over WebSocket.

use std::time::Duration;

use agentwire::{
    AgentError, Endpoint, Error, FrameLimits, LocalAgent, Message, RemoteAgent, RequestContext,
    ToolResult, Value, WebSocketOptions, agent_fn, stream_fn, tool_fn, transport::WebSocketError,
};
use futures_util::future::join_all;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::oneshot,
};

use crate::common::within;

fn echo() -> impl agentwire::Agent {
    agent_fn("echo", |message: Message| async move {
        match message.text() {
            Some("fail") => Err(AgentError::new("as asked")),
            _ => Ok(Message::agent(message.content)),
        }
    })
}

async fn serve() -> LocalAgent {
    let tool = tool_fn("add", |kwargs: agentwire::Map| async move {
        let number = |name| kwargs.get(name).and_then(Value::as_i64).unwrap_or_default();
        Ok(ToolResult::success(number("a") + number("b")))
    });
    LocalAgent::builder(echo())
        .tool(tool)
        .endpoint("ws://127.0.0.1:0/any/path")
        .serve()
        .await
        .expect("serve")
}

#[tokio::test]
async fn calls_tools_and_errors_pass_on_exclusive_and_shared_connections() {
    let server = serve().await;
    for in_flight in [1, 16] {
        let remote = RemoteAgent::builder(server.endpoint())
            .max_in_flight_per_connection(in_flight)
            .build()
            .unwrap();
        let calls = (0..50).map(|number| {
            let remote = remote.clone();
            async move {
                let text = format!("{number}").repeat(number * 100);
                let reply = remote.process(Message::user(text.as_str())).await.unwrap();
                assert_eq!(reply.text(), Some(text.as_str()));
            }
        });
        within(join_all(calls)).await;
        let error = within(remote.process(Message::user("fail")))
            .await
            .unwrap_err();
        assert!(error.to_string().contains("as asked"), "{error}");
        let sum = within(remote.execute("add", agentwire::Map::from([("a", 1), ("b", 2)])))
            .await
            .unwrap();
        assert_eq!(sum.data, Value::from(3));
    }
    server.stop().await;
}

#[tokio::test]
async fn streams_pass_and_a_dropped_stream_ends_its_agent() {
    let (dropped, was_dropped) = oneshot::channel::<()>();
    let dropped = std::sync::Mutex::new(Some(dropped));
    let numbers = stream_fn("numbers", move |_: Message| {
        let guard = dropped.lock().unwrap().take();
        async_stream(guard)
    });
    let server = LocalAgent::serve(numbers, "ws://127.0.0.1:0")
        .await
        .unwrap();
    let remote = RemoteAgent::new(server.endpoint()).unwrap();
    let mut stream = remote.stream(Message::user(""));
    for number in 0..3 {
        let chunk = within(stream.next()).await.unwrap().unwrap();
        assert_eq!(chunk.content, Value::from(number));
    }
    drop(stream);
    // The guard of the agent's stream is dropped with it.
    assert!(within(was_dropped).await.is_err());
}

fn async_stream(
    guard: Option<oneshot::Sender<()>>,
) -> impl futures_util::Stream<Item = Result<Message, AgentError>> + Send + 'static {
    futures_util::stream::unfold((0, guard), |(number, guard)| async move {
        tokio::task::yield_now().await;
        Some((Ok(Message::agent(number)), (number + 1, guard)))
    })
}

#[tokio::test]
async fn a_message_over_the_limit_is_refused_and_the_next_call_connects_anew() {
    let server = LocalAgent::builder(echo())
        .endpoint("ws://127.0.0.1:0")
        .frame_limits(FrameLimits::default().receive(64 * 1024))
        .serve()
        .await
        .unwrap();
    let remote = RemoteAgent::new(server.endpoint()).unwrap();
    let large = "x".repeat(100_000);
    let error = within(remote.process(Message::user(large))).await;
    let shown = format!("{:#}", error.unwrap_err());
    assert!(
        shown.contains("code 1009") && shown.contains("exceeds limit of 65536 bytes"),
        "{shown}"
    );
    let reply = within(remote.process(Message::user("small")))
        .await
        .unwrap();
    assert_eq!(reply.text(), Some("small"));
}

#[tokio::test]
async fn a_call_in_flight_is_answered_before_a_stopping_server_closes() {
    let (started, has_started) = oneshot::channel();
    let started = std::sync::Mutex::new(Some(started));
    let slow = agent_fn("slow", move |message: Message, _: RequestContext| {
        started
            .lock()
            .unwrap()
            .take()
            .map(|started| started.send(()));
        async move {
            tokio::time::sleep(Duration::from_millis(50)).await;
            Ok(Message::agent(message.content))
        }
    });
    let server = LocalAgent::serve(slow, "ws://127.0.0.1:0").await.unwrap();
    let remote = RemoteAgent::new(server.endpoint()).unwrap();
    let call = tokio::spawn(async move { remote.process(Message::user("hello")).await });
    within(has_started).await.unwrap();
    within(server.stop()).await;
    let reply = within(call).await.unwrap().unwrap();
    assert_eq!(reply.text(), Some("hello"));
}

#[tokio::test]
async fn a_raw_client_gets_binary_messages_and_the_close_code_1001() {
    let server = serve().await;
    let mut socket = match server.endpoint() {
        endpoint @ Endpoint::Url(_) => {
            let (host, port) = endpoint.host_and_port().unwrap();
            TcpStream::connect((host, port)).await.unwrap()
        }
        other => panic!("{other}"),
    };
    let request = "GET /elsewhere HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
                   Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n";
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(within(socket.read_u8()).await.unwrap());
    }
    let head = String::from_utf8(head).unwrap();
    assert!(
        head.starts_with("HTTP/1.1 101 ") && !head.contains("Extensions"),
        "{head}"
    );
    // A text message, masked with zeros.
    let envelope = r#"{"version": "1.0", "type": "request", "id": "a", "timestamp": "2025-11-08T12:00:00+00:00", "payload": {"method": "process", "message": {"role": "user", "content": "hi", "metadata": {}, "timestamp": "2025-11-08T12:00:00+00:00"}}}"#;
    let mut message = vec![0x81, 0xFE];
    message.extend_from_slice(&u16::try_from(envelope.len()).unwrap().to_be_bytes());
    message.extend_from_slice(&[0; 4]);
    message.extend_from_slice(envelope.as_bytes());
    socket.write_all(&message).await.unwrap();
    assert_eq!(within(socket.read_u8()).await.unwrap(), 0x82);
    assert_eq!(within(socket.read_u8()).await.unwrap(), 126);
    let len = within(socket.read_u16()).await.unwrap();
    let mut reply = vec![0; len.into()];
    within(socket.read_exact(&mut reply)).await.unwrap();
    let reply = String::from_utf8(reply).unwrap();
    assert!(
        reply.contains(r#""type": "response", "id": "a""#),
        "{reply}"
    );
    let stopping = tokio::spawn(async move { server.stop().await });
    let mut close = [0; 4];
    within(socket.read_exact(&mut close)).await.unwrap();
    assert_eq!(close, [0x88, 2, 0x03, 0xE9]);
    drop(socket);
    within(stopping).await.unwrap();
}

/// Answers the first request of one connection with `answer`, and closes it.
async fn answering(answer: &'static str) -> Endpoint {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(socket.read_u8().await.unwrap());
        }
        let head = String::from_utf8(head).unwrap();
        assert!(
            head.starts_with("GET /agents/one?key=a HTTP/1.1\r\n"),
            "{head}"
        );
        assert!(head.contains("\r\nX-Team: blue\r\n"), "{head}");
        socket.write_all(answer.as_bytes()).await.unwrap();
    });
    format!("ws://127.0.0.1:{port}/agents/one?key=a")
        .parse()
        .unwrap()
}

#[tokio::test]
async fn a_refused_handshake_is_a_connect_error_that_says_why() {
    let wrong = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                 Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    let cases = [
        ("HTTP/1.1 404 Not Found\r\n\r\nnothing here", Some(404)),
        ("HTTP/1.1 401 Unauthorized\r\n\r\n", Some(401)),
        (wrong, None),
    ];
    for (answer, expected) in cases {
        let remote = RemoteAgent::builder(answering(answer).await)
            .websocket_options(WebSocketOptions::new().header("X-Team", "blue"))
            .build()
            .unwrap();
        let error = within(remote.process(Message::user("hello")))
            .await
            .unwrap_err();
        assert!(!error.was_sent(), "{error:?}");
        let Error::ConnectionFailed { source, .. } = &error else {
            panic!("{error:?}");
        };
        match (source.websocket(), expected) {
            (Some(WebSocketError::Refused { status, .. }), Some(expected)) => {
                assert_eq!(*status, expected);
            }
            (Some(WebSocketError::WrongAccept), None) => {}
            other => panic!("{other:?}"),
        }
    }
}

/// A masked frame, with a mask of zeros.
fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first, 0xFF];
    frame.extend_from_slice(&(payload.len() as u64).to_be_bytes());
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(payload);
    frame
}

/// Opens a WebSocket by hand.
async fn raw(server: &LocalAgent) -> TcpStream {
    let (host, port) = server.endpoint().host_and_port().unwrap();
    let mut socket = TcpStream::connect((host, port)).await.unwrap();
    let request = "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(within(socket.read_u8()).await.unwrap());
    }
    socket
}

#[tokio::test]
async fn hostile_clients_are_closed_with_a_code_and_others_are_served() {
    let server = serve().await;
    let honest = RemoteAgent::new(server.endpoint()).unwrap();
    let whole = r#"{"version": "1.0", "type": "request"}"#;
    let cases: Vec<(Vec<u8>, u16)> = vec![
        // Not masked.
        (vec![0x82, 0x01, b'x'], 1002),
        // Reserved bits, an unknown opcode, a stray continuation, a long and a fragmented ping.
        (vec![0xC2, 0x80, 0, 0, 0, 0], 1002),
        (vec![0x83, 0x80, 0, 0, 0, 0], 1002),
        (masked(0x80, b"x"), 1002),
        (vec![0x89, 0xFE, 0, 126, 0, 0, 0, 0], 1002),
        (vec![0x09, 0x80, 0, 0, 0, 0], 1002),
        // A close frame with half a code.
        (vec![0x88, 0x81, 0, 0, 0, 0, 3], 1002),
        (masked(0x81, b"\xff"), 1007),
        (masked(0x81, &[b"{".as_slice(), b"\xc3"].concat()), 1007),
        // 2^62 bytes.
        (
            vec![0x82, 0xFF, 0x40, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            1009,
        ),
        // A new message inside of a fragmented one.
        (
            [masked(0x01, b"{"), masked(0x81, whole.as_bytes())].concat(),
            1002,
        ),
    ];
    for (bytes, code) in cases {
        let mut socket = raw(&server).await;
        socket.write_all(&bytes).await.unwrap();
        let mut rest = Vec::new();
        let read = within(socket.read_to_end(&mut rest)).await;
        assert!(read.is_ok(), "{bytes:x?}: {read:?}");
        let close = rest.get(..4).map(|close| (close[0], close[2..].to_vec()));
        let expected = (0x88, code.to_be_bytes().to_vec());
        assert_eq!(close, Some(expected), "{bytes:x?} answered with {rest:x?}");
        let reply = within(honest.process(Message::user("hello")))
            .await
            .unwrap();
        assert_eq!(reply.text(), Some("hello"));
    }
    // A payload that is no envelope is answered, and the connection stays open.
    let mut socket = raw(&server).await;
    for _ in 0..2 {
        socket.write_all(&masked(0x82, b"{}")).await.unwrap();
        let mut head = [0; 4];
        within(socket.read_exact(&mut head)).await.unwrap();
        assert_eq!(head[..2], [0x82, 126]);
        let mut answer = vec![0; u16::from_be_bytes([head[2], head[3]]).into()];
        within(socket.read_exact(&mut answer)).await.unwrap();
        let answer = String::from_utf8(answer).unwrap();
        assert!(answer.contains(r#""type": "error""#), "{answer}");
    }
    within(server.stop()).await;
}

#[tokio::test]
async fn clients_that_stall_are_cut_or_bounded_and_others_are_served() {
    let server = LocalAgent::builder(echo())
        .endpoint("ws://127.0.0.1:0")
        .memory_budget(8 << 20)
        .frame_limits(FrameLimits::default().receive(1 << 20))
        .handshake_timeout(Duration::from_millis(200))
        .serve()
        .await
        .unwrap();
    // Fragments that never end share an eighth of the budget.
    let mut stalled = Vec::new();
    for _ in 0..8 {
        let mut socket = raw(&server).await;
        // A server without memory may close before all is written.
        let _ = socket.write_all(&masked(0x02, &vec![b'x'; 400_000])).await;
        stalled.push(socket);
    }
    let remote = RemoteAgent::new(server.endpoint()).unwrap();
    let text = "y".repeat(100_000);
    for _ in 0..3 {
        let reply = within(remote.process(Message::user(text.as_str())))
            .await
            .unwrap();
        assert_eq!(reply.text(), Some(text.as_str()));
    }
    let mut refused = 0;
    for socket in &mut stalled {
        let mut close = [0; 4];
        let read = tokio::time::timeout(Duration::from_millis(100), socket.read_exact(&mut close));
        if let Ok(Ok(_)) = read.await {
            assert_eq!(close[2..], 1013_u16.to_be_bytes());
            refused += 1;
        }
    }
    assert!(refused >= 6, "{refused}");
    // A handshake that never ends.
    let (host, port) = server.endpoint().host_and_port().unwrap();
    let mut silent = TcpStream::connect((host, port)).await.unwrap();
    silent.write_all(b"GET / HTTP/1.1\r\nHost:").await.unwrap();
    let end = within(silent.read(&mut [0; 8])).await;
    assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");
    within(server.stop()).await;
}
