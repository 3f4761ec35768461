//! How callers prove who they are: [`Authenticate`].

use std::{
    fmt,
    future::{Future, ready},
};

use agentwire_transport::Peer;
use futures_core::future::BoxFuture;

use crate::{Credential, Principal};

/// Finds out who sends requests.
///
/// A server asks its authenticators in the order in which they were added. The first principal
/// counts. A credential in a request outweighs the identity of the connection. A credential that no
/// authenticator accepts is refused, even if the connection has an identity.
pub trait Authenticate: Send + Sync + 'static {
    /// Authenticates a connection by its peer: the user behind a Unix socket, or a certificate.
    /// Called for the first request of each connection, and again after each change of
    /// [`revision`](Self::revision). Returns `None` if the authenticator does not know the peer.
    ///
    /// # Errors
    ///
    /// Returns [`Denied`] to refuse the requests of the connection.
    fn connection(
        &self,
        peer: &Peer,
    ) -> impl Future<Output = Result<Option<Principal>, Denied>> + Send {
        let _ = peer;
        ready(Ok(None))
    }

    /// Authenticates a request by its credential. Returns `None` if the authenticator does not know
    /// the credential.
    ///
    /// # Errors
    ///
    /// Returns [`Denied`] to refuse the request.
    fn request(
        &self,
        peer: &Peer,
        credential: &Credential,
    ) -> impl Future<Output = Result<Option<Principal>, Denied>> + Send {
        let _ = (peer, credential);
        ready(Ok(None))
    }

    /// Returns a number that changes whenever connections must be authenticated again.
    fn revision(&self) -> u64 {
        0
    }
}

/// A refusal to authenticate. The reason is recorded, but not sent to the caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denied {
    reason: String,
}

impl Denied {
    /// Creates a refusal. The reason must not contain the credential.
    #[must_use]
    pub fn new(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
        }
    }

    /// Returns the reason.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.reason
    }
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl std::error::Error for Denied {}

/// The object-safe form of [`Authenticate`].
pub(crate) trait DynAuthenticate: Send + Sync {
    fn connection<'a>(&'a self, peer: &'a Peer)
    -> BoxFuture<'a, Result<Option<Principal>, Denied>>;

    fn request<'a>(
        &'a self,
        peer: &'a Peer,
        credential: &'a Credential,
    ) -> BoxFuture<'a, Result<Option<Principal>, Denied>>;

    fn revision(&self) -> u64;
}

impl<A: Authenticate> DynAuthenticate for A {
    fn connection<'a>(
        &'a self,
        peer: &'a Peer,
    ) -> BoxFuture<'a, Result<Option<Principal>, Denied>> {
        Box::pin(Authenticate::connection(self, peer))
    }

    fn request<'a>(
        &'a self,
        peer: &'a Peer,
        credential: &'a Credential,
    ) -> BoxFuture<'a, Result<Option<Principal>, Denied>> {
        Box::pin(Authenticate::request(self, peer, credential))
    }

    fn revision(&self) -> u64 {
        Authenticate::revision(self)
    }
}
