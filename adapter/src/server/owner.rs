//! Whose keys a caller uses: [`Owner`].

use super::{peer_key::PeerKey, service::Caller};

/// Whose request has an idempotency key: a principal, or without authentication a peer. Owners do
/// not see each other's outcomes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Owner {
    Principal {
        namespace: Option<String>,
        name: String,
    },
    Peer(PeerKey),
}

impl Owner {
    pub(crate) fn of(caller: &Caller) -> Self {
        match &caller.principal {
            Some(principal) => Self::Principal {
                namespace: principal.namespace().map(str::to_owned),
                name: principal.name().to_owned(),
            },
            None => Self::Peer(PeerKey::of(&caller.peer)),
        }
    }

    /// Returns whether the owner may leave nothing for others, as the peers of this user may.
    pub(crate) fn may_take_all(&self) -> bool {
        matches!(self, Self::Peer(peer) if peer.is_own())
    }

    /// Returns the text by which other processes know a key of this owner. No key of another owner
    /// has the same text, because each part has its length before it.
    pub(crate) fn text_of(&self, key: &str) -> String {
        match self {
            Self::Principal {
                namespace: Some(namespace),
                name,
            } => format!(
                "namespace:{}:{namespace}:{}:{name}:{key}",
                namespace.len(),
                name.len()
            ),
            Self::Principal {
                namespace: None,
                name,
            } => format!("principal:{}:{name}:{key}", name.len()),
            Self::Peer(peer) => {
                let peer = format!("{peer:?}");
                format!("peer:{}:{peer}:{key}", peer.len())
            }
        }
    }
}
