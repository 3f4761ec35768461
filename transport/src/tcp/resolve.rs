//! Resolves the host of a TCP endpoint.

use std::{io, net::SocketAddr};

use tokio::net::lookup_host;

/// Returns the addresses of a host in the order of the system's preference; at least one.
///
/// If a name server does not answer at the moment, the error has the kind `WouldBlock`, which
/// stands for "try again". A name that does not exist has another kind.
pub(super) async fn resolve(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let found = lookup_host((host, port)).await.map_err(classify)?;
    let addresses: Vec<SocketAddr> = found.collect();
    if addresses.is_empty() {
        let text = "the name has no address";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    Ok(addresses)
}

/// Gives the error of a temporary failure a kind of its own.
///
/// std turns the code `EAI_AGAIN` of getaddrinfo into text, which is never localized because Rust
/// programs do not call setlocale.
fn classify(error: io::Error) -> io::Error {
    let is_temporary =
        error.raw_os_error() == Some(WSATRY_AGAIN) || is_temporary(&error.to_string());
    if is_temporary {
        let text = "temporary failure in name resolution";
        io::Error::new(io::ErrorKind::WouldBlock, text)
    } else {
        error
    }
}

fn is_temporary(text: &str) -> bool {
    // glibc, macOS and the BSDs; musl.
    text.contains("emporary failure in name resolution") || text.ends_with(": Try again")
}

/// The code of a temporary failure on Windows. Elsewhere no system error has this number.
const WSATRY_AGAIN: i32 = 11_002;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_temporary_failure_is_worth_another_attempt() {
        let kind = |text: &str| {
            let text = format!("failed to lookup address information: {text}");
            classify(io::Error::other(text)).kind()
        };
        for text in ["Temporary failure in name resolution", "Try again"] {
            assert_eq!(kind(text), io::ErrorKind::WouldBlock, "{text}");
        }
        for text in ["Name or service not known", "Name does not resolve"] {
            assert_eq!(kind(text), io::ErrorKind::Other, "{text}");
        }
    }

    #[tokio::test]
    async fn an_address_needs_no_name_server() {
        let resolved = resolve("::1", 80).await.expect("address");
        assert_eq!(resolved, ["[::1]:80".parse().expect("address")]);
    }
}
