//! Tests of whole connections: scripted bytes, faults, and both sides against each other.

use std::{
    io,
    task::{Context, Waker},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    time::{advance, timeout},
};

use super::{
    WebSocketFault, WebSocketOptions,
    handshake::{accept, connect},
    header::{Header, Opcode, Role},
    mask,
    stream::WebSocketStream,
};
use crate::{Connection, Endpoint, PeerState, UrlScheme, WebSocketError};

const MASK: [u8; 4] = [0x11, 0x22, 0x33, 0x44];

fn frame(is_final: bool, opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let header = Header {
        is_final,
        opcode,
        mask: Some(MASK),
        len: payload.len() as u64,
    };
    let mut bytes = Vec::new();
    header.write(&mut bytes);
    let start = bytes.len();
    bytes.extend_from_slice(payload);
    mask::apply(MASK, 0, &mut bytes[start..]);
    bytes
}

fn prefixed(payload: &[u8]) -> Vec<u8> {
    let mut bytes = u32::try_from(payload.len())
        .expect("length")
        .to_be_bytes()
        .to_vec();
    bytes.extend_from_slice(payload);
    bytes
}

fn server(options: &WebSocketOptions) -> (WebSocketStream, DuplexStream) {
    let (near, far) = duplex(1 << 20);
    let connection = Connection::custom(near, "peer");
    (WebSocketStream::server(connection, options, &[]), far)
}

/// Reads the frames that a server has sent, as opcode and payload.
async fn sent(far: &mut DuplexStream) -> Vec<(Opcode, Vec<u8>)> {
    let mut bytes = Vec::new();
    far.read_to_end(&mut bytes)
        .await
        .expect("the server closes");
    frames(&bytes)
}

fn frames(mut bytes: &[u8]) -> Vec<(Opcode, Vec<u8>)> {
    let mut frames = Vec::new();
    while !bytes.is_empty() {
        let (header, len) = Header::read(bytes, Role::Client)
            .expect("valid")
            .expect("whole");
        let end = len + usize::try_from(header.len).expect("length");
        frames.push((header.opcode, bytes[len..end].to_vec()));
        bytes = &bytes[end..];
    }
    frames
}

#[tokio::test]
async fn messages_are_read_at_every_split() {
    let script = [
        frame(true, Opcode::Text, "{\"é\": 1}".as_bytes()),
        frame(true, Opcode::Binary, b""),
        frame(false, Opcode::Text, b"ab\xc3"),
        frame(true, Opcode::Ping, b"are you there"),
        frame(false, Opcode::Continuation, b""),
        frame(true, Opcode::Continuation, b"\xa9cd"),
        frame(true, Opcode::Pong, b"unasked"),
        frame(true, Opcode::Binary, &[7; 300]),
        frame(true, Opcode::Close, b"\x0f\xa0bye"),
    ]
    .concat();
    let expected = [
        prefixed("{\"é\": 1}".as_bytes()),
        prefixed(b""),
        prefixed("abécd".as_bytes()),
        prefixed(&[7; 300]),
    ]
    .concat();
    for split in 0..=script.len() {
        let (mut stream, mut far) = server(&WebSocketOptions::new());
        let (first, second) = script.split_at(split);
        let write = async {
            far.write_all(first).await.expect("write");
            tokio::task::yield_now().await;
            far.write_all(second).await.expect("write");
            sent(&mut far).await
        };
        let read = async {
            let mut received = Vec::new();
            stream.read_to_end(&mut received).await.expect("read");
            stream.shutdown().await.expect("shutdown");
            drop(stream);
            received
        };
        let (sent, received) = tokio::join!(write, read);
        assert_eq!(received, expected, "split at {split}");
        let answers = [
            (Opcode::Pong, b"are you there".to_vec()),
            (Opcode::Close, b"\x0f\xa0bye".to_vec()),
        ];
        assert_eq!(sent, answers, "split at {split}");
    }
}

