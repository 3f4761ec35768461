//! The TCP acceptor, which accepts connections on all addresses of a host name.

use std::{
    io,
    net::SocketAddr,
    task::{Context, Poll},
};

use tokio::net::{TcpListener, TcpSocket};

use super::{options::TcpOptions, resolve::resolve};
use crate::{Connection, Endpoint, PeerAddr};

/// The sockets that listen on all addresses of one host, on the same port.
pub(crate) struct TcpAcceptor {
    /// The listeners. There is at least one.
    listeners: Vec<TcpListener>,
    /// The index of the listener to poll first. The index changes after each accept, so that a busy
    /// listener does not starve the others.
    next: usize,
    options: TcpOptions,
}

impl TcpAcceptor {
    /// Binds to all addresses of a host and returns the bound port. If `port` is 0, the system
    /// chooses the port.
    pub(crate) async fn bind(host: &str, port: u16) -> io::Result<(Self, u16)> {
        let addresses = resolve(host, port).await?;
        let listeners = bind_all(&addresses)?;
        let port = listeners[0].local_addr()?.port();
        Ok((Self::new(listeners), port))
    }

    /// Converts a bound listener and returns its endpoint.
    pub(crate) fn adopt(listener: TcpListener) -> io::Result<(Self, Endpoint)> {
        let endpoint = listener.local_addr()?.into();
        Ok((Self::new(vec![listener]), endpoint))
    }

    fn new(listeners: Vec<TcpListener>) -> Self {
        Self {
            listeners,
            next: 0,
            options: TcpOptions::default(),
        }
    }

    /// Sets the options for connections that are accepted after this call.
    pub(crate) fn set_options(&mut self, options: TcpOptions) {
        self.options = options;
    }

    pub(crate) fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Connection>> {
        let len = self.listeners.len();
        for offset in 0..len {
            let index = (self.next + offset) % len;
            if let Poll::Ready(accepted) = self.listeners[index].poll_accept(cx) {
                // Advance after an error too, so that a failing listener does not starve the
                // others.
                self.next = index + 1;
                let (stream, address) = accepted?;
                let address = PeerAddr::Tcp(address);
                return Poll::Ready(Ok(Connection::tcp(stream, address, &self.options)));
            }
        }
        Poll::Pending
    }
}

/// Listens on all addresses. If the port of the addresses is 0, the system chooses one port for all
/// of them.
fn bind_all(addresses: &[SocketAddr]) -> io::Result<Vec<TcpListener>> {
    let mut attempts = PORT_ATTEMPTS;
    loop {
        attempts -= 1;
        match try_bind_all(addresses) {
            // The port that the system chose for the first address is in use on another address, so
            // try again.
            Err(error)
                if error.kind() == io::ErrorKind::AddrInUse
                    && addresses.iter().any(|address| address.port() == 0)
                    && attempts > 0 => {}
            result => return result,
        }
    }
}

fn try_bind_all(addresses: &[SocketAddr]) -> io::Result<Vec<TcpListener>> {
    let mut listeners: Vec<TcpListener> = Vec::with_capacity(addresses.len());
    let mut unavailable = None;
    for &(mut address) in addresses {
        if let (0, Some(first)) = (address.port(), listeners.first()) {
            address.set_port(first.local_addr()?.port());
        }
        match listen(address, addresses.len() > 1) {
            Ok(listener) => listeners.push(listener),
            // Host names often have addresses that the machine does not support. For example,
            // `localhost` is resolved to ::1 even in a container without IPv6.
            Err(error) if is_unavailable(&error) => unavailable = Some(error),
            Err(error) => return Err(error),
        }
    }
    match unavailable {
        Some(error) if listeners.is_empty() => Err(error),
        _ => Ok(listeners),
    }
}

