//! The text of an error with its sources, and what a user of the command can do about it.

use std::{error::Error, io, iter};

use agentwire::{
    WireError,
    internal::PlaintextCredentials,
    transport::{
        self, EndpointProblem,
        internal::{Escaped, Untrusted, sources},
    },
};
use agentwire_codec::ErrorCode;

/// Returns the text of an error and of its sources, as `error: source: source`. Where the library
/// refers to its own settings, the text has the options of the command.
pub(crate) fn explain(error: &(dyn Error + 'static)) -> String {
    let links = iter::once(error).chain(sources(error));
    links.map(explain_link).collect::<Vec<_>>().join(": ")
}

/// Returns the text of an invalid endpoint, with the schemes that a command can use.
pub(crate) fn explain_endpoint(error: &transport::Error) -> String {
    use EndpointProblem::{BareRelativePath, TildeInPath};
    use transport::Error::{InvalidEndpoint, UnsupportedScheme};
    match error {
        UnsupportedScheme { text, scheme } => format!(
            "{:?}: the scheme {:?} is not supported (use {SCHEMES})",
            Untrusted(text),
            Untrusted(scheme)
        ),
        // These errors show the corrected path.
        InvalidEndpoint {
            problem: BareRelativePath | TildeInPath,
            ..
        } => error.to_string(),
        InvalidEndpoint { text, problem } => format!(
            "{:?} is not a valid endpoint: {problem} (use {SCHEMES})",
            Untrusted(text)
        ),
        _ => error.to_string(),
    }
}

/// Returns the text of an error without its sources.
fn explain_link(error: &(dyn Error + 'static)) -> String {
    if is_plaintext_refusal(error) {
        return PLAINTEXT.to_owned();
    }
    let text = Escaped(error).to_string();
    if requires_credential(error) {
        text + PASS_CREDENTIAL
    } else {
        text
    }
}

/// Returns true if the client refused to send a token without encryption, to the given endpoint or
/// to an instance that the registry knows.
fn is_plaintext_refusal(error: &(dyn Error + 'static)) -> bool {
    use agentwire::Error::InvalidSetting;
    if let Some(error) = error.downcast_ref::<io::Error>() {
        // An `io::Error` shows the error inside, and is not its source.
        return error
            .get_ref()
            .is_some_and(|inner| inner.is::<PlaintextCredentials>());
    }
    matches!(
        error.downcast_ref(),
        Some(InvalidSetting {
            setting: "credentials",
            ..
        })
    )
}

/// Returns true if a server refused a request that had no credential.
fn requires_credential(error: &(dyn Error + 'static)) -> bool {
    let call = error.downcast_ref::<agentwire::Error>();
    let remote = call.and_then(agentwire::Error::remote);
    let Some(remote) = remote.or_else(|| error.downcast_ref::<WireError>()) else {
        return false;
    };
    // Servers of other programs, and proxies, give no reason.
    let reason = remote.details.get("reason").and_then(|it| it.as_str());
    remote.code == ErrorCode::UNAUTHENTICATED && reason.is_none_or(|it| it == "credential_required")
}

/// The schemes of endpoints that another process can reach.
const SCHEMES: &str =
    "unix:///path, or tcp, tls, ws, wss, http, https, h2c, grpc or grpcs with ://host:port";

const PLAINTEXT: &str = "the token would be sent unencrypted; use a tls:// endpoint, \
                         or give --allow-plaintext-token if the network is safe";

const PASS_CREDENTIAL: &str = "; pass a token with AGENTWIRE_TOKEN or --token-file, \
                               or a certificate with --tls-client-cert";

#[cfg(test)]
mod tests {
    use agentwire::{Endpoint, Map, registry::RegistryError};

    use super::*;

    fn unauthenticated(details: Map) -> WireError {
        // The texts of other servers differ, so the hint must not depend on the text.
        WireError::new(ErrorCode::UNAUTHENTICATED, "who is there?").with_details(details)
    }

    fn with_reason(reason: &str) -> WireError {
        unauthenticated(Map::from([("reason", reason)]))
    }

    #[test]
    fn the_code_and_the_reason_decide_whether_a_token_would_help() {
        let denied = WireError::new(ErrorCode::PERMISSION_DENIED, "A credential is required");
        for (error, helps) in [
            (with_reason("credential_required"), true),
            (unauthenticated(Map::new()), true),
            (with_reason("credential_refused"), false),
            (denied, false),
        ] {
            let text = explain(&RegistryError::Remote(error));
            assert_eq!(text.contains("--token-file"), helps, "{text}");
        }
    }

    #[test]
    fn a_refusal_to_send_a_token_in_plain_text_names_the_option() {
        let refused = io::Error::new(io::ErrorKind::PermissionDenied, PlaintextCredentials);
        let error = transport::Error::Connect {
            endpoint: Endpoint::tcp("192.0.2.1", 7000).unwrap(),
            source: refused,
        };
        let text = explain(&error);
        assert!(text.contains("--allow-plaintext-token"), "{text}");
        assert!(!text.contains("allow_plaintext_credentials"), "{text}");

        // An error with another cause keeps its text.
        let other = io::Error::new(io::ErrorKind::PermissionDenied, "not allowed");
        assert_eq!(explain(&other), "not allowed");
    }

    #[test]
    fn the_schemes_of_a_hint_can_be_used_by_a_command() {
        for text in ["", "a", "tcp://", "tcp://h", "memory://", "consul://h:1"] {
            let shown = explain_endpoint(&text.parse::<Endpoint>().unwrap_err());
            assert!(shown.contains("unix:///path"), "{shown}");
            let hint = shown.rsplit_once("(use ").unwrap().1;
            assert!(!hint.contains("memory"), "{shown}");
        }
        let shown = explain_endpoint(&"unix://tmp/a".parse::<Endpoint>().unwrap_err());
        assert!(shown.contains("unix:///tmp/a"), "{shown}");
    }
}
