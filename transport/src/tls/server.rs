//! TLS for servers: [`TlsServer`].

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use rustls::{
    RootCertStore, ServerConfig,
    server::{NoServerSessionStorage, WebPkiClientVerifier, danger::ClientCertVerifier},
    version::TLS13,
};

use super::{
    PROTOCOL, certificate,
    files::{Contents, fingerprint},
    provider, setup,
};
use crate::{
    Error,
    internal::{Mutex, RwLock},
};

/// The certificate of a server, and the certificates that it accepts from clients.
///
/// Clones share the certificates: [`reload`](Self::reload) affects all of them, and the connections
/// that are accepted later. TLS 1.3 is the only version.
///
/// ```no_run
/// # mod agentwire { pub extern crate agentwire_transport as transport; pub use agentwire_transport::*; }
/// use agentwire::{Endpoint, TlsServer, transport::Listener};
///
/// # async fn example() -> Result<(), agentwire::transport::Error> {
/// let tls = TlsServer::from_pem("server.pem", "server.key")?.client_ca("ca.pem")?;
/// let listener = Listener::bind_tls(&"tls://0.0.0.0:7443".parse()?, tls).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct TlsServer {
    source: Source,
    is_optional: bool,
    protocols: Option<Arc<Protocols>>,
}

#[derive(Clone)]
enum Source {
    Config(Arc<ServerConfig>),
    Files(Arc<Files>),
}

/// The files of a server, and what was loaded from them.
struct Files {
    paths: Paths,
    loaded: RwLock<Loaded>,
}

#[derive(Clone)]
struct Paths {
    certificate: PathBuf,
    key: PathBuf,
    client_ca: Vec<PathBuf>,
    crls: Vec<PathBuf>,
}

#[derive(Clone)]
struct Loaded {
    required: Arc<ServerConfig>,
    /// The config that accepts clients without certificates.
    optional: Arc<ServerConfig>,
    not_after: Option<SystemTime>,
    /// The fingerprint of the files when they were read last.
    fingerprint: u64,
}

/// Other application protocols than that of this crate, and the last config with them.
struct Protocols {
    names: Vec<Vec<u8>>,
    derived: Mutex<Option<(Arc<ServerConfig>, Arc<ServerConfig>)>>,
}

impl TlsServer {
    /// Reads the certificate of the server and its private key from PEM files.
    ///
    /// The first file begins with the certificate of the server, and continues with those of the
    /// intermediate authorities.
    ///
    /// # Errors
    ///
    /// Returns [`Error::TlsFile`] if a file cannot be read, contains nothing usable, or if the key
    /// does not belong to the certificate. Returns [`Error::TlsSetup`] if no provider of
    /// cryptography is installed.
    pub fn from_pem(certificate: impl AsRef<Path>, key: impl AsRef<Path>) -> Result<Self, Error> {
        Self::from_paths(
            Paths {
                certificate: certificate.as_ref().to_owned(),
                key: key.as_ref().to_owned(),
                client_ca: Vec::new(),
                crls: Vec::new(),
            },
            false,
        )
    }

    /// Uses the config unchanged. The config cannot be reloaded.
    ///
    /// Set `alpn_protocols` to `agentwire/1` or leave it empty. Set `send_tls13_tickets` to 0:
    /// connections are kept open, so that tickets are of little use.
    pub fn from_config(config: Arc<ServerConfig>) -> Self {
        Self {
            source: Source::Config(config),
            is_optional: false,
            protocols: None,
        }
    }

    /// Requires a certificate of each client, which one of the certification authorities in this
    /// PEM file must have signed. Each call adds a file.
    ///
    /// # Errors
    ///
    /// Returns the same errors as [`from_pem`](Self::from_pem). Returns [`Error::TlsSetup`] after
    /// [`from_config`](Self::from_config).
    pub fn client_ca(self, file: impl AsRef<Path>) -> Result<Self, Error> {
        let mut paths = self.paths()?;
        paths.client_ca.push(file.as_ref().to_owned());
        Self::from_paths(paths, self.is_optional)
    }

