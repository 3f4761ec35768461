//! The built-in authenticators: [`Tokens`], [`Users`] and [`Certificates`].

use std::{
    collections::HashMap,
    future::{Future, ready},
    hash::{BuildHasher, RandomState},
};

use agentwire_transport::Peer;
use subtle::ConstantTimeEq;

use super::{
    authenticate::{Authenticate, Denied},
    digest::TokenDigest,
};
use crate::{Credential, CredentialKind, Principal};

/// Authenticates requests by bearer tokens and API keys.
///
/// Only the digests of the tokens are kept. A lookup compares digests in constant time.
#[derive(Debug, Default, Clone)]
#[must_use]
pub struct Tokens {
    /// The digests, in buckets that are chosen by a keyed hash. A caller cannot learn from the time
    /// of a lookup how much of its digest is right.
    buckets: Vec<Vec<(TokenDigest, Principal)>>,
    len: usize,
    hasher: RandomState,
}

impl Tokens {
    /// Creates an authenticator that knows no tokens.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a token of a principal by its digest.
    pub fn allow(mut self, digest: TokenDigest, principal: Principal) -> Self {
        self.insert(digest, principal);
        self
    }

    pub(crate) fn insert(&mut self, digest: TokenDigest, principal: Principal) {
        self.len += 1;
        if self.len > self.buckets.len() {
            let old = std::mem::take(&mut self.buckets);
            self.buckets = vec![Vec::new(); self.len.next_power_of_two()];
            for (digest, principal) in old.into_iter().flatten() {
                let bucket = self.bucket(&digest);
                self.buckets[bucket].push((digest, principal));
            }
        }
        let bucket = self.bucket(&digest);
        self.buckets[bucket].push((digest, principal));
    }

    /// Returns the principal of a token. An empty text is never a token.
    #[must_use]
    pub fn find(&self, token: &str) -> Option<&Principal> {
        // An empty text is what is left of a token that was not set.
        if token.is_empty() || self.buckets.is_empty() {
            return None;
        }
        let digest = TokenDigest::of(token);
        let mut found = None;
        for (known, principal) in &self.buckets[self.bucket(&digest)] {
            if bool::from(known.ct_eq(&digest)) {
                found = Some(principal);
            }
        }
        found
    }

    fn bucket(&self, digest: &TokenDigest) -> usize {
        let hash = self.hasher.hash_one(digest.bytes());
        // The number of buckets is a power of two that fits into a usize.
        (hash & (self.buckets.len() as u64 - 1)) as usize
    }
}

impl Authenticate for Tokens {
    fn request(
        &self,
        _: &Peer,
        credential: &Credential,
    ) -> impl Future<Output = Result<Option<Principal>, Denied>> + Send {
        let found = match credential.kind() {
            CredentialKind::Unreadable => None,
            _ => self.find(credential.secret()).cloned(),
        };
        ready(Ok(found))
    }
}

/// Authenticates the users and groups behind Unix sockets, as reported by the kernel.
///
/// The kernel reports the user 65534 for users that a user namespace does not map, so this user and
/// this group are never accepted.
#[derive(Debug, Default, Clone)]
#[must_use]
pub struct Users {
    users: HashMap<u32, Principal>,
    groups: HashMap<u32, Principal>,
}

impl Users {
    /// Creates an authenticator that knows no users.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the user with this number.
    pub fn allow_uid(mut self, uid: u32, principal: Principal) -> Self {
        self.users.insert(uid, principal);
        self
    }

    /// Adds all users whose main group has this number.
    pub fn allow_gid(mut self, gid: u32, principal: Principal) -> Self {
        self.groups.insert(gid, principal);
        self
    }

    pub(crate) fn find(&self, peer: &Peer) -> Option<&Principal> {
        let credentials = peer.credentials()?;
        let user = Some(credentials.uid).filter(|uid| !is_nobody(*uid));
        let group = Some(credentials.gid).filter(|gid| !is_nobody(*gid));
        let user = user.and_then(|uid| self.users.get(&uid));
        user.or_else(|| self.groups.get(&group?))
    }
}

impl Authenticate for Users {
    fn connection(
        &self,
        peer: &Peer,
    ) -> impl Future<Output = Result<Option<Principal>, Denied>> + Send {
        ready(Ok(self.find(peer).cloned()))
    }
}

/// Authenticates connections by a name in the verified certificate of the peer.
#[derive(Debug, Default, Clone)]
#[must_use]
pub struct Certificates {
    names: HashMap<String, Principal>,
}

