//! The credentials of a client, and where it may send them.

use std::{error::Error as StdError, fmt, io, io::ErrorKind, net::IpAddr, path::Path, sync::Arc};

use agentwire_codec::{Body, EnvelopeType, Map, Request, Value};
use agentwire_transport::{Connection, Endpoint, Error as TransportError};

use crate::{Credential, Error};

/// What a client sends to prove who it is: see [`RemoteAgentBuilder::credentials`].
///
/// [`RemoteAgentBuilder::credentials`]: crate::RemoteAgentBuilder::credentials
///
/// ```
/// use agentwire::{Bearer, Credential, Credentials, RemoteAgent};
///
/// # fn read_token() -> String { String::new() }
/// let fixed = RemoteAgent::builder("unix:///run/agents/echo.sock").credentials(Bearer::new("…"));
/// // Called for each request, so that the token may change.
/// let refreshed = Credentials::from_fn(|| Credential::bearer(read_token()));
/// let remote = RemoteAgent::builder("unix:///run/agents/echo.sock").credentials(refreshed);
/// ```
#[derive(Clone)]
pub struct Credentials(Arc<dyn Fn() -> Credential + Send + Sync>);

/// A bearer token that does not change.
#[derive(Debug, Clone)]
pub struct Bearer(Credential);

/// An API key that does not change.
#[derive(Debug, Clone)]
pub struct ApiKey(Credential);

impl Credentials {
    /// Creates credentials from a function that returns the current credential. The function is
    /// called for each request, so it must not block. A program that fetches its tokens over a
    /// network should do so in the background.
    pub fn from_fn(current: impl Fn() -> Credential + Send + Sync + 'static) -> Self {
        Self(Arc::new(current))
    }

    /// Returns the value of the header `Authorization`, unless the credential is an API key.
    #[cfg(feature = "http")]
    pub(super) fn authorization(&self) -> Option<http::HeaderValue> {
        let credential = (self.0)();
        if credential.kind() != crate::CredentialKind::Bearer {
            return None;
        }
        let value = format!("Bearer {}", credential.secret());
        // A token that cannot be a header is in the metadata of the request only.
        let mut value = http::HeaderValue::try_from(value).ok()?;
        value.set_sensitive(true);
        Some(value)
    }

    /// Adds the current credential to a request.
    pub(super) fn put(&self, body: &mut Body) {
        let credential = (self.0)();
        let metadata = match body {
            Body::Request(Request::Process(call) | Request::Stream(call)) => {
                &mut call.message.metadata
            }
            Body::Request(Request::Execute(execute)) => &mut execute.metadata,
            Body::Request(Request::Other(payload)) => match entry(payload, "metadata") {
                Some(metadata) => metadata,
                None => return,
            },
            Body::Register(register) => &mut register.metadata,
            Body::Heartbeat(heartbeat) => &mut heartbeat.metadata,
            Body::Unregister(unregister) => &mut unregister.metadata,
            Body::Raw(raw) => {
                let is_request = raw.kind == EnvelopeType::Request;
                let has_message = is_request && raw.payload.contains_key("message");
                let holder = if has_message {
                    entry(&mut raw.payload, "message")
                } else {
                    Some(&mut raw.payload)
                };
                match holder.and_then(|holder| entry(holder, "metadata")) {
                    Some(metadata) => metadata,
                    None => return,
                }
            }
            _ => return,
        };
        let _ = Credential::take(metadata);
        credential.put(metadata);
    }
}

/// Returns the map under a key, and creates it if there is none. Returns `None` if the key holds
/// another value, which the server will refuse.
fn entry<'a>(map: &'a mut Map, key: &str) -> Option<&'a mut Map> {
    if matches!(map.get(key), None | Some(Value::Null)) {
        map.insert(key, Map::new());
    }
    match map.get_mut(key) {
        Some(Value::Map(entry)) => Some(entry),
        _ => None,
    }
}

impl Bearer {
    /// Creates a bearer token.
    #[must_use]
    pub fn new(token: impl Into<String>) -> Self {
        Self(Credential::bearer(token))
    }
}

impl ApiKey {
    /// Creates an API key.
    #[must_use]
    pub fn new(key: impl Into<String>) -> Self {
        Self(Credential::api_key(key))
    }
}

impl From<Credential> for Credentials {
    fn from(credential: Credential) -> Self {
        Self::from_fn(move || credential.clone())
    }
}

impl From<Bearer> for Credentials {
    fn from(Bearer(credential): Bearer) -> Self {
        credential.into()
    }
}

impl From<ApiKey> for Credentials {
    fn from(ApiKey(credential): ApiKey) -> Self {
        credential.into()
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(..)")
    }
}

