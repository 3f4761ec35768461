//! The contract of every carrier, run against each of them.

#![allow(clippy::expect_used, reason = "an unexpected result fails the test")]

#[cfg(feature = "tls")]
#[path = "common/authority.rs"]
mod authority;
mod common;

use std::{
    collections::HashMap,
    io,
    pin::pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker, ready},
};

use agentwire_transport::{
    Accept, BoxFuture, Connection, Connector, Endpoint, Error, Listener, PeerAddr, ProbeResult,
    connect,
};
#[cfg(feature = "tls")]
use agentwire_transport::{EndpointConnector, TcpOptions, TlsClient, TlsServer};
use common::within;
use tokio::{
    io::{AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream},
    sync::mpsc,
};

/// A carrier under test. Each test gets its own address.
trait Carrier {
    fn new(test: &str) -> Self;

    fn is_available() -> bool {
        true
    }

    async fn bind(&self, endpoint: Option<&Endpoint>) -> Result<Listener, Error>;
    async fn connect(&self, endpoint: &Endpoint) -> Result<Connection, Error>;
    fn is_peer(address: &PeerAddr) -> bool;
}

async fn pair<C: Carrier>(carrier: &C) -> (Listener, Connection, Connection) {
    let mut listener = within(carrier.bind(None)).await.expect("bind");
    let (client, server) = connected(carrier, &mut listener).await;
    (listener, client, server)
}

/// Opens a connection. Both sides take part in the handshake of a carrier.
async fn connected<C: Carrier>(carrier: &C, listener: &mut Listener) -> (Connection, Connection) {
    let endpoint = listener.endpoint().clone();
    let accepted = async {
        let mut server = listener.accept().await.expect("accept");
        server.handshake().await.expect("handshake");
        server
    };
    let (client, server) =
        within(async { tokio::join!(carrier.connect(&endpoint), accepted) }).await;
    (client.expect("connect"), server)
}

/// Both ways to probe a connection.
const PROBES: [fn(&mut Connection) -> ProbeResult; 2] =
    [Connection::probe, Connection::probe_cached];

async fn wait_until_not_idle(
    connection: &mut Connection,
    probe: fn(&mut Connection) -> ProbeResult,
) -> ProbeResult {
    within(async {
        loop {
            match probe(connection) {
                ProbeResult::Idle => tokio::task::yield_now().await,
                found => return found,
            }
        }
    })
    .await
}

async fn bytes_arrive_unchanged_in_both_directions<C: Carrier>(carrier: C) {
    let (_listener, mut client, mut server) = pair(&carrier).await;
    let echo = async {
        let mut buf = [0; 5];
        server.read_exact(&mut buf).await.expect("server reads");
        server.write_all(&buf).await.expect("server writes");
    };
    let call = async {
        client.write_all(b"hello").await.expect("client writes");
        let mut buf = [0; 5];
        client.read_exact(&mut buf).await.expect("client reads");
        buf
    };
    let ((), received) = within(async { tokio::join!(echo, call) }).await;
    assert_eq!(&received, b"hello");
}

async fn both_sides_know_their_peer<C: Carrier>(carrier: C) {
    let (_listener, client, server) = pair(&carrier).await;
    assert!(C::is_peer(client.peer().address()), "{client:?}");
    assert!(C::is_peer(server.peer().address()), "{server:?}");
}

async fn four_mebibytes_go_both_ways_at_once<C: Carrier>(carrier: C) {
    let (_listener, client, server) = pair(&carrier).await;
    let size = 4 * 1024 * 1024;
    let pattern = |seed: usize| (0..size).map(|i| (i * 31 + seed) as u8).collect::<Vec<_>>();
    let side = |connection, out: Vec<u8>| async move {
        let (mut reader, mut writer) = tokio::io::split(connection);
        let write = async {
            writer.write_all(&out).await.expect("write");
            writer.shutdown().await.expect("shutdown");
        };
        let mut received = Vec::new();
        let (_, read) = tokio::join!(write, reader.read_to_end(&mut received));
        read.expect("read");
        received
    };
    let (at_client, at_server) =
        within(async { tokio::join!(side(client, pattern(1)), side(server, pattern(2))) }).await;
    assert!(at_client == pattern(2));
    assert!(at_server == pattern(1));
}

async fn a_vectored_write_sends_every_part<C: Carrier>(carrier: C) {
    let (_listener, mut client, mut server) = pair(&carrier).await;
    assert!(client.is_write_vectored() && server.is_write_vectored());
    let parts = [io::IoSlice::new(b"head"), io::IoSlice::new(b"body")];
    assert_eq!(
        within(client.write_vectored(&parts)).await.expect("write"),
        8
    );
    let mut buf = [0; 8];
    within(server.read_exact(&mut buf)).await.expect("read");
    assert_eq!(&buf, b"headbody");
}

