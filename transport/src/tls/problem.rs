//! Converts the errors of rustls.

use std::io;

use rustls::{AlertDescription, CertificateError, Error, InvalidMessage};

use crate::{CertificateProblem, TlsError};

/// Returns the TLS error in an error of a handshake, or the error itself if the socket failed.
pub(super) fn of_handshake(error: io::Error) -> Result<TlsError, io::Error> {
    match error.get_ref().and_then(|inner| inner.downcast_ref()) {
        Some(inner) => Ok(of(inner)),
        None if error.kind() == io::ErrorKind::UnexpectedEof => Ok(TlsError::Closed),
        None => Err(error),
    }
}

/// Replaces an error of rustls in an error of a read or write by a [`TlsError`].
pub(super) fn of_transfer(error: io::Error) -> io::Error {
    match error.get_ref().and_then(|inner| inner.downcast_ref()) {
        Some(inner) => io::Error::new(io::ErrorKind::ConnectionAborted, of(inner)),
        None => error,
    }
}

fn of(error: &Error) -> TlsError {
    match error {
        Error::InvalidCertificate(error) => TlsError::Certificate(of_certificate(error)),
        Error::NoCertificatesPresented => TlsError::Certificate(CertificateProblem::Missing),
        Error::AlertReceived(alert) => of_alert(*alert),
        Error::InvalidMessage(InvalidMessage::InvalidContentType) => TlsError::NotTls,
        Error::PeerIncompatible(_) => TlsError::Version,
        Error::NoApplicationProtocol => TlsError::Protocol,
        other => TlsError::Other(other.to_string()),
    }
}

fn of_certificate(error: &CertificateError) -> CertificateProblem {
    use CertificateError::*;
    match error {
        // A new authority often has the name of the old one, which then seems to be the issuer.
        UnknownIssuer | BadSignature => CertificateProblem::UnknownIssuer,
        Expired | ExpiredContext { .. } => CertificateProblem::Expired,
        NotValidYet | NotValidYetContext { .. } => CertificateProblem::NotYetValid,
        NotValidForName | NotValidForNameContext { .. } => CertificateProblem::WrongName,
        Revoked => CertificateProblem::Revoked,
        InvalidPurpose | InvalidPurposeContext { .. } => CertificateProblem::WrongPurpose,
        UnknownRevocationStatus => {
            CertificateProblem::Other("no revocation list tells whether it was revoked".to_owned())
        }
        other => CertificateProblem::Other(other.to_string()),
    }
}

/// Converts an alert. TLS has one alert for a certificate that has expired and one that is not
/// valid yet, and none for a wrong name.
fn of_alert(alert: AlertDescription) -> TlsError {
    use AlertDescription::*;
    TlsError::Refused(match alert {
        CertificateRequired | NoCertificate => CertificateProblem::Missing,
        UnknownCA => CertificateProblem::UnknownIssuer,
        CertificateExpired => CertificateProblem::Expired,
        CertificateRevoked => CertificateProblem::Revoked,
        UnsupportedCertificate => CertificateProblem::WrongPurpose,
        BadCertificate => CertificateProblem::Other(
            "it is invalid or belongs to another name (bad_certificate)".to_owned(),
        ),
        CertificateUnknown => {
            CertificateProblem::Other("it is not acceptable (certificate_unknown)".to_owned())
        }
        AccessDenied => CertificateProblem::Other("access is denied (access_denied)".to_owned()),
        ProtocolVersion | HandshakeFailure | InsufficientSecurity => return TlsError::Version,
        NoApplicationProtocol => return TlsError::Protocol,
        CloseNotify | UserCanceled => return TlsError::Closed,
        other => return TlsError::Other(format!("the peer sent the alert {other:?}")),
    })
}
