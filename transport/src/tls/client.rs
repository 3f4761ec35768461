//! TLS for clients: [`TlsClient`].

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    ClientConfig, RootCertStore,
    client::{Resumption, WebPkiServerVerifier},
    pki_types::ServerName,
    version::TLS13,
};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::{
    PROTOCOL,
    files::{Contents, fingerprint},
    problem, provider,
    server::describe_key_error,
    setup,
    stream::TlsStream,
};
use crate::{Connection, Endpoint, Error, PeerAddr, TcpOptions, internal::Mutex, tcp};

/// The certification authorities that a client trusts, and the certificate of the client.
///
/// Without [`ca`](Self::ca), the client trusts the certification authorities of the system. Clones
/// share what was read from files. TLS 1.3 is the only version.
///
/// ```no_run
/// # mod agentwire { pub extern crate agentwire_transport as transport; pub use agentwire_transport::*; }
/// use agentwire::{
///     TlsClient,
///     transport::{EndpointConnector, TcpOptions},
/// };
///
/// # fn example() -> Result<(), agentwire::transport::Error> {
/// let tls = TlsClient::new().ca("ca.pem")?.identity("client.pem", "client.key")?;
/// let connector = EndpointConnector::new("tls://10.0.0.7:7443".parse()?, TcpOptions::new())
///     .with_tls(tls.server_name("agents.internal"));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Default)]
pub struct TlsClient {
    source: Source,
    server_name: Option<Arc<str>>,
    protocols: Option<Arc<[Vec<u8>]>>,
}

#[derive(Clone)]
enum Source {
    Config(Arc<ClientConfig>),
    Files(Arc<Files>),
}

impl Default for Source {
    fn default() -> Self {
        Self::Files(Arc::default())
    }
}

/// The files of a client, and what was loaded from them.
#[derive(Default)]
struct Files {
    paths: Paths,
    /// The config, once it is needed.
    loaded: Mutex<Option<Loaded>>,
}

#[derive(Clone, Default)]
struct Paths {
    authorities: Vec<PathBuf>,
    with_system_roots: bool,
    identity: Option<(PathBuf, PathBuf)>,
    crls: Vec<PathBuf>,
}

struct Loaded {
    config: Arc<ClientConfig>,
    /// The fingerprint of the files when they were read last.
    fingerprint: u64,
}

impl TlsClient {
    /// Creates settings that trust the certification authorities of the system, and present no
    /// certificate.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Uses the config unchanged. The config cannot be reloaded.
    ///
    /// Set `alpn_protocols` to `agentwire/1` or leave it empty.
    pub fn from_config(config: Arc<ClientConfig>) -> Self {
        Self {
            source: Source::Config(config),
            server_name: None,
            protocols: None,
        }
    }

    /// Trusts the certification authorities in this PEM file, and not those of the system. Each
    /// call adds a file.
    ///
    /// # Errors
    ///
    /// Returns [`Error::TlsFile`] if the file cannot be read or contains no usable certificate.
    /// Returns [`Error::TlsSetup`] if no provider of cryptography is installed, or after
    /// [`from_config`](Self::from_config).
    pub fn ca(self, file: impl AsRef<Path>) -> Result<Self, Error> {
        self.with_paths(|paths| paths.authorities.push(file.as_ref().to_owned()))
    }

    /// Trusts the certification authorities of the system in addition to those of
    /// [`ca`](Self::ca).
    ///
    /// # Errors
    ///
    /// Returns [`Error::TlsSetup`] if the system has no certification authorities, or after
    /// [`from_config`](Self::from_config).
    pub fn system_roots(self) -> Result<Self, Error> {
        self.with_paths(|paths| paths.with_system_roots = true)
    }

    /// Presents this certificate if the server asks for one. Both files have the format PEM. The
    /// first file begins with the certificate of the client, and continues with those of the
    /// intermediate authorities.
    ///
    /// # Errors
    ///
    /// Returns the same errors as [`ca`](Self::ca), and [`Error::TlsFile`] if the key does not
    /// belong to the certificate.
    pub fn identity(
        self,
        certificate: impl AsRef<Path>,
        key: impl AsRef<Path>,
    ) -> Result<Self, Error> {
        let identity = (certificate.as_ref().to_owned(), key.as_ref().to_owned());
        self.with_paths(|paths| paths.identity = Some(identity))
    }

