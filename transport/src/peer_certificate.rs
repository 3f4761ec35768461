//! The certificate of a peer.

use std::{fmt, sync::Arc, time::SystemTime};

/// The certificate that a peer presented in a TLS handshake, after it was verified.
///
/// Cloning a `PeerCertificate` does not allocate. The names are those of the extension "subject
/// alternative name"; the common name of the subject is not used.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct PeerCertificate(Arc<Inner>);

#[derive(PartialEq, Eq, Hash)]
struct Inner {
    der: Box<[u8]>,
    dns_names: Box<[String]>,
    uris: Box<[String]>,
    not_after: SystemTime,
}

impl PeerCertificate {
    /// Creates a certificate, for tests and custom carriers.
    ///
    /// The parts are not compared with `der`. A custom carrier must pass only the names of a
    /// certificate that it has verified, because servers identify callers by these names.
    pub fn new(
        der: impl Into<Box<[u8]>>,
        dns_names: impl IntoIterator<Item = impl Into<String>>,
        uris: impl IntoIterator<Item = impl Into<String>>,
        not_after: SystemTime,
    ) -> Self {
        Self(Arc::new(Inner {
            der: der.into(),
            dns_names: dns_names.into_iter().map(Into::into).collect(),
            uris: uris.into_iter().map(Into::into).collect(),
            not_after,
        }))
    }

    /// Returns the DNS names of the peer.
    pub fn dns_names(&self) -> &[String] {
        &self.0.dns_names
    }

    /// Returns the URIs of the peer, for example a SPIFFE id.
    pub fn uris(&self) -> &[String] {
        &self.0.uris
    }

    /// Returns the certificate in the encoding DER.
    pub fn der(&self) -> &[u8] {
        &self.0.der
    }

    /// Returns the time at which the certificate expires. A server closes the connection then.
    pub fn not_after(&self) -> SystemTime {
        self.0.not_after
    }
}

impl fmt::Debug for PeerCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeerCertificate")
            .field("dns_names", &self.dns_names())
            .field("uris", &self.uris())
            .field("not_after", &self.not_after())
            .finish_non_exhaustive()
    }
}