#[tokio::test(start_paused = true)]
async fn each_fault_closes_with_its_code() {
    let mut long_ping = frame(true, Opcode::Ping, &[0; 125]);
    long_ping[1] = 0x80 | 126;
    let unmasked = vec![0x82, 0x01, 0x00];
    let large = [0x82, 0xFF, 0, 0, 0, 0, 0x40, 0, 0, 0, 1, 2, 3, 4].to_vec();
    let cases = [
        (unmasked, 1002, "incorrect masking"),
        (vec![0xC2, 0x80], 1002, "reserved bits must be 0"),
        (vec![0x83, 0x80], 1002, "invalid opcode"),
        (
            frame(true, Opcode::Continuation, b""),
            1002,
            "unexpected continuation frame",
        ),
        (long_ping, 1002, "control frame too long"),
        (
            frame(true, Opcode::Close, b"\x03\xed"),
            1002,
            "invalid close frame",
        ),
        (
            frame(true, Opcode::Close, b"\x03"),
            1002,
            "invalid close frame",
        ),
        (frame(true, Opcode::Text, b"\xff"), 1007, "invalid UTF-8"),
        (frame(true, Opcode::Text, b"\xc3"), 1007, "invalid UTF-8"),
        (
            [
                frame(false, Opcode::Text, b"a"),
                frame(true, Opcode::Text, b"b"),
            ]
            .concat(),
            1002,
            "expected a continuation frame",
        ),
        (
            frame(true, Opcode::Binary, &[0; 1001]),
            1009,
            "frame with 1001 bytes exceeds limit of 1000 bytes",
        ),
        (
            [
                frame(false, Opcode::Binary, &[0; 600]),
                frame(false, Opcode::Continuation, &[0; 600]),
            ]
            .concat(),
            1009,
            "frame with 1200 bytes exceeds limit of 1000 bytes",
        ),
        (
            large,
            1009,
            "frame with 1073741824 bytes exceeds limit of 1000 bytes",
        ),
    ];
    for (script, code, reason) in cases {
        let (mut stream, mut far) = server(&WebSocketOptions::new().max_message(1000));
        far.write_all(&script).await.expect("write");
        let read = async {
            let mut received = Vec::new();
            let error = stream.read_to_end(&mut received).await.expect_err(reason);
            let source = error
                .get_ref()
                .expect("source")
                .downcast_ref::<WebSocketFault>();
            assert_eq!(source.expect("fault").close_code(), code);
            drop(stream);
        };
        // The far side does not close, so the farewell ends by its own limit.
        let ((), sent) = tokio::join!(read, sent(&mut far));
        let mut close = u16::to_be_bytes(code).to_vec();
        close.extend_from_slice(reason.as_bytes());
        assert_eq!(sent, [(Opcode::Close, close)], "{reason}");
    }
}

#[tokio::test]
async fn fragments_of_all_connections_share_their_memory() {
    let options = WebSocketOptions::new().fragment_budget(2000);
    let (mut first, mut far) = server(&options);
    far.write_all(&frame(false, Opcode::Binary, &[0; 900]))
        .await
        .expect("write");
    let mut byte = [0];
    // Nothing can be read before the message ends.
    let pending = timeout(Duration::ZERO, first.read(&mut byte)).await;
    assert!(pending.is_err());
    let (mut second, mut other) = server(&options);
    other
        .write_all(&frame(false, Opcode::Binary, &[0; 1200]))
        .await
        .expect("write");
    other.shutdown().await.expect("shutdown");
    let error = second.read(&mut byte).await.expect_err("no memory");
    assert!(error.to_string().contains("no memory"), "{error}");
    drop((first, far));
    let (mut third, mut last) = server(&options);
    last.write_all(&frame(false, Opcode::Binary, &[0; 900]))
        .await
        .expect("write");
    last.write_all(&frame(true, Opcode::Continuation, &[0; 50]))
        .await
        .expect("write");
    let mut message = vec![0; 954];
    third
        .read_exact(&mut message)
        .await
        .expect("the memory was released");
}