impl Certificates {
    /// Creates an authenticator that knows no certificates.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a DNS name or a URI, such as a SPIFFE id, of the extension "subject alternative name".
    /// The whole name must match. Wildcards in a certificate have no meaning here.
    pub fn allow(mut self, name: impl Into<String>, principal: Principal) -> Self {
        self.names.insert(name.into(), principal);
        self
    }

    pub(crate) fn find(&self, peer: &Peer) -> Option<&Principal> {
        if self.names.is_empty() {
            return None;
        }
        let certificate = peer.certificate()?;
        let mut names = certificate.uris().iter().chain(certificate.dns_names());
        names.find_map(|name| self.names.get(name))
    }
}

impl Authenticate for Certificates {
    fn connection(
        &self,
        peer: &Peer,
    ) -> impl Future<Output = Result<Option<Principal>, Denied>> + Send {
        ready(Ok(self.find(peer).cloned()))
    }
}

/// Returns whether a text can be the name of a principal in logs, records and tables.
pub(super) fn is_principal_name(text: &str) -> bool {
    (1..=MAX_NAME).contains(&text.len()) && !text.chars().any(char::is_control)
}

const MAX_NAME: usize = 128;

/// Returns whether a number of a user or a group identifies nobody: the kernel reports 65534 for
/// one that has no number in the user namespace of the server, and -1 if it knows none.
pub(super) fn is_nobody(id: u32) -> bool {
    [OVERFLOW_ID, u32::MAX].contains(&id)
}

const OVERFLOW_ID: u32 = 65_534;

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use agentwire_transport::{Credentials, PeerAddr, PeerCertificate};

    use super::*;

    #[test]
    fn each_token_finds_its_principal_and_no_other_text_does() {
        let mut tokens = Tokens::new().allow(TokenDigest::of(""), Principal::new("nobody"));
        assert_eq!(tokens.find("0"), None);
        for number in 0..100 {
            let principal = Principal::new(format!("principal {number}"));
            tokens = tokens.allow(TokenDigest::of(&number.to_string()), principal);
        }
        for number in 0..100 {
            let found = tokens.find(&number.to_string()).unwrap();
            assert_eq!(found.name(), format!("principal {number}"));
        }
        assert!(
            ["", "100", "01", "0 "]
                .iter()
                .all(|text| tokens.find(text).is_none())
        );
    }

    #[test]
    fn the_overflow_user_is_nobody() {
        let peer = |uid, gid| {
            Peer::new(PeerAddr::Unix(None)).with_credentials(Credentials::new(uid, gid, None))
        };
        let mut users = Users::new().allow_uid(1000, Principal::new("alice"));
        users = users.allow_gid(50, Principal::new("staff"));
        users = users.allow_uid(OVERFLOW_ID, Principal::new("nobody"));
        users = users.allow_gid(OVERFLOW_ID, Principal::new("nobody"));
        let name = |uid, gid| {
            users
                .find(&peer(uid, gid))
                .map(|found| found.name().to_owned())
        };
        assert_eq!(name(1000, 50).as_deref(), Some("alice"));
        assert_eq!(name(1001, 50).as_deref(), Some("staff"));
        assert_eq!(name(OVERFLOW_ID, OVERFLOW_ID), None);
        users = users.allow_uid(u32::MAX, Principal::new("nobody"));
        let name = |uid, gid| {
            users
                .find(&peer(uid, gid))
                .map(|found| found.name().to_owned())
        };
        assert_eq!(name(u32::MAX, u32::MAX), None);
        assert_eq!(name(0, 0), None);
        assert_eq!(users.find(&Peer::from("a line")), None);
    }

    #[test]
    fn a_certificate_is_known_by_its_whole_names() {
        let certificates = Certificates::new()
            .allow("spiffe://prod/weather", Principal::new("weather"))
            .allow("client.internal", Principal::new("client"));
        let peer = |dns: &str, uri: &str| {
            let certificate = PeerCertificate::new([], [dns], [uri], SystemTime::now());
            Peer::from("tls").with_certificate(certificate)
        };
        let name = |dns, uri| certificates.find(&peer(dns, uri)).map(Principal::name);
        assert_eq!(name("client.internal", ""), Some("client"));
        assert_eq!(
            name("client.internal", "spiffe://prod/weather"),
            Some("weather")
        );
        assert_eq!(
            name("evil.client.internal", "spiffe://prod/weather/2"),
            None
        );
        assert_eq!(name("*.internal", "spiffe://prod"), None);
    }
}