/// What a client demands of a server before it sends a request.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Demands {
    /// Whether a connection over a network must be encrypted.
    pub(super) encryption: bool,
    /// The user that must run the server behind a Unix socket.
    pub(super) peer_uid: Option<u32>,
}

impl Demands {
    /// Checks the endpoint of a client that calls only this endpoint.
    ///
    /// # Errors
    ///
    /// Returns [`Error::InvalidSetting`] if credentials would be sent in plain text.
    pub(super) fn check_setting(&self, endpoint: &Endpoint) -> Result<(), Error> {
        if self.encryption && is_plaintext(endpoint) {
            return Err(Error::InvalidSetting {
                setting: "credentials",
                problem: "would be sent unencrypted; use a tls:// endpoint, \
                          or set allow_plaintext_credentials",
            });
        }
        if let Endpoint::Unix { path, .. } = endpoint {
            if (self.encryption || self.peer_uid.is_some()) && is_open_to_others(path) {
                let hint = match self.peer_uid {
                    None => "; demand the user of the server with peer_uid",
                    Some(_) => "",
                };
                tracing::warn!(
                    %endpoint,
                    "other users can write to the directory of the socket, \
                     and can replace the socket{hint}"
                );
            }
        }
        Ok(())
    }

    /// Checks the endpoint of a discovered instance.
    pub(super) fn check_endpoint(&self, endpoint: &Endpoint) -> Result<(), TransportError> {
        if self.encryption && is_plaintext(endpoint) {
            return Err(refused(endpoint, PlaintextCredentials));
        }
        Ok(())
    }

    /// Checks the user behind a Unix socket.
    pub(super) fn check_peer(
        &self,
        endpoint: &Endpoint,
        connection: &Connection,
    ) -> Result<(), TransportError> {
        let Some(expected) = self.peer_uid else {
            return Ok(());
        };
        match connection.peer().credentials() {
            Some(user) if user.uid == expected => Ok(()),
            Some(user) => {
                let problem = format!("the server runs as user {}, not {expected}", user.uid);
                Err(refused(endpoint, problem))
            }
            None => {
                let problem = format!("the user of the server is unknown, not {expected}");
                Err(refused(endpoint, problem))
            }
        }
    }
}

fn refused(
    endpoint: &Endpoint,
    problem: impl Into<Box<dyn StdError + Send + Sync>>,
) -> TransportError {
    TransportError::Connect {
        endpoint: endpoint.clone(),
        // This kind is not transient, so connecting is not retried.
        source: io::Error::new(ErrorKind::PermissionDenied, problem),
    }
}

/// The error of a discovered instance to which credentials would be sent in plain text.
#[derive(Debug, thiserror::Error)]
#[error(
    "credentials are not sent unencrypted; register a tls:// endpoint, \
     or set allow_plaintext_credentials"
)]
pub struct PlaintextCredentials;

/// Returns whether others on the network can read what is sent to the endpoint.
fn is_plaintext(endpoint: &Endpoint) -> bool {
    let host = match endpoint {
        Endpoint::Tcp { host, .. } => host,
        Endpoint::Url(url) if !url.scheme.is_secure() => &url.host,
        _ => return false,
    };
    let is_loopback = host.parse().map_or_else(
        |_| host.eq_ignore_ascii_case("localhost"),
        |address: IpAddr| address.to_canonical().is_loopback(),
    );
    !is_loopback
}

#[cfg(unix)]
fn is_open_to_others(socket: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;

    let directory = match socket.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    // The bits by which the group and others may write.
    directory
        .metadata()
        .is_ok_and(|metadata| metadata.mode() & 0o022 != 0)
}

#[cfg(not(unix))]
fn is_open_to_others(_: &Path) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_and_encrypted_endpoints_receive_credentials() {
        let demands = Demands {
            encryption: true,
            peer_uid: None,
        };
        for endpoint in [
            "tcp://127.0.0.1:1",
            "tcp://localhost:1",
            "tcp://[::1]:1",
            "tcp://[::ffff:127.0.0.1]:1",
            "tls://example.com:1",
            "wss://example.com",
            "unix:///run/agents/a.sock",
            "memory://a",
        ] {
            demands.check_endpoint(&endpoint.parse().unwrap()).unwrap();
        }
        for endpoint in [
            "tcp://10.0.0.1:1",
            "tcp://localhost.example.com:1",
            "tcp://[::]:1",
            "ws://h",
        ] {
            demands
                .check_endpoint(&endpoint.parse().unwrap())
                .unwrap_err();
            demands
                .check_setting(&endpoint.parse().unwrap())
                .unwrap_err();
            Demands::default()
                .check_setting(&endpoint.parse().unwrap())
                .unwrap();
        }
    }
}
