//! Sockets that were opened elsewhere and converted.

#![allow(clippy::expect_used, reason = "an unexpected result fails the test")]

mod common;

use agentwire_transport::{Connection, Endpoint, Listener, PeerAddr, ProbeResult, connect};
use common::within;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

async fn assert_serves(listener: &mut Listener) -> (Connection, Connection) {
    let mut client = within(connect(listener.endpoint())).await.expect("connect");
    let mut server = within(listener.accept()).await.expect("accept");
    client.write_all(b"hello").await.expect("write");
    let mut buf = [0; 5];
    within(server.read_exact(&mut buf)).await.expect("read");
    assert_eq!(&buf, b"hello");
    (client, server)
}

#[tokio::test]
async fn a_tcp_listener_knows_its_endpoint_and_serves() {
    let socket = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let address = socket.local_addr().expect("address");
    let mut listener = Listener::try_from(socket).expect("listener");
    assert_eq!(listener.endpoint(), &Endpoint::from(address));
    assert_serves(&mut listener).await;
}

#[tokio::test]
async fn a_blocking_tcp_listener_serves() {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
    let mut listener = Listener::try_from(socket).expect("listener");
    assert_serves(&mut listener).await;
}

#[tokio::test]
async fn a_tcp_stream_knows_its_peer_and_can_be_probed() {
    let socket = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let address = socket.local_addr().expect("address");
    let client = TcpStream::connect(address).await.expect("connect");
    let (server, _) = within(socket.accept()).await.expect("accept");
    let mut client = Connection::from(client);
    assert_eq!(client.peer().address(), &PeerAddr::Tcp(address));
    assert_eq!(client.probe_cached(), ProbeResult::Idle);
    drop(server);
    within(async {
        while client.probe_cached() == ProbeResult::Idle {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(client.probe(), ProbeResult::Closed);
}

#[cfg(unix)]
mod unix {
    use agentwire_transport::Error;
    use tokio::net::{UnixListener, UnixStream};

    use super::*;

    #[tokio::test]
    async fn a_unix_listener_serves_and_leaves_its_file_in_place() {
        let directory = tempfile::tempdir().expect("directory");
        for number in 0..2 {
            let path = directory.path().join(number.to_string());
            let mut listener = if number == 0 {
                let socket = UnixListener::bind(&path).expect("bind");
                Listener::try_from(socket).expect("listener")
            } else {
                let socket = std::os::unix::net::UnixListener::bind(&path).expect("bind");
                Listener::try_from(socket).expect("listener")
            };
            let endpoint = Endpoint::unix(&path).expect("endpoint");
            assert_eq!(listener.endpoint(), &endpoint);
            let (client, server) = assert_serves(&mut listener).await;
            assert!(client.peer().credentials().is_some());
            assert!(server.peer().credentials().is_some());
            drop(listener);
            assert!(path.exists());
        }
    }

    #[tokio::test]
    async fn a_unix_stream_knows_its_peer_and_can_be_probed() {
        let directory = tempfile::tempdir().expect("directory");
        let path = directory.path().join("socket");
        let socket = UnixListener::bind(&path).expect("bind");
        let client = UnixStream::connect(&path).await.expect("connect");
        let (server, _) = within(socket.accept()).await.expect("accept");
        let mut client = Connection::from(client);
        let address = PeerAddr::Unix(Some(path.as_path().into()));
        assert_eq!(client.peer().address(), &address);
        let uid = rustix::process::geteuid().as_raw();
        assert!(
            client
                .peer()
                .credentials()
                .is_some_and(|found| found.uid == uid)
        );
        assert_eq!(client.probe_cached(), ProbeResult::Idle);
        drop(server);
        within(async {
            while client.probe_cached() == ProbeResult::Idle {
                tokio::task::yield_now().await;
            }
        })
        .await;
        assert_eq!(client.probe_cached(), ProbeResult::Closed);
    }

    #[tokio::test]
    async fn a_socket_pair_has_credentials_and_no_path() {
        let (near, _far) = UnixStream::pair().expect("pair");
        let connection = Connection::from(near);
        assert_eq!(connection.peer().address(), &PeerAddr::Unix(None));
        assert!(connection.peer().credentials().is_some());
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn an_abstract_socket_is_rejected() {
        use std::os::{linux::net::SocketAddrExt, unix::net::SocketAddr};

        let name = format!("agentwire-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(name).expect("address");
        let socket = std::os::unix::net::UnixListener::bind_addr(&address).expect("bind");
        let error = Listener::try_from(socket).expect_err("abstract");
        assert!(matches!(error, Error::InvalidSocket { .. }), "{error:?}");
    }
}