#[tokio::test(start_paused = true)]
async fn fragments_that_trickle_are_cut_and_a_slow_message_is_not() {
    const SECOND: Duration = Duration::from_secs(1);
    let options = WebSocketOptions::new().message_timeout(10 * SECOND);
    // The peer sends a fragment, a byte or nothing each second, and answers pings.
    for fragment in [0, 1, 16 * 1024 - 1] {
        let (mut stream, mut far) = server(&options);
        let start = tokio::time::Instant::now();
        let write = async {
            let mut opcode = Opcode::Binary;
            for _ in 0..60 {
                let sent = [
                    frame(false, opcode, &vec![0; fragment]),
                    frame(true, Opcode::Pong, b""),
                ];
                if far.write_all(&sent.concat()).await.is_err() {
                    break;
                }
                opcode = Opcode::Continuation;
                tokio::time::sleep(SECOND).await;
            }
            let _ = far.shutdown().await;
        };
        let read = async {
            let error = stream.read(&mut [0]).await.expect_err("too slow");
            drop(stream);
            error
        };
        let (error, ()) = tokio::join!(read, write);
        let cause = error.get_ref().and_then(|cause| cause.downcast_ref());
        assert_eq!(cause, Some(&WebSocketFault::TooSlow));
        // The peer then has 2 seconds for the close frame.
        assert!(start.elapsed() < 15 * SECOND, "{:?}", start.elapsed());
    }
    let (mut stream, mut far) = server(&options);
    tokio::spawn(async move {
        let mut opcode = Opcode::Binary;
        for _ in 0..60 {
            let fragment = frame(false, opcode, &[0; 20 * 1024]);
            far.write_all(&fragment).await.expect("write");
            opcode = Opcode::Continuation;
            tokio::time::sleep(SECOND).await;
        }
        let last = frame(true, opcode, b"");
        far.write_all(&last).await.expect("write");
        // Between messages, silence is none of a message.
        tokio::time::sleep(15 * SECOND).await;
        let next = frame(true, Opcode::Binary, b"x");
        far.write_all(&next).await.expect("write");
    });
    let mut messages = vec![0; 4 + 60 * 20 * 1024 + 5];
    stream.read_exact(&mut messages).await.expect("messages");
}

async fn opened(options: &WebSocketOptions) -> (WebSocketStream, WebSocketStream) {
    let (near, far) = duplex(1 << 16);
    let url = match Endpoint::url(UrlScheme::Ws, "host", 80, "/agents?a=b").expect("url") {
        Endpoint::Url(url) => url,
        other => panic!("{other}"),
    };
    let (client, server) = tokio::join!(
        connect(Connection::custom(near, "server"), &url, options),
        accept(Connection::custom(far, "client"), options)
    );
    (client.expect("client"), server.expect("server"))
}

#[tokio::test]
async fn frames_of_all_sizes_pass_in_both_directions() {
    let (mut client, mut server) = opened(&WebSocketOptions::new()).await;
    for len in [
        0, 1, 125, 126, 127, 4096, 16_383, 16_384, 65_535, 65_536, 1_000_000,
    ] {
        let payload: Vec<u8> = (0..len).map(|_| fastrand::u8(..)).collect();
        let bytes = prefixed(&payload);
        for (from, to) in [(0, 1), (1, 0)] {
            let mut sides = [&mut client, &mut server];
            let (left, right) = sides.split_at_mut(1);
            let (writer, reader) = if from < to {
                (&mut left[0], &mut right[0])
            } else {
                (&mut right[0], &mut left[0])
            };
            let write = async {
                // The chunks do not match the frames.
                for chunk in bytes.chunks(70_001) {
                    writer.write_all(chunk).await?;
                }
                writer.flush().await
            };
            let read = async {
                let mut received = vec![0; bytes.len()];
                reader.read_exact(&mut received).await?;
                io::Result::Ok(received)
            };
            let (written, received) = tokio::join!(write, read);
            written.expect("write");
            assert!(received.expect("read") == bytes, "{len}");
        }
    }
    let (closed, end) = tokio::join!(client.shutdown(), async {
        let mut rest = Vec::new();
        server.read_to_end(&mut rest).await.map(|_| rest)
    });
    closed.expect("shutdown");
    assert_eq!(end.expect("end"), b"");
}

