//! A certification authority on the command line of OpenSSL.

use std::{
    fs,
    path::{Path, PathBuf},
};

use agentwire_interop_tests::{TestFailure, TestResult};
use tempfile::TempDir;
use tokio::process::Command;

/// A certification authority, with a directory for its files.
pub(crate) struct Authority(TempDir);

impl Authority {
    pub(crate) async fn new(name: &str) -> Result<Self, TestFailure> {
        let directory = tempfile::tempdir()?;
        fs::write(directory.path().join("ca.cnf"), CONFIG)?;
        fs::write(directory.path().join("index.txt"), "")?;
        fs::write(directory.path().join("crlnumber"), "01\n")?;
        let subject = format!("/CN={name}");
        let authority = Self(directory);
        let request = [&["req", "-x509", "-days", "2", "-subj", &subject], NEW_KEY].concat();
        let extensions = ["-config", "ca.cnf", "-extensions", "authority"];
        let files = ["-keyout", "ca.key", "-out", "ca.pem"];
        authority
            .openssl(&[&request[..], &extensions, &files].concat())
            .await?;
        Ok(authority)
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Issues a certificate for a name or an IP address, `NAME.pem` and `NAME.key`.
    pub(crate) async fn issue(&self, name: &str, alternative: &str) -> TestResult {
        self.issue_until(name, alternative, None).await
    }

    /// Issues a certificate that has expired.
    pub(crate) async fn issue_expired(&self, name: &str, alternative: &str) -> TestResult {
        let years = ("20200101000000Z", "20210101000000Z");
        self.issue_until(name, alternative, Some(years)).await
    }

    async fn issue_until(
        &self,
        name: &str,
        alternative: &str,
        years: Option<(&str, &str)>,
    ) -> TestResult {
        let [request, key, certificate] =
            ["csr", "key", "pem"].map(|extension| format!("{name}.{extension}"));
        let (subject, alternative) = (
            format!("/CN={name}"),
            format!("subjectAltName={alternative}"),
        );
        let files = ["-keyout", &key, "-out", &request];
        let names = ["-subj", &subject, "-addext", &alternative];
        self.openssl(
            &[
                &["req", "-new", "-config", "ca.cnf"],
                NEW_KEY,
                &files,
                &names,
            ]
            .concat(),
        )
        .await?;
        let mut sign = vec!["ca", "-batch", "-config", "ca.cnf", "-notext", "-days", "2"];
        if let Some((from, to)) = years {
            sign.extend(["-startdate", from, "-enddate", to]);
        }
        sign.extend(["-in", &request, "-out", &certificate]);
        self.openssl(&sign).await
    }

    /// Revokes a certificate, and writes the list of revoked certificates into `crl.pem`.
    pub(crate) async fn revoke(&self, name: &str) -> TestResult {
        let certificate = format!("{name}.pem");
        self.openssl(&["ca", "-config", "ca.cnf", "-revoke", &certificate])
            .await?;
        let list = ["ca", "-config", "ca.cnf", "-gencrl", "-out", "crl.pem"];
        self.openssl(&list).await
    }

    async fn openssl(&self, arguments: &[&str]) -> TestResult {
        let mut command = Command::new("openssl");
        command.args(arguments).current_dir(self.0.path());
        let output = command.output().await?;
        if output.status.success() {
            return Ok(());
        }
        let stderr = String::from_utf8_lossy(&output.stderr);
        Err(TestFailure::new(format!("openssl {arguments:?}: {stderr}")))
    }
}

/// Returns a path as an argument.
pub(crate) fn text(path: &Path) -> &str {
    path.to_str().unwrap_or_default()
}

const NEW_KEY: &[&str] = &[
    "-newkey",
    "ec",
    "-pkeyopt",
    "ec_paramgen_curve:P-256",
    "-nodes",
];

const CONFIG: &str = "\
[ca]
default_ca = authority_files
[authority_files]
database = index.txt
new_certs_dir = .
certificate = ca.pem
private_key = ca.key
rand_serial = yes
unique_subject = no
default_md = sha256
default_crl_days = 2
crlnumber = crlnumber
crl_extensions = list
policy = any
copy_extensions = copy
x509_extensions = leaf
[list]
authorityKeyIdentifier = keyid
[any]
commonName = supplied
[req]
distinguished_name = name
[name]
[authority]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign, digitalSignature
subjectKeyIdentifier = hash
[leaf]
basicConstraints = CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth, clientAuth
authorityKeyIdentifier = keyid
";
