//! Resolution of the host of a TCP endpoint.

use std::{io, net::SocketAddr};

use tokio::net::lookup_host;

/// Returns the addresses of a host in the order that the system prefers. There is at least one
/// address.
///
/// If the resolution fails temporarily, for example because the name server does not answer, the
/// error has the kind `WouldBlock`. If the name does not exist, the error has a different kind.
pub(super) async fn resolve(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let found = lookup_host((host, port)).await.map_err(classify)?;
    let addresses: Vec<SocketAddr> = found.collect();
    if addresses.is_empty() {
        let text = "the name has no address";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    Ok(addresses)
}

/// Converts the error of a temporary failure into an error with the kind `WouldBlock`.
///
/// The standard library converts the code `EAI_AGAIN` of getaddrinfo into text. The text is never
/// localized, because Rust programs do not call setlocale.
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
    // The first text is used by glibc, macOS and the BSDs, and the second by musl.
    text.contains("emporary failure in name resolution") || text.ends_with(": Try again")
}

/// The code of a temporary failure on Windows. On other systems, no error has this code.
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
