//! Figures of a server under attack and on broken networks. They are measured on request only:
//!
//! `cargo test --release -p agentwire-interop-tests --test figures -- --ignored --nocapture
//! --test-threads=1`

#[allow(dead_code, reason = "these tests use a part of it")]
#[path = "chaos/dead_address.rs"]
mod dead_address;

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use agentwire::{Endpoint, Error, Format, Message, RemoteAgent, RequestId};
use agentwire_codec::{Call, Envelope, Request, put_frame};
use agentwire_interop_tests::{RustServer, Socket, TestFailure, TestResult, expect};
use futures_util::future::join_all;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, lookup_host},
    time::{Instant, sleep, timeout},
};

use self::dead_address::DeadAddress;

const PROGRAM: &str = env!("CARGO_BIN_EXE_interop-agent");

/// Prints the latencies of an honest caller, alone and beside a loop of each slow frame.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures for half a minute"]
async fn an_honest_caller_beside_slow_frames() -> TestResult {
    let server = RustServer::start(PROGRAM, "tcp://127.0.0.1:0").await?;
    let endpoint = server.endpoint().parse::<Endpoint>()?;
    let fill = |piece: &str| piece.repeat(SLOW_LEN / piece.len());
    let keys: String = (0..SLOW_LEN / 12)
        .map(|key| format!("\"{key:07}\":0,"))
        .collect();
    let contents = [
        ("no slow frame", String::new()),
        (
            "floats near half-way",
            format!("[{}0]", fill("12345000000000000692e281,")),
        ),
        ("small integers", format!("[{}0]", fill("0,"))),
        (
            "small integers that fit in memory",
            format!("[{}0]", "0,".repeat(1_000_000)),
        ),
        ("small objects", format!("[{}0]", fill("{\"a\":0},"))),
        ("distinct keys", format!("{{{keys}\"x\":0}}")),
    ];
    for (name, content) in contents {
        let frame = slow_frame(&content)?;
        let refused = Arc::new(AtomicUsize::new(0));
        let attacker = (!content.is_empty())
            .then(|| tokio::spawn(send_again(endpoint.clone(), frame, Arc::clone(&refused))));
        let remote = RemoteAgent::new(&endpoint)?;
        remote.process(Message::user("warm")).await?;
        let (mut latencies, end) = (Vec::new(), Instant::now() + Duration::from_secs(5));
        while Instant::now() < end {
            let start = Instant::now();
            remote.process(Message::user("honest")).await?;
            latencies.push(start.elapsed());
            sleep(Duration::from_micros(200)).await;
        }
        latencies.sort_unstable();
        let at = |part: f64| latencies[(latencies.len() as f64 * part) as usize];
        println!(
            "{name}, {} times: {} calls, p50 {:?}, p99 {:?}, max {:?}",
            refused.load(Relaxed),
            latencies.len(),
            at(0.5),
            at(0.99),
            latencies[latencies.len() - 1]
        );
        if let Some(attacker) = attacker {
            attacker.abort();
        }
    }
    Ok(())
}

/// Returns a request with a content in JSON. The agent refuses the request, so the answer is small.
fn slow_frame(content: &str) -> Result<Vec<u8>, TestFailure> {
    let message = Message::user("CONTENT").with_metadata("do", "refuse");
    let frame = process_frame("slow", message)?;
    let payload = String::from_utf8(frame[4..].to_vec())?.replace("\"CONTENT\"", content);
    let mut frame = u32::try_from(payload.len())?.to_be_bytes().to_vec();
    frame.extend(payload.into_bytes());
    Ok(frame)
}

/// Sends a frame again and again, and counts the answers. They are errors of the agent, or of the
/// server if the values take too much memory.
async fn send_again(
    endpoint: Endpoint,
    frame: Vec<u8>,
    answered: Arc<AtomicUsize>,
) -> std::io::Result<()> {
    loop {
        let mut socket = Socket::connect(&endpoint).await?;
        socket.write_all(&frame).await?;
        let len = socket.read_u32().await?;
        let mut answer = vec![0; len as usize];
        socket.read_exact(&mut answer).await?;
        answered.fetch_add(1, Relaxed);
    }
}

/// Stops a server while a slow reader has read nothing and sends one more request.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures"]
async fn answers_to_a_slow_reader_around_a_stop() -> TestResult {
    let server = RustServer::start(PROGRAM, "tcp://127.0.0.1:0").await?;
    let mut socket = Socket::connect(&server.endpoint().parse()?).await?;
    let frame = process_frame("early", Message::user("x".repeat(40_000)))?;
    socket.write_all(&frame.repeat(20)).await?;
    sleep(Duration::from_millis(500)).await;
    let stop = tokio::spawn(server.stop());
    sleep(Duration::from_millis(200)).await;
    socket
        .write_all(&process_frame("late", Message::user("x"))?)
        .await?;
    sleep(Duration::from_millis(200)).await;
    println!("F.1: {} of 20 answers arrived", answers(&mut socket).await);
    drop(socket);
    stop.await?
}