#[tokio::test(start_paused = true)]
async fn an_idle_client_that_nobody_reads_answers_pings() {
    let (client, mut server) = opened(&WebSocketOptions::new()).await;
    let mut byte = [0];
    // The server would close the connection after 40 seconds of silence.
    let read = timeout(Duration::from_secs(600), server.read(&mut byte)).await;
    assert!(read.is_err(), "{read:?}");
    drop(client);
    let end = server.read(&mut byte).await;
    assert!(matches!(end, Ok(0) | Err(_)));
}

/// A server that stops waits for the answer to its close frame.
#[tokio::test(start_paused = true)]
async fn an_idle_client_that_nobody_reads_answers_a_close_frame_at_once() {
    for idle in [2, 30] {
        let (mut client, mut server) = opened(&WebSocketOptions::new()).await;
        client
            .write_all(&prefixed(b"request"))
            .await
            .expect("write");
        server.write_all(&prefixed(b"answer")).await.expect("write");
        client.read_exact(&mut [0; 10]).await.expect("read");
        server.read_exact(&mut [0; 11]).await.expect("read");
        // The server answers pings in the meantime.
        let waited = timeout(Duration::from_secs(idle), server.read(&mut [0])).await;
        assert!(waited.is_err(), "{waited:?}");
        server.shutdown().await.expect("shutdown");
        let before = tokio::time::Instant::now();
        assert_eq!(server.read(&mut [0]).await.expect("the end"), 0);
        assert!(before.elapsed() < Duration::from_millis(10));
        drop(client);
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_answers_no_ping_is_closed() {
    let (mut stream, mut far) = server(&WebSocketOptions::new());
    let read = tokio::spawn(async move { stream.read(&mut [0]).await });
    tokio::task::yield_now().await;
    advance(Duration::from_secs(21)).await;
    let mut ping = [0; 6];
    far.read_exact(&mut ping).await.expect("ping");
    assert_eq!(ping[..2], [0x89, 4]);
    let error = read.await.expect("task").expect_err("timeout");
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    let sent = sent(&mut far).await;
    assert_eq!(
        sent,
        [(Opcode::Close, b"\x03\xf3keepalive ping timeout".to_vec())]
    );
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_reads_a_large_message_slowly_is_alive() {
    const LEN: u32 = 400 * 1024;
    let (near, mut far) = duplex(16 * 1024);
    let connection = Connection::custom(near, "peer");
    let stream = WebSocketStream::server(connection, &WebSocketOptions::new(), &[]);
    let (mut input, mut output) = tokio::io::split(stream);
    let read = tokio::spawn(async move { input.read(&mut [0]).await });
    let write = tokio::spawn(async move {
        output.write_u32(LEN).await?;
        output.write_all(&vec![b'x'; LEN as usize]).await?;
        output.flush().await
    });
    // Two hundred seconds, in which a ping must wait for the end of the message.
    let mut part = vec![0; LEN as usize / 20];
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_secs(10)).await;
        far.read_exact(&mut part)
            .await
            .expect("part of the message");
        assert!(!read.is_finished());
    }
    write.await.expect("task").expect("written");
    // The header has ten bytes. The ping follows when the peer is silent.
    far.read_exact(&mut [0; 10]).await.expect("rest");
    let mut ping = [0; 6];
    far.read_exact(&mut ping).await.expect("ping");
    assert_eq!(ping[..2], [0x89, 4]);
    let error = read.await.expect("task").expect_err("timeout");
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
}

#[tokio::test]
async fn a_request_that_is_no_handshake_is_answered_in_http() {
    let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let upgrade = "Connection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n";
    let version = "Sec-WebSocket-Version: 13\r\n";
    let cases = [
        ("GET / HTTP/1.1\r\n\r\n".to_owned(), "426 "),
        (
            format!("POST / HTTP/1.1\r\n{upgrade}{version}{key}\r\n"),
            "405 ",
        ),
        (
            format!("GET / HTTP/1.0\r\n{upgrade}{version}{key}\r\n"),
            "505 ",
        ),
        (format!("GET / HTTP/1.1\r\n{upgrade}{key}\r\n"), "426 "),
        (format!("GET / HTTP/1.1\r\n{upgrade}{version}\r\n"), "400 "),
        ("\0\0\0\x02{}".to_owned(), "400 "),
        (
            format!("GET / HTTP/1.1\r\nA: {}\r\n\r\n", "a".repeat(20_000)),
            "431 ",
        ),
        (
            format!("GET /any?path HTTP/1.1\r\n{upgrade}{version}{key}\r\n"),
            "101 ",
        ),
    ];
    for (request, status) in cases {
        let (near, mut far) = duplex(1 << 16);
        let options = WebSocketOptions::new();
        let ask = async {
            far.write_all(request.as_bytes()).await.expect("write");
            let mut head = [0; 13];
            far.read_exact(&mut head).await.expect("answer");
            let rest = if status == "101 " {
                let mut rest = vec![0; 120];
                let len = far.read(&mut rest).await.expect("rest");
                String::from_utf8_lossy(&rest[..len]).into_owned()
            } else {
                String::new()
            };
            drop(far);
            (String::from_utf8_lossy(&head).into_owned(), rest)
        };
        let (accepted, (head, rest)) =
            tokio::join!(accept(Connection::custom(near, "peer"), &options), ask);
        assert_eq!(head, format!("HTTP/1.1 {status}"), "{request}");
        assert_eq!(accepted.is_ok(), status == "101 ");
        if accepted.is_ok() {
            // The example of RFC 6455, section 1.3.
            assert!(rest.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{rest}");
        }
    }
}

#[tokio::test]
async fn a_server_knows_the_header_authorization_of_its_client() {
    let (near, far) = duplex(1 << 16);
    let url = match Endpoint::url(UrlScheme::Ws, "host", 80, "").expect("url") {
        Endpoint::Url(url) => url,
        other => panic!("{other}"),
    };
    let options = WebSocketOptions::new().header("authorization", "Bearer secret");
    let (client, server) = tokio::join!(
        connect(Connection::custom(near, "server"), &url, &options),
        accept(Connection::custom(far, "client"), &options)
    );
    let (_client, mut server) = (client.expect("client"), server.expect("server"));
    assert_eq!(
        server.take_authorization().as_deref(),
        Some("Bearer secret")
    );
    assert_eq!(server.take_authorization(), None);
}

#[tokio::test]
async fn only_pages_of_allowed_origins_may_connect() {
    let url = match Endpoint::url(UrlScheme::Ws, "host", 80, "").expect("url") {
        Endpoint::Url(url) => url,
        other => panic!("{other}"),
    };
    let default = WebSocketOptions::new();
    let one = WebSocketOptions::new().allowed_origin("https://a");
    for (server, origin, is_accepted) in [
        (&default, None, true),
        (&default, Some("http://host"), false),
        (&one, Some("https://a"), true),
        (&one, Some("https://a.b"), false),
        (&one, Some("null"), false),
        (&one.clone().allowed_origin("*"), Some("null"), true),
    ] {
        let (near, far) = duplex(1 << 16);
        let client = match origin {
            Some(origin) => WebSocketOptions::new().header("Origin", origin),
            None => WebSocketOptions::new(),
        };
        let (client, server) = tokio::join!(
            connect(Connection::custom(near, "server"), &url, &client),
            accept(Connection::custom(far, "client"), server)
        );
        assert_eq!(server.is_ok(), is_accepted, "{origin:?}");
        match client {
            Ok(_) => assert!(is_accepted, "{origin:?}"),
            Err(error) => assert!(error.to_string().contains("403"), "{error}"),
        }
    }
}

#[tokio::test]
async fn a_client_tells_refusals_apart() {
    let cases = [
        (
            "HTTP/1.1 404 Not Found\r\n\r\nnothing here",
            "status 404: \"nothing here\"",
        ),
        ("HTTP/1.1 401 Unauthorized\r\n\r\n", "status 401"),
        (
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
            "wrong Sec-WebSocket-Accept",
        ),
        ("\0\0\0\x02{}", "did not answer in HTTP"),
        ("", "closed the connection"),
    ];
    for (answer, expected) in cases {
        let (near, mut far) = duplex(1 << 16);
        let url = match Endpoint::url(UrlScheme::Ws, "host", 80, "").expect("url") {
            Endpoint::Url(url) => url,
            other => panic!("{other}"),
        };
        let reply = async {
            let mut request = vec![0; 4096];
            let len = far.read(&mut request).await.expect("request");
            assert!(request[..len].starts_with(b"GET / HTTP/1.1\r\nHost: host:80\r\n"));
            far.write_all(answer.as_bytes()).await.expect("write");
            drop(far);
        };
        let options = WebSocketOptions::new();
        let (connected, ()) = tokio::join!(
            connect(Connection::custom(near, "peer"), &url, &options),
            reply
        );
        let error = connected.expect_err(expected).to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[tokio::test]
async fn a_client_tells_why_its_server_has_closed() {
    let reason = |code: u16, text: &str| {
        let mut payload = code.to_be_bytes().to_vec();
        payload.extend_from_slice(text.as_bytes());
        payload
    };
    for (payload, expected) in [
        (Vec::new(), None),
        (reason(1000, "bye"), None),
        (reason(1001, ""), None),
        (reason(1008, "no"), Some((1008, "no"))),
        (reason(1009, ""), Some((1009, ""))),
    ] {
        let (near, mut far) = duplex(1 << 16);
        let connection = Connection::custom(near, "server");
        let mut client = WebSocketStream::client(connection, &WebSocketOptions::new(), &[]);
        let header = Header {
            is_final: true,
            opcode: Opcode::Close,
            mask: None,
            len: payload.len() as u64,
        };
        let mut close = Vec::new();
        header.write(&mut close);
        close.extend_from_slice(&payload);
        far.write_all(&close).await.expect("write");
        // The reason is the same for every read.
        for _ in 0..2 {
            let found = client.read(&mut [0]).await.map_err(|error| {
                let source = error.get_ref().and_then(|source| source.downcast_ref());
                match source {
                    Some(WebSocketError::ClosedBy { code, reason, .. }) => (*code, reason.clone()),
                    other => panic!("{other:?}"),
                }
            });
            let expected = match expected {
                None => Ok(0),
                Some((code, reason)) => Err((code, reason.to_owned())),
            };
            assert_eq!(found, expected);
        }
        assert_eq!(
            client.peer_state(&mut Context::from_waker(Waker::noop())),
            PeerState::Closed
        );
    }
}

/// The socket has one waker for writing. The reader uses it for pongs, and must not take it from
/// the writer.
#[tokio::test(start_paused = true)]
async fn a_writer_goes_on_after_a_reader_could_not_write() {
    let (near, mut far) = duplex(1024);
    let connection = Connection::custom(near, "server");
    let client = WebSocketStream::client(connection, &WebSocketOptions::new(), &[]);
    let (mut reading, mut writing) = tokio::io::split(client);
    let frame = prefixed(&[7; 500_000]);
    let expected = frame.len();
    let writer = tokio::spawn(async move {
        writing.write_all(&frame).await?;
        writing.flush().await
    });
    let reader = tokio::spawn(async move { reading.read(&mut [0]).await });
    let ping = [0x89, 0x01, 0x07];
    let mut count = 0;
    let mut read = vec![0; 1000];
    while count < expected + 10 {
        far.write_all(&ping).await.expect("ping");
        // The reader sees the ping while the writer waits.
        tokio::time::sleep(Duration::from_millis(1)).await;
        count += timeout(Duration::from_secs(60), far.read(&mut read))
            .await
            .expect("the writer goes on")
            .expect("read");
    }
    writer.await.expect("task").expect("write");
    reader.abort();
}