async fn dropping_one_side_ends_the_other<C: Carrier>(carrier: C) {
    let (_listener, client, mut server) = pair(&carrier).await;
    drop(client);
    assert_eq!(within(server.read(&mut [0; 8])).await.expect("read"), 0);
}

async fn closing_one_half_leaves_the_other_open<C: Carrier>(carrier: C) {
    let (_listener, mut client, mut server) = pair(&carrier).await;
    client.write_all(b"question").await.expect("write");
    within(client.shutdown()).await.expect("shutdown");
    let mut received = Vec::new();
    within(server.read_to_end(&mut received))
        .await
        .expect("server reads");
    assert_eq!(received, b"question");

    server.write_all(b"answer").await.expect("write");
    drop(server);
    let mut received = Vec::new();
    within(client.read_to_end(&mut received))
        .await
        .expect("client reads");
    assert_eq!(received, b"answer");
}

async fn a_probe_of_an_idle_connection_leaves_it_usable<C: Carrier>(carrier: C) {
    let (_listener, mut client, mut server) = pair(&carrier).await;
    for probe in PROBES {
        assert_eq!(probe(&mut client), ProbeResult::Idle);
        assert_eq!(probe(&mut server), ProbeResult::Idle);
        client.write_all(b"on").await.expect("write");
        let mut buf = [0; 2];
        within(server.read_exact(&mut buf)).await.expect("read");
        assert_eq!(probe(&mut client), ProbeResult::Idle);
        // The probe must not have replaced the waker of the reader.
        let (read, ()) = within(async {
            tokio::join!(client.read_exact(&mut buf), async {
                server.write_all(b"go").await.expect("write");
            })
        })
        .await;
        read.expect("read after a probe");
        assert_eq!(&buf, b"go");
    }
}

async fn a_probe_detects_that_the_peer_has_gone<C: Carrier>(carrier: C) {
    for probe in PROBES {
        let (_listener, mut client, server) = pair(&carrier).await;
        drop(server);
        assert_eq!(
            wait_until_not_idle(&mut client, probe).await,
            ProbeResult::Closed
        );
    }
}

async fn a_probe_detects_unexpected_data<C: Carrier>(carrier: C) {
    for probe in PROBES {
        let (_listener, mut client, mut server) = pair(&carrier).await;
        server.write_all(b"unexpected").await.expect("write");
        assert_eq!(
            wait_until_not_idle(&mut client, probe).await,
            ProbeResult::UnexpectedData
        );
    }
}

async fn a_connection_is_refused_when_no_server_listens<C: Carrier>(carrier: C) {
    let listener = within(carrier.bind(None)).await.expect("bind");
    let endpoint = listener.endpoint().clone();
    drop(listener);
    let error = within(carrier.connect(&endpoint))
        .await
        .expect_err("no server listens");
    assert!(error.is_refused(), "{error:?}");
    assert!(error.to_string().contains(&endpoint.to_string()), "{error}");
}

async fn dropping_an_accept_loses_no_connection<C: Carrier>(carrier: C) {
    let mut listener = within(carrier.bind(None)).await.expect("bind");
    let endpoint = listener.endpoint().clone();
    let poll_and_drop = |listener: &mut Listener| {
        let accept = pin!(listener.accept());
        let polled = accept.poll(&mut Context::from_waker(Waker::noop()));
        assert!(polled.is_pending());
    };

    poll_and_drop(&mut listener);
    for number in 0..20_u8 {
        let accepted = async {
            let mut server = loop {
                // Each iteration drops an accept that was not ready.
                tokio::select! {
                    biased;
                    accepted = listener.accept() => break accepted.expect("accept"),
                    () = tokio::task::yield_now() => {}
                }
            };
            server.handshake().await.expect("handshake");
            server
        };
        let connected = within(async { tokio::join!(carrier.connect(&endpoint), accepted) });
        let (client, mut server) = connected.await;
        let mut client = client.expect("connect");
        client.write_all(&[number]).await.expect("write");
        assert_eq!(within(server.read_u8()).await.expect("read"), number);
    }
    poll_and_drop(&mut listener);
}

async fn a_second_listener_is_rejected_and_the_first_continues<C: Carrier>(carrier: C) {
    let mut first = within(carrier.bind(None)).await.expect("bind");
    let endpoint = first.endpoint().clone();
    let error = within(carrier.bind(Some(&endpoint)))
        .await
        .expect_err("in use");
    assert!(error.is_in_use(), "{error:?}");

    // The accepted connection may be the one with which the second listener checked for a live
    // server.
    drop(connected(&carrier, &mut first).await);
}