/// Stops a server while calls wait for their answers behind a slow relay.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures"]
async fn calls_behind_a_slow_relay_around_a_stop() -> TestResult {
    let server = RustServer::start(PROGRAM, "tcp://127.0.0.1:0").await?;
    let far = server.endpoint().parse::<Endpoint>()?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let near = Endpoint::from(listener.local_addr()?);
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let far = far.clone();
            tokio::spawn(async move {
                if let Ok(server) = Socket::connect(&far).await {
                    let _ = relay_slowly(client, server).await;
                }
            });
        }
    });
    let remote = RemoteAgent::builder(&near)
        .max_connections(8)
        .max_in_flight_per_connection(40)
        .build()?;
    let calls = join_all((0..310).map(|_| remote.process(Message::user("x".repeat(40_000)))));
    let stop = async {
        sleep(Duration::from_millis(500)).await;
        server.stop().await
    };
    let (results, stopped) = tokio::join!(calls, stop);
    stopped?;
    let answered = results.iter().filter(|result| result.is_ok()).count();
    let is_lost =
        |result: &&Result<_, Error>| matches!(result, Err(error) if !error.is_retryable());
    let lost = results.iter().filter(is_lost).count();
    println!("F.1: of 310 calls {answered} were answered, {lost} lost, the rest may be repeated");
    Ok(())
}

async fn relay_slowly(client: TcpStream, server: Socket) -> std::io::Result<()> {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = tokio::io::split(server);
    let requests = async {
        tokio::io::copy(&mut from_client, &mut to_server).await?;
        to_server.shutdown().await
    };
    let answers = async {
        let mut buffer = vec![0; 4096];
        loop {
            let len = from_server.read(&mut buffer).await?;
            if len == 0 {
                return to_client.shutdown().await;
            }
            sleep(Duration::from_millis(2)).await;
            to_client.write_all(&buffer[..len]).await?;
        }
    };
    let (_, answered) = tokio::join!(requests, answers);
    answered
}

/// Closes the sending half after a request that takes 300 ms.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures"]
async fn answers_after_a_half_close() -> TestResult {
    let directory = tempfile::tempdir()?;
    for endpoint in [
        format!("unix://{}/agent.sock", directory.path().display()),
        "tcp://127.0.0.1:0".to_owned(),
    ] {
        let server = RustServer::start(PROGRAM, &endpoint).await?;
        let mut answered = 0;
        for _ in 0..20 {
            let mut socket = Socket::connect(&server.endpoint().parse()?).await?;
            let message = Message::user("x").with_metadata("do", "slow");
            let frame = process_frame("early", message.with_metadata("ms", 300))?;
            socket.write_all(&frame).await?;
            socket.shutdown().await?;
            answered += answers(&mut socket).await;
        }
        println!("F.2: {answered} of 20 answers arrived at {endpoint}");
    }
    Ok(())
}

/// Calls a name with two addresses, the first of which swallows packets. `AGENTWIRE_TWO_ADDRESSES`
/// is the name, by default `localhost`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures, and needs a name with two loopback addresses"]
async fn a_call_to_a_name_whose_first_address_is_dead() -> TestResult {
    let name = std::env::var("AGENTWIRE_TWO_ADDRESSES").unwrap_or_else(|_| "localhost".to_owned());
    let found: Vec<SocketAddr> = lookup_host((name.as_str(), 1)).await?.collect();
    let [first, second, ..] = found[..] else {
        println!("F.3: not measured, because {name} has the addresses {found:?}");
        return Ok(());
    };
    let server = RustServer::start(
        PROGRAM,
        &Endpoint::from(SocketAddr::new(second.ip(), 0)).to_string(),
    )
    .await?;
    let Endpoint::Tcp { port, .. } = server.endpoint().parse()? else {
        return Err(TestFailure::new("not a TCP endpoint"));
    };
    let _dead = DeadAddress::new(SocketAddr::new(first.ip(), port))?;
    sleep(Duration::from_millis(200)).await;
    let remote = RemoteAgent::new(format!("tcp://{name}:{port}").as_str())?;
    let start = Instant::now();
    let reply = remote.process(Message::user("x")).await?;
    expect("the reply", &reply.text(), &Some("x"))?;
    println!(
        "F.3: {name} has {found:?}, answered after {:?}",
        start.elapsed()
    );
    Ok(())
}

fn process_frame(id: &str, message: Message) -> Result<Vec<u8>, TestFailure> {
    let request = Request::Process(Call::new("", message));
    let envelope = Envelope::new(RequestId::from(id), request);
    let mut frame = Vec::new();
    put_frame(&mut frame, usize::MAX, |buffer| {
        Format::Json.encode(&envelope, buffer)
    })?;
    Ok(frame)
}

/// Reads to the end, and returns the number of whole answers to the request `early`.
async fn answers(socket: &mut Socket) -> usize {
    let mut received = Vec::new();
    // What arrived before a reset counts.
    let _ = timeout(Duration::from_secs(20), socket.read_to_end(&mut received)).await;
    let (mut rest, mut count) = (&received[..], 0);
    while let Some((header, after)) = rest.split_first_chunk() {
        let Some((payload, after)) = after.split_at_checked(u32::from_be_bytes(*header) as usize)
        else {
            break;
        };
        let answer = Format::Json.decode(payload);
        count += usize::from(answer.is_ok_and(|answer| answer.id == "early".into()));
        rest = after;
    }
    count
}

/// The length of a slow content, a little less than the frame limit.
const SLOW_LEN: usize = 10_400_000;