fn listen(address: SocketAddr, is_one_of_several: bool) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        let socket = TcpSocket::new_v6()?;
        // Without this option, a listener on [::] would also occupy the port on 0.0.0.0.
        #[cfg(unix)]
        if is_one_of_several {
            rustix::net::sockopt::set_ipv6_v6only(&socket, true)?;
        }
        socket
    };
    #[cfg(not(unix))]
    let _ = is_one_of_several;
    // With this option, a server can restart immediately, without waiting until the connections of
    // the previous process have timed out. On Windows, the option would allow two servers to share
    // the port.
    #[cfg(not(windows))]
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Returns true if the machine does not have the address or does not support its address family.
fn is_unavailable(error: &io::Error) -> bool {
    #[cfg(unix)]
    if rustix::io::Errno::from_io_error(error) == Some(rustix::io::Errno::AFNOSUPPORT) {
        return true;
    }
    error.kind() == io::ErrorKind::AddrNotAvailable
}

/// The length of the accept queue. The system reduces the length to its own limit.
const BACKLOG: u32 = 1024;

/// The maximum number of bind attempts. Another attempt is needed if the port that the system chose
/// is in use on one of the addresses.
const PORT_ATTEMPTS: u32 = 16;

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, net::Ipv6Addr};

    use tokio::net::TcpStream;

    use super::*;

    fn has_ipv6() -> bool {
        std::net::TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok()
    }

    fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
        let parse = |text: &&str| text.parse().expect("address");
        texts.iter().map(parse).collect()
    }

    #[tokio::test]
    async fn a_name_with_two_addresses_is_served_on_both_and_on_one_port() {
        if !has_ipv6() {
            return;
        }
        let listeners = bind_all(&addresses(&["127.0.0.1:0", "[::1]:0"])).expect("bind");
        let bound: Vec<_> = listeners
            .iter()
            .map(|listener| listener.local_addr().expect("address"))
            .collect();
        assert_eq!(bound.len(), 2);
        assert_eq!(bound[0].port(), bound[1].port());
        let mut acceptor = TcpAcceptor::new(listeners);
        // One address is always busy, but connections on the other address must be accepted too.
        let mut clients = Vec::new();
        for address in [bound[1], bound[1], bound[1], bound[0]] {
            clients.push(TcpStream::connect(address).await.expect("connect"));
        }
        let mut served = Vec::new();
        for _ in 0..2 {
            let accepted = poll_fn(|cx| acceptor.poll_accept(cx)).await;
            let connection = accepted.expect("accept");
            match connection.peer().address() {
                PeerAddr::Tcp(peer) => served.push(peer.is_ipv4()),
                other => panic!("{other}"),
            }
        }
        served.sort_unstable();
        assert_eq!(served, [false, true]);
    }

    #[tokio::test]
    async fn the_wildcards_of_both_families_share_a_port() {
        if !has_ipv6() {
            return;
        }
        let listeners = bind_all(&addresses(&["[::]:0", "0.0.0.0:0"])).expect("bind");
        assert_eq!(listeners.len(), 2);
    }

    #[tokio::test]
    async fn an_address_that_the_machine_lacks_is_left_out_unless_it_is_the_only_one() {
        // An address that is reserved for documentation (RFC 5737).
        let listeners = bind_all(&addresses(&["192.0.2.1:0", "127.0.0.1:0"])).expect("bind");
        assert_eq!(listeners.len(), 1);
        let error = bind_all(&addresses(&["192.0.2.1:0"])).expect_err("no such address");
        assert_eq!(error.kind(), io::ErrorKind::AddrNotAvailable);
    }

    #[tokio::test]
    async fn an_address_that_is_taken_fails_the_whole_bind() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
        let taken = taken.local_addr().map(|address| (taken, address));
        let (_taken, address) = taken.expect("address");
        let other = SocketAddr::from(([127, 0, 0, 2], address.port()));
        let error = bind_all(&[other, address]).expect_err("taken");
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        drop(std::net::TcpListener::bind(other).expect("it was released"));
    }
}