async fn an_endpoint_can_be_bound_again_after_its_listener_is_dropped<C: Carrier>(carrier: C) {
    let (listener, mut client, mut server) = pair(&carrier).await;
    let endpoint = listener.endpoint().clone();
    listener.close();

    let mut again = within(carrier.bind(Some(&endpoint)))
        .await
        .expect("bind again");
    assert_eq!(again.endpoint(), &endpoint);
    drop(connected(&carrier, &mut again).await);

    // The connection accepted before still works.
    client.write_all(b"still").await.expect("write");
    let mut buf = [0; 5];
    within(server.read_exact(&mut buf)).await.expect("read");
}

async fn a_connection_that_waits_to_be_accepted_ends_with_the_listener<C: Carrier>(carrier: C) {
    let listener = within(carrier.bind(None)).await.expect("bind");
    let mut client = within(carrier.connect(listener.endpoint()))
        .await
        .expect("connect");
    drop(listener);
    // TCP resets it, which is an error.
    assert!(matches!(
        within(client.read(&mut [0; 8])).await,
        Ok(0) | Err(_)
    ));
}

/// Reports a skipped test on stderr, which the test harness does not capture.
fn not_tested(carrier: &str, test: &str) {
    let line = format!("NOT TESTED, this machine has no {carrier}: {test}\n");
    io::Write::write_all(&mut io::stderr(), line.as_bytes()).expect("stderr");
}

macro_rules! contract {
    ($($carrier:ident: $Carrier:ty => [$($test:ident)*])*) => {$(
        mod $carrier {
            use super::*;
            $(
                #[tokio::test]
                async fn $test() {
                    if !<$Carrier>::is_available() {
                        not_tested(stringify!($carrier), stringify!($test));
                        return;
                    }
                    super::$test(<$Carrier>::new(stringify!($test))).await;
                }
            )*
        }
    )*};
}

macro_rules! for_every_carrier {
    ($($carrier:ident: $Carrier:ty $(, $more:ident)*;)*) => {
        contract! {$(
            $carrier: $Carrier => [
                bytes_arrive_unchanged_in_both_directions
                both_sides_know_their_peer
                four_mebibytes_go_both_ways_at_once
                a_vectored_write_sends_every_part
                dropping_one_side_ends_the_other
                closing_one_half_leaves_the_other_open
                a_probe_of_an_idle_connection_leaves_it_usable
                a_probe_detects_that_the_peer_has_gone
                a_probe_detects_unexpected_data
                a_connection_is_refused_when_no_server_listens
                dropping_an_accept_loses_no_connection
                a_second_listener_is_rejected_and_the_first_continues
                an_endpoint_can_be_bound_again_after_its_listener_is_dropped
                $($more)*
            ]
        )*}
    };
}

for_every_carrier! {
    tcp_v4: TcpV4, a_connection_that_waits_to_be_accepted_ends_with_the_listener;
    tcp_v6: TcpV6, a_connection_that_waits_to_be_accepted_ends_with_the_listener;
    memory: Memory, a_connection_that_waits_to_be_accepted_ends_with_the_listener;
    custom: Custom, a_connection_that_waits_to_be_accepted_ends_with_the_listener;
}

#[cfg(unix)]
for_every_carrier! {
    unix: Unix, a_connection_that_waits_to_be_accepted_ends_with_the_listener;
}

// A TLS client waits for the handshake, which ends with the listener.
#[cfg(feature = "tls")]
for_every_carrier! {
    tls: Tls;
}

#[tokio::test]
async fn a_client_cannot_connect_to_port_zero() {
    let endpoint = "tcp://127.0.0.1:0".parse().expect("endpoint");
    let error = within(connect(&endpoint)).await.expect_err("port zero");
    assert!(matches!(error, Error::InvalidEndpoint { .. }), "{error:?}");
}

#[cfg(unix)]
#[tokio::test]
async fn a_probe_of_a_socket_consumes_no_bytes() {
    let (_listener, mut client, mut server) = pair(&TcpV4).await;
    for probe in PROBES {
        server.write_all(b"whole").await.expect("write");
        assert_eq!(
            wait_until_not_idle(&mut client, probe).await,
            ProbeResult::UnexpectedData
        );
        let mut buf = [0; 5];
        within(client.read_exact(&mut buf)).await.expect("read");
        assert_eq!(&buf, b"whole");
    }
}

