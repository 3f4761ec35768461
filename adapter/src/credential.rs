//! The secrets with which a request proves who sent it.

use std::fmt;

use agentwire_codec::{Map, Value};

/// A credential in a request. The `Debug` output does not contain the secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential {
    kind: CredentialKind,
    secret: String,
}

/// The kind of a [`Credential`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum CredentialKind {
    /// A bearer token, such as a random token or a JWT.
    Bearer,
    /// An API key.
    ApiKey,
    /// A text in the place of a credential that is neither.
    Unreadable,
}

impl Credential {
    /// Creates a bearer token.
    #[must_use]
    pub fn bearer(token: impl Into<String>) -> Self {
        Self {
            kind: CredentialKind::Bearer,
            secret: token.into(),
        }
    }

    /// Creates an API key.
    #[must_use]
    pub fn api_key(key: impl Into<String>) -> Self {
        Self {
            kind: CredentialKind::ApiKey,
            secret: key.into(),
        }
    }

    /// Reads the value of a header `Authorization`, such as `Bearer …`.
    #[must_use]
    pub fn from_authorization(value: &str) -> Self {
        match value.split_once(' ') {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => {
                Self::bearer(token.trim())
            }
            _ => Self::unreadable(),
        }
    }

    fn unreadable() -> Self {
        Self {
            kind: CredentialKind::Unreadable,
            secret: String::new(),
        }
    }

    /// Returns the kind of the credential.
    #[must_use]
    pub fn kind(&self) -> CredentialKind {
        self.kind
    }

    /// Returns the secret. Never log the secret.
    #[must_use]
    pub fn secret(&self) -> &str {
        &self.secret
    }

    /// Adds the credential to the metadata of a request (PROTOCOL 14).
    pub(crate) fn put(&self, metadata: &mut Map) {
        match self.kind {
            CredentialKind::ApiKey => metadata.insert(API_KEY, &*self.secret),
            _ => metadata.insert(AUTHORIZATION, format!("Bearer {}", self.secret)),
        };
    }

    /// Removes all credentials from the metadata of a request, and returns the first one in the
    /// order of Python's servers.
    pub(crate) fn take(metadata: &mut Map) -> Option<Self> {
        if metadata.is_empty() {
            return None;
        }
        let read = |value: Value, read: fn(&str) -> Self| match value {
            Value::Null => None,
            Value::Text(text) => Some(read(&text)),
            _ => Some(Self::unreadable()),
        };
        let [authorization, token, key] = [
            metadata.remove(AUTHORIZATION),
            metadata.remove(TOKEN),
            metadata.remove(API_KEY),
        ];
        authorization
            .and_then(|value| read(value, Self::from_authorization))
            .or_else(|| token.and_then(|value| read(value, |text| Self::bearer(text))))
            .or_else(|| key.and_then(|value| read(value, |text| Self::api_key(text))))
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential")
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

const AUTHORIZATION: &str = "authorization";
const TOKEN: &str = "token";
const API_KEY: &str = "api_key";

/// The key of the metadata in which a server tells an agent who sent a message.
pub(crate) const AUTHENTICATED_USER: &str = "authenticated_user";

#[cfg(test)]
mod tests {
    use agentwire_codec::map;

    use super::*;

    #[test]
    fn all_credentials_are_removed_and_the_first_in_order_counts() {
        let mut metadata =
            map! {"api_key": "k", "a": 1, "token": "t", "authorization": "bearer  b "};
        assert_eq!(
            Credential::take(&mut metadata),
            Some(Credential::bearer("b"))
        );
        assert_eq!(metadata, map! {"a": 1});
        for (metadata, expected) in [
            (
                map! {"token": "t", "api_key": "k"},
                Some(Credential::bearer("t")),
            ),
            (map! {"api_key": "k"}, Some(Credential::api_key("k"))),
            (map! {"authorization": null, "token": null}, None),
            (
                map! {"authorization": "Basic x"},
                Some(Credential::unreadable()),
            ),
            (
                map! {"authorization": 7, "token": "t"},
                Some(Credential::unreadable()),
            ),
            (map! {"a": 1}, None),
        ] {
            assert_eq!(
                Credential::take(&mut metadata.clone()),
                expected,
                "{metadata:?}"
            );
        }
    }

    #[test]
    fn a_credential_is_read_as_it_was_written_and_never_shown() {
        for credential in [
            Credential::bearer("hunter2"),
            Credential::api_key("hunter2"),
        ] {
            let mut metadata = Map::new();
            credential.put(&mut metadata);
            assert_eq!(Credential::take(&mut metadata).as_ref(), Some(&credential));
            assert!(!format!("{credential:?}").contains("hunter2"));
        }
    }
}
