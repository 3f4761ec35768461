//! The files of certificates and keys.

use std::{
    fs,
    hash::{BuildHasher, RandomState},
    io,
    path::{Path, PathBuf},
    sync::LazyLock,
};

use rustls::{
    RootCertStore,
    pki_types::{
        CertificateDer, CertificateRevocationListDer, PrivateKeyDer,
        pem::{Error as PemError, PemObject},
    },
};

use crate::Error;

/// The contents of a file, read once, so that checks and use see the same bytes.
pub(super) struct Contents {
    path: PathBuf,
    bytes: Vec<u8>,
}

impl Contents {
    pub(super) fn read(path: &Path) -> Result<Self, Error> {
        match fs::read(path) {
            Ok(bytes) => Ok(Self {
                path: path.to_owned(),
                bytes,
            }),
            Err(source) => Err(Error::TlsFile {
                path: path.to_owned(),
                source,
            }),
        }
    }

    pub(super) fn read_all(paths: &[PathBuf]) -> Result<Vec<Self>, Error> {
        paths.iter().map(|path| Self::read(path)).collect()
    }

    /// Returns the certificates of the file, of which there is at least one.
    pub(super) fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, Error> {
        self.items("certificate")
    }

    /// Returns the revocation lists of the file, of which there is at least one.
    pub(super) fn revocation_lists(
        &self,
    ) -> Result<Vec<CertificateRevocationListDer<'static>>, Error> {
        self.items("certificate revocation list")
    }

    /// Returns the first private key of the file.
    pub(super) fn key(&self) -> Result<PrivateKeyDer<'static>, Error> {
        match PrivateKeyDer::from_pem_slice(&self.bytes) {
            Ok(key) => Ok(key),
            Err(PemError::NoItemsFound) => {
                // The parser does not recognize the section of an encrypted key.
                let text = String::from_utf8_lossy(&self.bytes);
                Err(self.invalid(if text.contains("ENCRYPTED PRIVATE KEY") {
                    "the private key is encrypted; decrypt it with `openssl pkey`".to_owned()
                } else {
                    "it contains no private key in the format PEM".to_owned()
                }))
            }
            Err(error) => Err(self.invalid(error.to_string())),
        }
    }

    /// Adds the certificates of the file to the trusted certification authorities.
    pub(super) fn add_to(&self, roots: &mut RootCertStore) -> Result<(), Error> {
        for certificate in self.certificates()? {
            roots
                .add(certificate)
                .map_err(|error| self.invalid(error.to_string()))?;
        }
        Ok(())
    }

    /// Returns the error for a file that cannot be used.
    pub(super) fn invalid(&self, problem: String) -> Error {
        Error::TlsFile {
            path: self.path.clone(),
            source: io::Error::new(io::ErrorKind::InvalidData, problem),
        }
    }

    fn items<T: PemObject>(&self, item: &str) -> Result<Vec<T>, Error> {
        let items: Result<Vec<T>, _> = T::pem_slice_iter(&self.bytes).collect();
        match items {
            Ok(items) if items.is_empty() => {
                Err(self.invalid(format!("it contains no {item} in the format PEM")))
            }
            Ok(items) => Ok(items),
            Err(error) => Err(self.invalid(error.to_string())),
        }
    }
}

/// Returns a number that changes with the contents of the files. A file that cannot be read counts
/// as empty.
pub(super) fn fingerprint<'a>(paths: impl Iterator<Item = &'a PathBuf>) -> u64 {
    static KEYS: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    let contents: Vec<Vec<u8>> = paths
        .map(|path| fs::read(path).unwrap_or_default())
        .collect();
    KEYS.hash_one(contents)
}