#[tokio::test]
async fn every_address_of_a_name_is_tried() {
    // On most machines `localhost` resolves to ::1 first, where no server listens in this test.
    let mut listener = within(Listener::bind(
        &Endpoint::tcp("127.0.0.1", 0).expect("endpoint"),
    ))
    .await
    .expect("bind");
    let port = match listener.endpoint() {
        Endpoint::Tcp { port, .. } => *port,
        other => panic!("{other}"),
    };
    assert_ne!(port, 0);
    let endpoint = Endpoint::tcp("localhost", port).expect("endpoint");
    let _client = within(connect(&endpoint)).await.expect("connect");
    within(listener.accept()).await.expect("accept");
}

#[tokio::test]
async fn a_custom_endpoint_has_no_built_in_carrier() {
    let endpoint = Endpoint::custom("a line");
    let error = within(connect(&endpoint)).await.expect_err("custom");
    assert!(matches!(error, Error::NoCarrier { .. }), "{error:?}");
    let error = within(Listener::bind(&endpoint)).await.expect_err("custom");
    assert!(matches!(error, Error::NoCarrier { .. }), "{error:?}");
}

#[tokio::test]
async fn a_memory_connection_waits_while_the_queue_is_full() {
    let endpoint = Endpoint::memory("a full queue").expect("endpoint");
    let mut listener = within(Listener::bind(&endpoint)).await.expect("bind");
    let mut clients = Vec::new();
    let waiting = loop {
        let mut connecting = Box::pin(connect(&endpoint));
        match connecting
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()))
        {
            Poll::Ready(client) => clients.push(client.expect("connect")),
            Poll::Pending => break connecting,
        }
    };
    assert_eq!(clients.len(), 128);
    within(listener.accept()).await.expect("accept");
    within(waiting)
        .await
        .expect("connect once the queue has room");

    let mut refused = Box::pin(connect(&endpoint));
    assert!(
        refused
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()))
            .is_pending()
    );
    drop(listener);
    assert!(
        within(refused)
            .await
            .expect_err("the listener is gone")
            .is_refused()
    );
    for mut client in clients.split_off(1) {
        assert_eq!(within(client.read(&mut [0; 1])).await.expect("read"), 0);
    }
}

#[cfg(unix)]
struct Unix(tempfile::TempDir);

#[cfg(unix)]
impl Carrier for Unix {
    fn new(_: &str) -> Self {
        Self(tempfile::tempdir().expect("directory"))
    }

    async fn bind(&self, endpoint: Option<&Endpoint>) -> Result<Listener, Error> {
        let fresh = Endpoint::unix(self.0.path().join("socket")).expect("endpoint");
        Listener::bind(endpoint.unwrap_or(&fresh)).await
    }

    async fn connect(&self, endpoint: &Endpoint) -> Result<Connection, Error> {
        connect(endpoint).await
    }

    fn is_peer(address: &PeerAddr) -> bool {
        matches!(address, PeerAddr::Unix(_))
    }
}

struct TcpV4;

impl Carrier for TcpV4 {
    fn new(_: &str) -> Self {
        Self
    }

    async fn bind(&self, endpoint: Option<&Endpoint>) -> Result<Listener, Error> {
        let fresh = "tcp://127.0.0.1:0".parse().expect("endpoint");
        Listener::bind(endpoint.unwrap_or(&fresh)).await
    }

    async fn connect(&self, endpoint: &Endpoint) -> Result<Connection, Error> {
        connect(endpoint).await
    }

    fn is_peer(address: &PeerAddr) -> bool {
        matches!(address, PeerAddr::Tcp(tcp) if tcp.is_ipv4())
    }
}

struct TcpV6;

impl Carrier for TcpV6 {
    fn new(_: &str) -> Self {
        Self
    }

    // Some containers have no IPv6.
    fn is_available() -> bool {
        std::net::TcpListener::bind("[::1]:0").is_ok()
    }

    async fn bind(&self, endpoint: Option<&Endpoint>) -> Result<Listener, Error> {
        let fresh = "tcp://[::1]:0".parse().expect("endpoint");
        Listener::bind(endpoint.unwrap_or(&fresh)).await
    }

    async fn connect(&self, endpoint: &Endpoint) -> Result<Connection, Error> {
        connect(endpoint).await
    }

    fn is_peer(address: &PeerAddr) -> bool {
        matches!(address, PeerAddr::Tcp(tcp) if tcp.is_ipv6())
    }
}

/// TLS with certificates on both sides.
#[cfg(feature = "tls")]
struct Tls(authority::Authority);

