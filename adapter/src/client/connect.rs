//! How a client opens connections: options of the carriers, certificates, and what must be
//! encrypted.

use agentwire_transport::{
    BoxFuture, Connection, Connector, Endpoint, EndpointConnector, Error, TcpOptions, UrlScheme,
};
use tokio::time::Instant;

use super::credentials::Demands;

/// How connections to endpoints of built-in carriers are opened. Clones share the certificates.
#[derive(Debug, Clone, Default)]
pub(super) struct ConnectOptions {
    pub(super) tcp: TcpOptions,
    /// Whether connections to endpoints without encryption are refused. Endpoints on this machine
    /// that no other machine can reach need no encryption.
    pub(super) require_tls: bool,
    pub(super) demands: Demands,
    #[cfg(feature = "tls")]
    pub(super) tls: tls::Certificates,
    #[cfg(feature = "websocket")]
    pub(super) websocket: agentwire_transport::WebSocketOptions,
}

impl ConnectOptions {
    /// Checks whether connections to an endpoint may be opened.
    ///
    /// # Errors
    ///
    /// Returns [`Error::NotEncrypted`] if TLS is required and the endpoint is not encrypted.
    pub(super) fn check(&self, endpoint: &Endpoint) -> Result<(), Error> {
        let is_plain = match endpoint {
            Endpoint::Tcp { .. } => true,
            Endpoint::Url(url) => !url.scheme.is_secure(),
            _ => false,
        };
        if self.require_tls && is_plain {
            return Err(Error::NotEncrypted {
                endpoint: endpoint.clone(),
            });
        }
        Ok(())
    }

    /// Opens a connection.
    ///
    /// # Errors
    ///
    /// Returns the same errors as [`check`](Self::check) and [`EndpointConnector`].
    pub(super) async fn connect(&self, endpoint: &Endpoint) -> Result<Connection, Error> {
        self.check(endpoint)?;
        self.demands.check_endpoint(endpoint)?;
        let below = below(endpoint)?;
        let connector = EndpointConnector::new(below.clone(), self.tcp.clone());
        #[cfg(feature = "tls")]
        let connector = if endpoint.is_secure() {
            let tls = self.tls.refreshed().await;
            connector.with_tls(match endpoint {
                Endpoint::Url(url) if url.scheme.is_grpc() => tls.protocols(&[b"h2"]),
                Endpoint::Url(url) if url.scheme.is_http() => tls.protocols(&[b"h2", b"http/1.1"]),
                _ => tls,
            })
        } else {
            connector
        };
        #[cfg(feature = "websocket")]
        let connector = connector.with_websocket(self.websocket.clone());
        let start = Instant::now();
        let connection = connector.connect().await;
        let connection = connection.map_err(|error| error.at(endpoint))?;
        self.demands.check_peer(endpoint, &connection)?;
        tracing::debug!(%endpoint, elapsed = ?start.elapsed(), "connected");
        Ok(connection)
    }
}

/// Returns whether a carrier of this crate speaks for the scheme. The transport crate opens, or
/// refuses, all other endpoints.
fn has_carrier(scheme: UrlScheme) -> bool {
    (cfg!(feature = "grpc") && scheme.is_grpc()) || (cfg!(feature = "http") && scheme.is_http())
}

/// Returns the endpoint of the byte stream below a carrier.
fn below(endpoint: &Endpoint) -> Result<Endpoint, Error> {
    match endpoint {
        Endpoint::Url(url) if has_carrier(url.scheme) => {
            if url.scheme.is_secure() {
                Endpoint::tls(&url.host, url.port)
            } else {
                Endpoint::tcp(&url.host, url.port)
            }
        }
        _ => Ok(endpoint.clone()),
    }
}

/// A connector for one endpoint of a built-in carrier.
#[derive(Debug)]
pub(super) struct BuiltInConnector {
    pub(super) endpoint: Endpoint,
    pub(super) options: ConnectOptions,
}

impl Connector for BuiltInConnector {
    fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    fn connect(&self) -> BoxFuture<'_, Result<Connection, Error>> {
        Box::pin(self.options.connect(&self.endpoint))
    }
}

#[cfg(feature = "tls")]
pub(super) mod tls {
    //! The certificates of a client, which are read again when their files change.

    use std::{sync::Arc, time::Duration};

    use agentwire_transport::{
        TlsClient,
        internal::{Chain, Mutex},
    };
    use tokio::{task::spawn_blocking, time::Instant};

    #[derive(Debug, Clone, Default)]
    pub(in crate::client) struct Certificates {
        tls: TlsClient,
        /// The time of the last check whether the files have changed.
        checked: Arc<Mutex<Option<Instant>>>,
    }

    impl Certificates {
        pub(in crate::client) fn new(tls: TlsClient) -> Self {
            Self {
                tls,
                checked: Arc::default(),
            }
        }

        pub(in crate::client) fn tls(&self) -> &TlsClient {
            &self.tls
        }

        /// Returns the certificates for a new connection. Reads the files again if they have
        /// changed since the last check.
        pub(super) async fn refreshed(&self) -> TlsClient {
            if self.is_due(Instant::now()) {
                let tls = self.tls.clone();
                match spawn_blocking(move || tls.reload_if_changed()).await {
                    Ok(Ok(true)) => tracing::info!("certificates of the client reloaded"),
                    Ok(Err(error)) => {
                        let error = Chain(&error);
                        tracing::warn!(
                            %error,
                            "certificates changed, but cannot be used; keeping the old ones"
                        );
                    }
                    Ok(Ok(false)) | Err(_) => {}
                }
            }
            self.tls.clone()
        }

        fn is_due(&self, now: Instant) -> bool {
            let mut checked = self.checked.lock();
            let is_due = checked.is_none_or(|last| now - last >= INTERVAL);
            if is_due {
                *checked = Some(now);
            }
            is_due
        }
    }

    /// The minimum interval between two checks.
    const INTERVAL: Duration = Duration::from_secs(2);
}
