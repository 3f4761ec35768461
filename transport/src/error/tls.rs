//! The reasons why a TLS connection cannot be used.

use std::fmt;

use agentwire_text::Untrusted;

/// The reason why a TLS connection cannot be used.
///
/// A [`Certificate`](Self::Certificate) problem was found by this side, and a
/// [`Refused`](Self::Refused) certificate was refused by the peer.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum TlsError {
    /// The certificate of the peer is not accepted.
    Certificate(CertificateProblem),
    /// The peer does not accept the certificate of this side.
    Refused(CertificateProblem),
    /// The peer does not speak TLS.
    NotTls,
    /// The peer does not speak TLS 1.3, or neither side accepts the cipher suites of the other.
    Version,
    /// The peer speaks another protocol than agentwire over TLS (ALPN).
    Protocol,
    /// The peer closed the connection during the handshake.
    Closed,
    /// The handshake did not finish in time.
    TimedOut,
    /// Any other problem.
    Other(String),
}

impl std::error::Error for TlsError {}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Certificate(CertificateProblem::Missing) => {
                f.write_str("the peer presented no certificate, and this side requires one")
            }
            Self::Certificate(problem) => {
                write!(f, "the certificate of the peer is not accepted: {problem}")
            }
            Self::Refused(CertificateProblem::Missing) => {
                f.write_str("the peer requires a certificate from this side, which presented none")
            }
            Self::Refused(problem) => write!(
                f,
                "the peer does not accept the certificate of this side: {problem}"
            ),
            Self::NotTls => f.write_str("the peer does not speak TLS"),
            Self::Version => f.write_str(
                "the peer does not speak TLS 1.3 with a cipher suite that this side supports",
            ),
            Self::Protocol => {
                f.write_str("the peer speaks another protocol than agentwire/1 over TLS")
            }
            Self::Closed => f.write_str("the peer closed the connection during the TLS handshake"),
            Self::TimedOut => f.write_str("the TLS handshake did not finish in time"),
            Self::Other(text) => write!(f, "TLS failed: {}", Untrusted(text)),
        }
    }
}

/// The reason why a certificate is not accepted.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum CertificateProblem {
    /// No trusted certification authority has signed it.
    UnknownIssuer,
    /// The time at which it expired has passed.
    Expired,
    /// Its validity has not started.
    NotYetValid,
    /// It does not contain the name that the client expects.
    WrongName,
    /// The side that must present it presented none.
    Missing,
    /// Its issuer has revoked it.
    Revoked,
    /// It may not be used for this side of a connection.
    WrongPurpose,
    /// It is invalid for another reason, or the peer told no reason.
    Other(String),
}

impl fmt::Display for CertificateProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnknownIssuer => "it is not signed by a trusted certification authority",
            Self::Expired => "it has expired",
            Self::NotYetValid => "it is not valid yet",
            Self::WrongName => "it belongs to another name",
            Self::Missing => "there is none",
            Self::Revoked => "it was revoked",
            Self::WrongPurpose => "it is not made for this side of a connection",
            Self::Other(text) => return Untrusted(text).fmt(f),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The texts of the last variants come from a peer or from its certificate.
    #[test]
    fn the_texts_of_peers_are_escaped() {
        let hostile = "\u{1b}[2J\nroot: all is well";
        let problem = CertificateProblem::Other(hostile.to_owned());
        for text in [
            problem.to_string(),
            TlsError::Certificate(problem.clone()).to_string(),
            TlsError::Refused(problem).to_string(),
            TlsError::Other(hostile.to_owned()).to_string(),
        ] {
            assert!(text.contains("root: all is well"), "{text:?}");
            assert!(!text.contains(char::is_control), "{text:?}");
        }
    }

    #[test]
    fn both_sides_name_the_same_problem_of_a_certificate() {
        for problem in [
            CertificateProblem::UnknownIssuer,
            CertificateProblem::Expired,
            CertificateProblem::NotYetValid,
            CertificateProblem::WrongName,
            CertificateProblem::Revoked,
            CertificateProblem::WrongPurpose,
        ] {
            let text = problem.to_string();
            let found = TlsError::Certificate(problem.clone()).to_string();
            let refused = TlsError::Refused(problem).to_string();
            assert!(found.ends_with(&format!("not accepted: {text}")), "{found}");
            assert!(
                refused.ends_with(&format!("of this side: {text}")),
                "{refused}"
            );
        }
    }
}
