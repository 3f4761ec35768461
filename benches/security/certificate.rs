//! A certificate for this run, and what each peer makes of it.

use std::{fs, path::PathBuf, sync::Arc};

use agentwire::{TlsClient, TlsServer};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tempfile::TempDir;
use tokio_rustls::{
    TlsAcceptor, TlsConnector,
    rustls::{
        ClientConfig, RootCertStore, ServerConfig,
        crypto::ring::default_provider,
        pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
        version::TLS13,
    },
};

/// A certificate for `localhost`, and the authority that issued it.
pub(crate) struct Certificate {
    directory: TempDir,
    acceptor: TlsAcceptor,
    connector: TlsConnector,
}

impl Certificate {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let mut authority = CertificateParams::new([]).expect("no names");
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority_key = KeyPair::generate().expect("a key");
        let root = authority.self_signed(&authority_key).expect("a signature");
        let issuer = Issuer::new(authority, authority_key);
        let key = KeyPair::generate().expect("a key");
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let leaf = CertificateParams::new(names).expect("valid names");
        let leaf = leaf.signed_by(&key, &issuer).expect("a signature");
        for (name, text) in [
            ("ca.pem", root.pem()),
            ("server.pem", leaf.pem()),
            ("server.key", key.serialize_pem()),
        ] {
            fs::write(directory.path().join(name), text).expect("a file");
        }

        let provider = Arc::new(default_provider());
        let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&TLS13])
            .expect("TLS 1.3")
            .with_no_client_auth();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let server = server.with_single_cert(vec![leaf.der().clone()], key);
        let mut roots = RootCertStore::empty();
        roots.add(root.der().clone()).expect("a certificate");
        let client = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])
            .expect("TLS 1.3")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self {
            directory,
            acceptor: Arc::new(server.expect("a valid pair")).into(),
            connector: Arc::new(client).into(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn server(&self) -> TlsServer {
        let tls = TlsServer::from_pem(self.path("server.pem"), self.path("server.key"));
        tls.expect("a valid pair")
    }

    pub(crate) fn client(&self) -> TlsClient {
        TlsClient::new()
            .ca(self.path("ca.pem"))
            .expect("a certificate")
    }

    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        self.acceptor.clone()
    }

    pub(crate) fn connector(&self) -> TlsConnector {
        self.connector.clone()
    }

    /// Returns the text of a file: `ca.pem`, `server.pem` or `server.key`.
    #[cfg(feature = "peers")]
    pub(crate) fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).expect("a file")
    }
}
