//! A certification authority for tests.

#![allow(dead_code, reason = "each test binary uses some of it")]
#![allow(clippy::expect_used, reason = "an unexpected result fails the test")]

use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::{Duration, SystemTime},
};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, ExtendedKeyUsagePurpose,
    IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SanType, SerialNumber,
    date_time_ymd,
};
use tempfile::TempDir;

/// A certification authority, with a directory for its files.
pub(crate) struct Authority {
    directory: TempDir,
    issuer: Issuer<'static, KeyPair>,
}

/// The certificate that is asked for.
#[derive(Clone, Copy, Default)]
pub(crate) struct Wanted<'a> {
    /// The DNS names and IP addresses.
    pub(crate) names: &'a [&'a str],
    pub(crate) uri: Option<&'a str>,
    /// The first and the last year.
    pub(crate) years: Option<(i32, i32)>,
    /// The time until the certificate expires.
    pub(crate) lifetime: Option<Duration>,
    pub(crate) purpose: Purpose,
}

#[derive(Clone, Copy, Default, PartialEq)]
pub(crate) enum Purpose {
    #[default]
    Both,
    Client,
    Server,
}

/// The files of a certificate.
#[derive(Clone)]
pub(crate) struct Issued {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
    serial: SerialNumber,
}

impl Issued {
    /// Replaces the files by those of another certificate, each in one step.
    pub(crate) fn replace_with(&self, other: &Self) {
        for (from, to) in [
            (&other.certificate, &self.certificate),
            (&other.key, &self.key),
        ] {
            let next = to.with_extension("next");
            fs::copy(from, &next).expect("copy");
            fs::rename(next, to).expect("rename");
        }
    }
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let directory = tempfile::tempdir().expect("directory");
        let mut params = CertificateParams::new(Vec::new()).expect("params");
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![
            KeyUsagePurpose::KeyCertSign,
            KeyUsagePurpose::CrlSign,
            KeyUsagePurpose::DigitalSignature,
        ];
        let key = KeyPair::generate().expect("key");
        let certificate = params.self_signed(&key).expect("certificate");
        fs::write(directory.path().join("ca.pem"), certificate.pem()).expect("write");
        Self {
            directory,
            issuer: Issuer::new(params, key),
        }
    }

    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Returns the file with the certificate of the authority.
    pub(crate) fn file(&self) -> PathBuf {
        self.directory().join("ca.pem")
    }

    /// Issues a certificate for `localhost` and both loopback addresses.
    pub(crate) fn server(&self) -> Issued {
        self.issue(Wanted {
            names: &["localhost", "127.0.0.1", "::1"],
            ..Wanted::default()
        })
    }

    /// Issues a certificate for a client.
    pub(crate) fn client(&self, name: &str) -> Issued {
        self.issue(Wanted {
            names: &[name],
            uri: Some("spiffe://example/client"),
            purpose: Purpose::Client,
            ..Wanted::default()
        })
    }

    /// Issues a certificate for a client that expires after `lifetime`.
    pub(crate) fn client_for(&self, name: &str, lifetime: Duration) -> Issued {
        self.issue(Wanted {
            names: &[name],
            lifetime: Some(lifetime),
            purpose: Purpose::Client,
            ..Wanted::default()
        })
    }

    pub(crate) fn issue(&self, wanted: Wanted<'_>) -> Issued {
        static SERIAL: AtomicU64 = AtomicU64::new(1);
        let number = SERIAL.fetch_add(1, Relaxed);
        let names: Vec<String> = wanted.names.iter().map(|&name| name.to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("params");
        if let Some(uri) = wanted.uri {
            let uri = uri.try_into().expect("uri");
            params.subject_alt_names.push(SanType::URI(uri));
        }
        if let Some((first, last)) = wanted.years {
            params.not_before = date_time_ymd(first, 1, 1);
            params.not_after = date_time_ymd(last, 1, 1);
        }
        if let Some(lifetime) = wanted.lifetime {
            params.not_after = (SystemTime::now() + lifetime).into();
        }
        if wanted.purpose != Purpose::Client {
            let purpose = ExtendedKeyUsagePurpose::ServerAuth;
            params.extended_key_usages.push(purpose);
        }
        if wanted.purpose != Purpose::Server {
            let purpose = ExtendedKeyUsagePurpose::ClientAuth;
            params.extended_key_usages.push(purpose);
        }
        let serial = SerialNumber::from(number);
        params.serial_number = Some(serial.clone());
        let key = KeyPair::generate().expect("key");
        let signed = params.signed_by(&key, &self.issuer).expect("certificate");
        let issued = Issued {
            certificate: self.directory().join(format!("{number}.pem")),
            key: self.directory().join(format!("{number}.key")),
            serial,
        };
        fs::write(&issued.certificate, signed.pem()).expect("write");
        fs::write(&issued.key, key.serialize_pem()).expect("write");
        issued
    }

    /// Writes a revocation list that names these certificates.
    pub(crate) fn revoke(&self, certificates: &[&Issued]) -> PathBuf {
        let revoked = |issued: &&Issued| RevokedCertParams {
            serial_number: issued.serial.clone(),
            revocation_time: date_time_ymd(2024, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2024, 1, 1),
            next_update: date_time_ymd(2100, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: certificates.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let list = list.signed_by(&self.issuer).expect("revocation list");
        let path = self.directory().join("revoked.pem");
        fs::write(&path, list.pem().expect("pem")).expect("write");
        path
    }
}
