//! The carrier TLS: TLS 1.3 over TCP.

mod certificate;
mod client;
mod files;
mod problem;
mod server;
mod stream;

use std::sync::Arc;

use rustls::crypto::CryptoProvider;

pub use self::{client::TlsClient, server::TlsServer};
pub(crate) use self::{client::connect, stream::TlsStream};
use crate::Error;

/// Returns the provider that the program has installed, or the provider of the enabled feature.
/// Nothing is installed for the whole process.
fn provider() -> Result<Arc<CryptoProvider>, Error> {
    if let Some(installed) = CryptoProvider::get_default() {
        return Ok(Arc::clone(installed));
    }
    #[cfg(feature = "tls-aws-lc")]
    return Ok(Arc::new(rustls::crypto::aws_lc_rs::default_provider()));
    #[cfg(all(feature = "tls-ring", not(feature = "tls-aws-lc")))]
    return Ok(Arc::new(rustls::crypto::ring::default_provider()));
    #[cfg(not(any(feature = "tls-ring", feature = "tls-aws-lc")))]
    Err(Error::TlsSetup {
        problem: "no provider of cryptography is installed; enable the feature `tls-ring` or \
                  `tls-aws-lc`"
            .to_owned(),
    })
}

/// Converts an error in the settings of rustls.
fn setup(error: impl std::fmt::Display) -> Error {
    Error::TlsSetup {
        problem: error.to_string(),
    }
}

/// The application protocol that both sides offer (PROTOCOL 14.1). A peer without ALPN is accepted.
const PROTOCOL: &[u8] = b"agentwire/1";