    /// Refuses the certificates of servers that the certificate revocation lists in this PEM file
    /// name. Each call adds a file. A certificate whose authority has no list in any of the files
    /// is refused.
    ///
    /// # Errors
    ///
    /// Returns the same errors as [`ca`](Self::ca).
    pub fn crl(self, file: impl AsRef<Path>) -> Result<Self, Error> {
        self.with_paths(|paths| paths.crls.push(file.as_ref().to_owned()))
    }

    /// Sets the name that the certificate of the server must have. By default, this is the host of
    /// the endpoint. Set a name if instances are found by their IP addresses.
    #[must_use]
    pub fn server_name(mut self, name: impl Into<String>) -> Self {
        self.server_name = Some(name.into().into());
        self
    }

    /// Sets the application protocols (ALPN) for a carrier above TLS. Without a call, the protocol
    /// is `agentwire/1`.
    #[must_use]
    #[doc(hidden)]
    pub fn protocols(mut self, names: &[&[u8]]) -> Self {
        self.protocols = Some(names.iter().map(|name| name.to_vec()).collect());
        self
    }

    /// Checks that connections can be opened with these settings: that the system has certification
    /// authorities if they are needed, and that the name of the server is valid.
    ///
    /// # Errors
    ///
    /// Returns [`Error::TlsFile`] or [`Error::TlsSetup`].
    pub fn check(&self) -> Result<(), Error> {
        self.config()?;
        self.check_name()
    }

    /// Checks that the name of the server is valid.
    ///
    /// # Errors
    ///
    /// Returns [`Error::TlsSetup`] if no certificate can have the name.
    #[doc(hidden)]
    pub fn check_name(&self) -> Result<(), Error> {
        match &self.server_name {
            Some(name) => parse_name(name).map(drop),
            None => Ok(()),
        }
    }

    /// Reads the files again and uses them for new connections. All files are checked before any of
    /// them is used.
    ///
    /// # Errors
    ///
    /// Returns [`Error::TlsFile`] or [`Error::TlsSetup`] if a file cannot be used. The client then
    /// keeps what it has.
    pub fn reload(&self) -> Result<(), Error> {
        match &self.source {
            Source::Config(_) => Ok(()),
            Source::Files(files) => files.reload(),
        }
    }

    /// Reads the files again if their contents have changed since they were read last. Returns true
    /// if the client uses them now.
    ///
    /// A client of the crate `agentwire` calls this method every few seconds while it opens
    /// connections.
    ///
    /// # Errors
    ///
    /// Returns the same errors as [`reload`](Self::reload), once for each change.
    pub fn reload_if_changed(&self) -> Result<bool, Error> {
        match &self.source {
            Source::Config(_) => Ok(false),
            Source::Files(files) if !files.is_changed() => Ok(false),
            Source::Files(files) => files.reload().map(|()| true),
        }
    }

    fn with_paths(self, change: impl FnOnce(&mut Paths)) -> Result<Self, Error> {
        let Source::Files(files) = &self.source else {
            return Err(setup(
                "certificates are a setting of the rustls config that was passed in",
            ));
        };
        let mut paths = files.paths.clone();
        change(&mut paths);
        let loaded = paths.load()?;
        let files = Files {
            paths,
            loaded: Mutex::new(Some(loaded)),
        };
        Ok(Self {
            source: Source::Files(Arc::new(files)),
            ..self
        })
    }

    /// Returns the config for the next connection.
    fn config(&self) -> Result<Arc<ClientConfig>, Error> {
        match &self.source {
            Source::Config(config) => Ok(Arc::clone(config)),
            Source::Files(files) => {
                let mut loaded = files.loaded.lock();
                let loaded = match &mut *loaded {
                    Some(loaded) => loaded,
                    empty => empty.insert(files.paths.load()?),
                };
                Ok(Arc::clone(&loaded.config))
            }
        }
    }
}

impl fmt::Debug for TlsClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("TlsClient");
        if let Source::Files(files) = &self.source {
            let identity = files.paths.identity.as_ref();
            shown
                .field("ca", &files.paths.authorities)
                .field("identity", &identity.map(|(certificate, _)| certificate));
        }
        shown
            .field("server_name", &self.server_name)
            .finish_non_exhaustive()
    }
}