    /// Accepts clients without a certificate, too. A certificate that a client presents must still
    /// be valid.
    #[must_use]
    pub fn client_auth_optional(mut self) -> Self {
        self.is_optional = true;
        self
    }

    /// Refuses the certificates of clients that the certificate revocation lists in this PEM file
    /// name. Each call adds a file.
    ///
    /// A certificate whose authority has no list in any of the files is refused, because it may
    /// have been revoked. Only the certificate of the client is checked, and not those of
    /// intermediate authorities. A list remains in force after its time of the next update.
    ///
    /// # Errors
    ///
    /// Returns the same errors as [`client_ca`](Self::client_ca).
    pub fn crl(self, file: impl AsRef<Path>) -> Result<Self, Error> {
        let mut paths = self.paths()?;
        paths.crls.push(file.as_ref().to_owned());
        Self::from_paths(paths, self.is_optional)
    }

    /// Sets the application protocols (ALPN) for a carrier above TLS. Without a call, the protocol
    /// is `agentwire/1`.
    #[must_use]
    #[doc(hidden)]
    pub fn protocols(mut self, names: &[&[u8]]) -> Self {
        self.protocols = Some(Arc::new(Protocols {
            names: names.iter().map(|name| name.to_vec()).collect(),
            derived: Mutex::default(),
        }));
        self
    }

    /// Reads the files again and uses them for new connections. Open connections remain.
    ///
    /// All files are read and checked before any of them is used. After
    /// [`from_config`](Self::from_config), there is nothing to read.
    ///
    /// # Errors
    ///
    /// Returns [`Error::TlsFile`] if a file cannot be used, if the key does not belong to the
    /// certificate, or if a new certificate has already expired. The server then keeps what it has.
    pub fn reload(&self) -> Result<(), Error> {
        match &self.source {
            Source::Config(_) => Ok(()),
            Source::Files(files) => files.reload(),
        }
    }

    /// Reads the files again if their contents have changed since they were read last. Returns true
    /// if the server uses them now.
    ///
    /// A server of the crate `agentwire` calls this method every few seconds.
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

    /// Returns the time at which the certificate of the server expires, if it was read from a file.
    pub fn not_after(&self) -> Option<SystemTime> {
        match &self.source {
            Source::Config(_) => None,
            Source::Files(files) => files.loaded.read().not_after,
        }
    }

    /// Returns the config for the next connection.
    pub(crate) fn config(&self) -> Arc<ServerConfig> {
        let config = match &self.source {
            Source::Config(config) => Arc::clone(config),
            Source::Files(files) => {
                let loaded = files.loaded.read();
                Arc::clone(if self.is_optional {
                    &loaded.optional
                } else {
                    &loaded.required
                })
            }
        };
        match &self.protocols {
            Some(protocols) => protocols.derive(config),
            None => config,
        }
    }

    fn from_paths(paths: Paths, is_optional: bool) -> Result<Self, Error> {
        let loaded = RwLock::new(paths.load()?);
        Ok(Self {
            source: Source::Files(Arc::new(Files { paths, loaded })),
            is_optional,
            protocols: None,
        })
    }

    fn paths(&self) -> Result<Paths, Error> {
        match &self.source {
            Source::Files(files) => Ok(files.paths.clone()),
            Source::Config(_) => Err(setup(
                "certificates of clients are a setting of the rustls config that was passed in",
            )),
        }
    }
}

impl fmt::Debug for TlsServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("TlsServer");
        if let Source::Files(files) = &self.source {
            shown
                .field("certificate", &files.paths.certificate)
                .field("client_ca", &files.paths.client_ca);
        }
        shown.finish_non_exhaustive()
    }
}

impl Files {
    fn is_changed(&self) -> bool {
        fingerprint(self.paths.all()) != self.loaded.read().fingerprint
    }