#[cfg(feature = "tls")]
impl Carrier for Tls {
    fn new(_: &str) -> Self {
        Self(authority::Authority::new("contract"))
    }

    async fn bind(&self, endpoint: Option<&Endpoint>) -> Result<Listener, Error> {
        let fresh = "tls://127.0.0.1:0".parse().expect("endpoint");
        let issued = self.0.server();
        let tls = TlsServer::from_pem(issued.certificate, issued.key)?.client_ca(self.0.file())?;
        Listener::bind_tls(endpoint.unwrap_or(&fresh), tls).await
    }

    async fn connect(&self, endpoint: &Endpoint) -> Result<Connection, Error> {
        let issued = self.0.client("client.example");
        let tls = TlsClient::new()
            .ca(self.0.file())?
            .identity(issued.certificate, issued.key)?;
        let connector = EndpointConnector::new(endpoint.clone(), TcpOptions::new());
        connector.with_tls(tls).connect().await
    }

    fn is_peer(address: &PeerAddr) -> bool {
        matches!(address, PeerAddr::Tcp(_))
    }
}

/// The in-process carrier. Names are process-wide, so each test has its own.
struct Memory(String);

impl Carrier for Memory {
    fn new(test: &str) -> Self {
        Self(test.to_owned())
    }

    async fn bind(&self, endpoint: Option<&Endpoint>) -> Result<Listener, Error> {
        let fresh = Endpoint::memory(self.0.as_str()).expect("endpoint");
        Listener::bind(endpoint.unwrap_or(&fresh)).await
    }

    async fn connect(&self, endpoint: &Endpoint) -> Result<Connection, Error> {
        connect(endpoint).await
    }

    fn is_peer(address: &PeerAddr) -> bool {
        matches!(address, PeerAddr::Memory(_))
    }
}

/// A carrier as a user would write it: a registry of named queues.
struct Custom(Arc<Queues>);

type Queues = Mutex<HashMap<String, mpsc::UnboundedSender<DuplexStream>>>;

#[derive(Debug)]
struct CustomConnector {
    queues: Arc<Queues>,
    endpoint: Endpoint,
}

#[derive(Debug)]
struct CustomListener {
    queues: Arc<Queues>,
    endpoint: Endpoint,
    incoming: mpsc::UnboundedReceiver<DuplexStream>,
}

impl Connector for CustomConnector {
    fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    fn connect(&self) -> BoxFuture<'_, Result<Connection, Error>> {
        Box::pin(async {
            let (near, far) = tokio::io::duplex(64 * 1024);
            let queues = self.queues.lock().expect("lock");
            match queues
                .get(&self.endpoint.to_string())
                .map(|queue| queue.send(far))
            {
                Some(Ok(())) => Ok(Connection::custom(near, self.endpoint.to_string())),
                _ => Err(Error::Connect {
                    endpoint: self.endpoint.clone(),
                    source: io::ErrorKind::ConnectionRefused.into(),
                }),
            }
        })
    }
}

impl Accept for CustomListener {
    fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<Result<Connection, Error>> {
        let stream = ready!(self.incoming.poll_recv(cx)).expect("the queue is open");
        Poll::Ready(Ok(Connection::custom(stream, "a client")))
    }
}

impl Drop for CustomListener {
    fn drop(&mut self) {
        self.queues
            .lock()
            .expect("lock")
            .remove(&self.endpoint.to_string());
    }
}

impl Carrier for Custom {
    fn new(_: &str) -> Self {
        Self(Arc::default())
    }

    async fn bind(&self, endpoint: Option<&Endpoint>) -> Result<Listener, Error> {
        let endpoint = endpoint
            .cloned()
            .unwrap_or_else(|| Endpoint::custom("queue 12"));
        let mut queues = self.0.lock().expect("lock");
        if queues.contains_key(&endpoint.to_string()) {
            return Err(Error::Bind {
                endpoint,
                source: io::ErrorKind::AddrInUse.into(),
            });
        }
        let (queue, incoming) = mpsc::unbounded_channel();
        queues.insert(endpoint.to_string(), queue);
        Ok(Listener::custom(CustomListener {
            queues: Arc::clone(&self.0),
            endpoint,
            incoming,
        }))
    }

    async fn connect(&self, endpoint: &Endpoint) -> Result<Connection, Error> {
        let connector = CustomConnector {
            queues: Arc::clone(&self.0),
            endpoint: endpoint.clone(),
        };
        let connector: Arc<dyn Connector> = Arc::new(connector);
        connector.connect().await
    }

    fn is_peer(address: &PeerAddr) -> bool {
        matches!(address, PeerAddr::Custom(_))
    }
}