impl Files {
    fn is_changed(&self) -> bool {
        let before = self.loaded.lock().as_ref().map(|loaded| loaded.fingerprint);
        before.is_some_and(|before| before != fingerprint(self.paths.all()))
    }

    fn reload(&self) -> Result<(), Error> {
        let fingerprint = fingerprint(self.paths.all());
        let result = self.paths.load();
        let mut current = self.loaded.lock();
        if let Some(current) = &mut *current {
            // A failure is reported once for each change.
            current.fingerprint = fingerprint;
        }
        *current = Some(result?);
        Ok(())
    }
}

impl Paths {
    fn all(&self) -> impl Iterator<Item = &PathBuf> {
        let identity = self.identity.iter().flat_map(|(one, other)| [one, other]);
        self.authorities.iter().chain(identity).chain(&self.crls)
    }

    fn load(&self) -> Result<Loaded, Error> {
        // If a file changes while the files are read, the fingerprint is that of the earlier
        // contents, and the next check reads the files again.
        let fingerprint = fingerprint(self.all());
        let provider = provider()?;
        let mut crls = Vec::new();
        for file in Contents::read_all(&self.crls)? {
            crls.extend(file.revocation_lists()?);
        }
        let verifier = WebPkiServerVerifier::builder_with_provider(
            Arc::new(self.roots()?),
            Arc::clone(&provider),
        )
        .with_crls(crls)
        .only_check_end_entity_revocation()
        .build()
        .map_err(setup)?;
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])
            .map_err(setup)?
            .with_webpki_verifier(verifier);
        let mut config = match &self.identity {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let chain = Contents::read(certificate)?.certificates()?;
                let key = Contents::read(key)?;
                builder
                    .with_client_auth_cert(chain, key.key()?)
                    .map_err(|error| key.invalid(describe_key_error(&error)))?
            }
        };
        config.alpn_protocols = vec![PROTOCOL.to_vec()];
        // A connection serves many calls, so that resumption saves little.
        config.resumption = Resumption::disabled();
        Ok(Loaded {
            config: Arc::new(config),
            fingerprint,
        })
    }

    fn roots(&self) -> Result<RootCertStore, Error> {
        let mut roots = RootCertStore::empty();
        for file in Contents::read_all(&self.authorities)? {
            file.add_to(&mut roots)?;
        }
        if self.with_system_roots || self.authorities.is_empty() {
            let found = rustls_native_certs::load_native_certs();
            roots.add_parsable_certificates(found.certs);
            if roots.is_empty() {
                return Err(setup(
                    "the system has no certification authorities; \
                     install its CA certificates, or set a CA file",
                ));
            }
        }
        Ok(roots)
    }
}

/// Opens a TLS connection.
pub(crate) async fn connect(
    endpoint: &Endpoint,
    host: &str,
    port: u16,
    options: &TcpOptions,
    tls: &TlsClient,
) -> Result<Connection, Error> {
    let config = tls.config()?;
    let name = match &tls.server_name {
        Some(name) => parse_name(name)?,
        // The zone of an IPv6 address is not part of the name.
        None => parse_name(host.split('%').next().unwrap_or(host))?,
    };
    let failed = |source| Error::Connect {
        endpoint: endpoint.clone(),
        source,
    };
    let (tcp, address): (TcpStream, _) = tcp::connect_stream(host, port).await.map_err(failed)?;
    options.apply(&tcp);
    let connector = TlsConnector::from(config);
    let connecting = match &tls.protocols {
        Some(names) => connector.with_alpn(names.to_vec()).connect(name, tcp),
        None => connector.connect(name, tcp),
    };
    let tls_failed = |source| Error::Tls {
        endpoint: endpoint.clone(),
        source,
    };
    let stream = match connecting.await {
        Ok(stream) => stream,
        Err(error) => {
            return Err(match problem::of_handshake(error) {
                Ok(problem) => tls_failed(problem),
                Err(error) => failed(error),
            });
        }
    };
    let (stream, certificate) = TlsStream::client(stream).map_err(tls_failed)?;
    Ok(Connection::tls(stream, PeerAddr::Tcp(address), certificate))
}

fn parse_name(name: &str) -> Result<ServerName<'static>, Error> {
    ServerName::try_from(name.to_owned()).map_err(|_| {
        let name = agentwire_text::Untrusted(name);
        setup(format_args!(
            "no certificate can have the name {name:?}; set the name of the server"
        ))
    })
}
