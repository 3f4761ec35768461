//! The options for TLS.

use std::path::PathBuf;

use agentwire::{Endpoint, TlsClient, TlsServer};
use clap::{Args, ValueEnum};

use crate::exit::{CliError, Exit};

/// The certificates of a server.
#[derive(Debug, Args)]
pub(crate) struct TlsServerArgs {
    /// The certificate of the server, for an endpoint with TLS: a PEM file with the certificate and
    /// those of the intermediate authorities; a changed file is read again
    #[arg(long, value_name = "FILE", requires = "tls_key", help_heading = HEADING)]
    tls_cert: Option<PathBuf>,

    /// The private key of the server: a PEM file
    #[arg(long, value_name = "FILE", requires = "tls_cert", help_heading = HEADING)]
    tls_key: Option<PathBuf>,

    /// Require a certificate of each client, signed by a certification authority in this PEM file
    #[arg(long, value_name = "FILE", requires = "tls_cert", help_heading = HEADING)]
    tls_client_ca: Option<PathBuf>,

    /// Whether a client must present a certificate
    #[arg(
        long,
        value_name = "WHEN",
        default_value = "required",
        requires = "tls_client_ca",
        help_heading = HEADING
    )]
    tls_client_auth: ClientAuth,
}

/// Whether a client must present a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ClientAuth {
    /// A client without a certificate is refused
    Required,
    /// A client without a certificate is accepted
    Optional,
}

impl TlsServerArgs {
    /// Reads the files.
    pub(crate) fn server(&self) -> Result<Option<TlsServer>, CliError> {
        let (Some(certificate), Some(key)) = (&self.tls_cert, &self.tls_key) else {
            return Ok(None);
        };
        let mut tls = TlsServer::from_pem(certificate, key).map_err(unusable)?;
        if let Some(authority) = &self.tls_client_ca {
            tls = tls.client_ca(authority).map_err(unusable)?;
        }
        if self.tls_client_auth == ClientAuth::Optional {
            tls = tls.client_auth_optional();
        }
        Ok(Some(tls))
    }

    /// Checks that there is a certificate if an endpoint needs one, and the other way around.
    pub(crate) fn check(&self, endpoints: &[Endpoint]) -> Result<(), CliError> {
        let secure = endpoints.iter().find(|endpoint| endpoint.is_secure());
        let (endpoint, problem) = match (secure, endpoints.first(), &self.tls_cert) {
            (Some(secure), _, None) => (secure, "needs --tls-cert and --tls-key"),
            (None, Some(plain), Some(_)) => (
                plain,
                "is not encrypted, although --tls-cert is given; use tls:// or wss://",
            ),
            _ => return Ok(()),
        };
        Err(CliError::new(Exit::Usage, format!("{endpoint} {problem}")))
    }
}

/// The certificates of a client.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct TlsClientArgs {
    /// Trust servers whose certificates a certification authority in this PEM
    /// file has signed [default: the certification authorities of the system]
    #[arg(long, value_name = "FILE", help_heading = HEADING)]
    tls_ca: Option<PathBuf>,

    /// The certificate to present to servers: a PEM file
    #[arg(long, value_name = "FILE", requires = "tls_client_key", help_heading = HEADING)]
    tls_client_cert: Option<PathBuf>,

    /// The private key of --tls-client-cert: a PEM file
    #[arg(long, value_name = "FILE", requires = "tls_client_cert", help_heading = HEADING)]
    tls_client_key: Option<PathBuf>,

    /// The name that the certificates of servers must have [default: the host of the endpoint]
    #[arg(long, value_name = "NAME", help_heading = HEADING)]
    tls_server_name: Option<String>,
}

impl TlsClientArgs {
    /// Reads the files.
    pub(crate) fn client(&self) -> Result<TlsClient, CliError> {
        let mut tls = TlsClient::new();
        if let Some(authority) = &self.tls_ca {
            tls = tls.ca(authority).map_err(unusable)?;
        }
        if let (Some(certificate), Some(key)) = (&self.tls_client_cert, &self.tls_client_key) {
            tls = tls.identity(certificate, key).map_err(unusable)?;
        }
        if let Some(name) = &self.tls_server_name {
            tls = tls.server_name(name);
        }
        Ok(tls)
    }
}

fn unusable(error: agentwire::transport::Error) -> CliError {
    CliError::from_error(Exit::Usage, &error)
}

/// The heading in the help. `next_help_heading` would also move all later arguments of a command
/// below it.
const HEADING: &str = "TLS";
