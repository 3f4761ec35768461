//! Resolution of names: [`Resolve`].

use std::{io, net::IpAddr};

use agentwire_transport::BoxFuture;
use tokio::net::lookup_host;

/// A resolver, which finds the addresses of a DNS name.
pub trait Resolve: Send + Sync + 'static {
    /// Returns the addresses of a name, in any order.
    ///
    /// # Errors
    ///
    /// Returns an error of the kind [`NotFound`](io::ErrorKind::NotFound) if the name does not
    /// exist or has no address, and another error if the name server cannot be asked.
    fn resolve<'a>(&'a self, name: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>>;
}

/// The resolver of the system, which is `getaddrinfo`.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemResolver;

impl Resolve for SystemResolver {
    fn resolve<'a>(&'a self, name: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>> {
        Box::pin(async move {
            // The port is not part of the question.
            let found = lookup_host((name, 0)).await.map_err(classify)?;
            Ok(found.map(|address| address.ip()).collect())
        })
    }
}

/// Gives the error for a name that does not exist the kind `NotFound`.
///
/// The standard library converts the codes of getaddrinfo into text. The text is never localized,
/// because Rust programs do not call setlocale.
fn classify(error: io::Error) -> io::Error {
    let is_missing = error.raw_os_error() == Some(WSAHOST_NOT_FOUND) || {
        let text = error.to_string();
        MISSING.iter().any(|missing| text.ends_with(missing))
    };
    if is_missing {
        io::Error::new(io::ErrorKind::NotFound, error)
    } else {
        error
    }
}

/// The texts for a name that does not exist or has no address, of glibc, musl, macOS and the BSDs.
const MISSING: [&str; 6] = [
    "Name or service not known",
    "No address associated with hostname",
    "Name does not resolve",
    "Name has no usable address",
    "nodename nor servname provided, or not known",
    "no address associated with name",
];

/// The code for a missing name on Windows. On other systems, no error has this code.
const WSAHOST_NOT_FOUND: i32 = 11_001;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_name_is_told_from_a_name_server_that_fails() {
        let kind = |text: &str| {
            let text = format!("failed to lookup address information: {text}");
            classify(io::Error::other(text)).kind()
        };
        for text in MISSING {
            assert_eq!(kind(text), io::ErrorKind::NotFound, "{text}");
        }
        for text in ["Temporary failure in name resolution", "System error"] {
            assert_eq!(kind(text), io::ErrorKind::Other, "{text}");
        }
    }

    #[tokio::test]
    async fn an_address_is_its_own_name() {
        let found = SystemResolver.resolve("::1").await.unwrap();
        assert_eq!(found, ["::1".parse::<IpAddr>().unwrap()]);
    }
}
