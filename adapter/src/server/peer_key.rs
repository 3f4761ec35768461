//! What counts as one peer where peers have shares.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

use agentwire_transport::{Peer, PeerAddr, internal::own_uid};

/// What counts as one peer, whatever the number of its connections.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum PeerKey {
    /// A user of this machine, behind a Unix socket.
    User(Option<u32>),
    /// A host, or an IPv6 network of one host.
    Host(IpAddr),
    /// The peers of a carrier inside this process.
    Carrier(Arc<str>),
    Unknown,
}

impl PeerKey {
    pub(crate) fn of(peer: &Peer) -> Self {
        match peer.address() {
            PeerAddr::Unix(_) => Self::User(peer.credentials().map(|user| user.uid)),
            PeerAddr::Tcp(address) => Self::Host(host(address.ip().to_canonical())),
            PeerAddr::Memory(name) | PeerAddr::Custom(name) => Self::Carrier(Arc::clone(name)),
            _ => Self::Unknown,
        }
    }

    /// Returns whether the peer is on this machine and belongs to the user of this process, or
    /// cannot be told from such a peer.
    pub(crate) fn is_own(&self) -> bool {
        match self {
            Self::User(uid) => uid.is_some() && *uid == own_uid(),
            Self::Host(address) => address.is_loopback(),
            Self::Carrier(_) => true,
            Self::Unknown => false,
        }
    }
}

/// Returns the address that stands for the host of `address`. A host owns all addresses of its
/// IPv6 network, and all loopback addresses lead to this machine.
fn host(address: IpAddr) -> IpAddr {
    match address {
        address if address.is_loopback() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(address) => IpAddr::V6((address.to_bits() & !u128::from(u64::MAX)).into()),
        address => address,
    }
}
