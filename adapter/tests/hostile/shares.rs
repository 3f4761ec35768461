//! Every peer has a share of the connections.

use std::{
    net::SocketAddr,
    task::{Context, Poll},
    time::Duration,
};

use agentwire::{
    Endpoint, LocalAgent, Message, agent_fn,
    transport::{self, Accept, Connection, Credentials, Listener, Peer, PeerAddr},
};
use tokio::{io::duplex, sync::mpsc, time::advance};
use tracing::Level;

use crate::common::{RawPeer, logged, process_frame, within};

/// A carrier whose peers have any address and any user.
#[derive(Debug)]
struct AnyPeers {
    endpoint: Endpoint,
    connections: mpsc::UnboundedReceiver<Connection>,
}

impl Accept for AnyPeers {
    fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<Result<Connection, transport::Error>> {
        match self.connections.poll_recv(cx) {
            Poll::Ready(Some(connection)) => Poll::Ready(Ok(connection)),
            _ => Poll::Pending,
        }
    }
}

/// A server with [`CONNECTIONS`] connections, whose agent never answers.
struct Server {
    _server: LocalAgent,
    connections: mpsc::UnboundedSender<Connection>,
}

impl Server {
    async fn start() -> Self {
        let (connections, receiver) = mpsc::unbounded_channel();
        let agent = agent_fn("busy", |_: Message| std::future::pending());
        let server = LocalAgent::builder(agent)
            .max_connections(CONNECTIONS)
            .listener(Listener::custom(AnyPeers {
                endpoint: Endpoint::custom("any peers"),
                connections: receiver,
            }))
            .serve();
        Self {
            _server: within(server).await.unwrap(),
            connections,
        }
    }

    /// Connects as `peer`, and returns whether the connection was accepted. An accepted connection
    /// has a request in flight.
    async fn connect(&self, peer: impl Into<Peer>) -> Option<RawPeer> {
        let (near, far) = duplex(64 * 1024);
        self.connections
            .send(Connection::custom(near, peer))
            .unwrap();
        let mut peer = RawPeer {
            connection: Connection::custom(far, "server"),
        };
        peer.send(&process_frame("1", Message::user("x"))).await;
        peer.send_frame(HEARTBEAT).await;
        within(peer.receive_or_end())
            .await
            .is_some()
            .then_some(peer)
    }

    /// Opens connections until one is refused, and returns those that were accepted.
    async fn fill(&self, peer: impl Fn(usize) -> Peer) -> Vec<RawPeer> {
        let mut accepted = Vec::new();
        while accepted.len() < CONNECTIONS {
            match self.connect(peer(accepted.len())).await {
                Some(connection) => accepted.push(connection),
                None => break,
            }
        }
        accepted
    }
}

fn at(address: &str) -> Peer {
    Peer::from(address.parse::<SocketAddr>().unwrap())
}

fn user(uid: u32) -> Peer {
    Peer::new(PeerAddr::Unix(None)).with_credentials(Credentials::new(uid, uid, None))
}

fn own_uid() -> u32 {
    transport::internal::own_uid().unwrap()
}

#[tokio::test]
async fn a_remote_peer_has_a_quarter_of_the_connections_and_others_are_served() {
    let server = Server::start().await;
    let first = server
        .fill(|port| at(&format!("192.0.2.1:{}", 1000 + port)))
        .await;
    assert_eq!(first.len(), CONNECTIONS / 4);
    // The same address, written as IPv6.
    assert!(server.connect(at("[::ffff:192.0.2.1]:1")).await.is_none());
    assert!(server.connect(at("192.0.2.2:1")).await.is_some());
}

#[tokio::test]
async fn the_addresses_of_one_ipv6_network_share() {
    let server = Server::start().await;
    let host = server
        .fill(|number| at(&format!("[2001:db8:0:1:{number:x}::{number:x}]:1")))
        .await;
    assert_eq!(host.len(), CONNECTIONS / 4);
    assert!(server.connect(at("[2001:db8:0:2::1]:1")).await.is_some());
}

#[tokio::test]
async fn another_user_has_a_quarter_and_the_own_user_has_all_connections() {
    let server = Server::start().await;
    let stranger = server.fill(|_| user(own_uid() + 1)).await;
    assert_eq!(stranger.len(), CONNECTIONS / 4);
    // Users without credentials share, too.
    let unknown = server.fill(|_| Peer::new(PeerAddr::Unix(None))).await;
    assert_eq!(unknown.len(), CONNECTIONS / 4);
    drop((stranger, unknown));
    let server = Server::start().await;
    assert_eq!(server.fill(|_| user(own_uid())).await.len(), CONNECTIONS);
    for address in ["127.0.0.1:1", "127.9.9.9:1", "[::1]:1"] {
        let server = Server::start().await;
        assert_eq!(server.fill(|_| at(address)).await.len(), CONNECTIONS);
    }
}

#[test]
fn refused_connections_are_logged_once_and_then_counted() {
    let lines = logged(async {
        tokio::time::pause();
        let server = Server::start().await;
        let peer = || at("192.0.2.1:1");
        let _full = server.fill(|_| peer()).await;
        for _ in 0..REFUSALS {
            assert!(server.connect(peer()).await.is_none());
        }
        advance(LOG_INTERVAL).await;
        assert!(server.connect(peer()).await.is_none());
    });
    let refusals = lines
        .iter()
        .filter(|(level, text)| *level == Level::WARN && text.contains("has its share"))
        .map(|(_, text)| text);
    let counts: Vec<_> = refusals
        .filter_map(|text| text.split_once(" count=").map(|(_, rest)| rest))
        .map(|rest| rest.split(' ').next().unwrap().parse::<usize>().unwrap())
        .collect();
    assert_eq!(counts, [1, REFUSALS + 1]);
}

const CONNECTIONS: usize = 16;
const HEARTBEAT: &[u8] = br#"{"id": "1", "type": "heartbeat", "payload": {}}"#;

/// How many connections are refused between two lines of the log.
const REFUSALS: usize = 50;

/// The interval between two lines of the log.
const LOG_INTERVAL: Duration = Duration::from_secs(10);