    fn reload(&self) -> Result<(), Error> {
        let fingerprint = fingerprint(self.paths.all());
        let result = self.paths.load().and_then(|loaded| {
            let has_expired = loaded.not_after.is_some_and(|end| end < SystemTime::now());
            if has_expired {
                return Err(Error::TlsFile {
                    path: self.paths.certificate.clone(),
                    source: std::io::Error::other("the certificate has expired"),
                });
            }
            Ok(loaded)
        });
        let mut current = self.loaded.write();
        // A failure is reported once for each change.
        current.fingerprint = fingerprint;
        *current = result?;
        Ok(())
    }
}

impl Paths {
    fn all(&self) -> impl Iterator<Item = &PathBuf> {
        [&self.certificate, &self.key]
            .into_iter()
            .chain(&self.client_ca)
            .chain(&self.crls)
    }

    fn load(&self) -> Result<Loaded, Error> {
        // If a file changes while the files are read, the fingerprint is that of the earlier
        // contents, and the next check reads the files again.
        let fingerprint = fingerprint(self.all());
        let certificate = Contents::read(&self.certificate)?;
        let chain = certificate.certificates()?;
        let key = Contents::read(&self.key)?;
        let not_after = certificate::not_after(&chain[0]);
        let build = |is_optional| -> Result<Arc<ServerConfig>, Error> {
            let provider = provider()?;
            let builder = ServerConfig::builder_with_provider(provider)
                .with_protocol_versions(&[&TLS13])
                .map_err(setup)?
                .with_client_cert_verifier(self.client_verifier(is_optional)?);
            let mut config = builder
                .with_single_cert(chain.clone(), key.key()?)
                .map_err(|error| key.invalid(describe_key_error(&error)))?;
            config.alpn_protocols = vec![PROTOCOL.to_vec()];
            // Connections are kept open, so that resumption saves little, and a pool would take
            // tickets for unexpected bytes.
            config.send_tls13_tickets = 0;
            config.session_storage = Arc::new(NoServerSessionStorage {});
            Ok(Arc::new(config))
        };
        let required = build(false)?;
        let optional = if self.client_ca.is_empty() {
            Arc::clone(&required)
        } else {
            build(true)?
        };
        Ok(Loaded {
            required,
            optional,
            not_after,
            fingerprint,
        })
    }

    fn client_verifier(&self, is_optional: bool) -> Result<Arc<dyn ClientCertVerifier>, Error> {
        let mut crls = Vec::new();
        for file in Contents::read_all(&self.crls)? {
            crls.extend(file.revocation_lists()?);
        }
        if self.client_ca.is_empty() {
            return Ok(WebPkiClientVerifier::no_client_auth());
        }
        let mut roots = RootCertStore::empty();
        for file in Contents::read_all(&self.client_ca)? {
            file.add_to(&mut roots)?;
        }
        let mut verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider()?)
                .with_crls(crls)
                .only_check_end_entity_revocation();
        if is_optional {
            verifier = verifier.allow_unauthenticated();
        }
        verifier.build().map_err(setup)
    }
}

impl Protocols {
    /// Returns `config` with these protocols. The result is kept for the next connection.
    fn derive(&self, config: Arc<ServerConfig>) -> Arc<ServerConfig> {
        let mut cached = self.derived.lock();
        match &*cached {
            Some((from, derived)) if Arc::ptr_eq(from, &config) => Arc::clone(derived),
            _ => {
                let mut derived = ServerConfig::clone(&config);
                derived.alpn_protocols.clone_from(&self.names);
                let derived = Arc::new(derived);
                *cached = Some((config, Arc::clone(&derived)));
                derived
            }
        }
    }
}

pub(super) fn describe_key_error(error: &rustls::Error) -> String {
    match error {
        rustls::Error::InconsistentKeys(_) => {
            "the private key does not belong to the certificate".to_owned()
        }
        other => other.to_string(),
    }
}
