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

    /// Reads the headers `Authorization` of a request. Several of them, and one that is not text,
    /// are an invalid credential: a server in front may have checked only one of them.
    #[cfg(any(feature = "grpc", feature = "http"))]
    pub(crate) fn from_headers(headers: &http::HeaderMap) -> Option<Self> {
        let mut values = headers.get_all(http::header::AUTHORIZATION).iter();
        let first = values.next()?;
        Some(match (first.to_str(), values.next()) {
            (Ok(value), None) => Self::from_authorization(value),
            _ => Self::unreadable(),
        })
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
    /// order of Python's servers. Credentials under keys in another case are removed, but do not
    /// count.
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
        remove_variants(metadata, &[AUTHORIZATION, TOKEN, API_KEY]);
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

/// Removes the entry in which a server tells an agent who sent a message. Any client can write it.
pub(crate) fn remove_authenticated_user(metadata: &mut Map) {
    metadata.remove(AUTHENTICATED_USER);
    remove_variants(metadata, &[AUTHENTICATED_USER]);
}

/// Removes the entries whose keys differ from these names in case only.
fn remove_variants(metadata: &mut Map, names: &[&str]) {
    let is_variant = |key: &str| names.iter().any(|name| name.eq_ignore_ascii_case(key));
    // Usually there is none. There may be thousands, which are removed in one go.
    if metadata.keys().any(is_variant) {
        let entries = std::mem::take(metadata).into_iter();
        *metadata = entries.filter(|(key, _)| !is_variant(key)).collect();
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
            (map! {"Authorization": "Bearer t", "API_KEY": "k"}, None),
            (map! {"a": 1}, None),
        ] {
            let mut left = metadata.clone();
            Credential::take(&mut left);
            assert!(left.keys().all(|key| key == "a"), "{left:?}");
            assert_eq!(
                Credential::take(&mut metadata.clone()),
                expected,
                "{metadata:?}"
            );
        }
    }

    #[cfg(any(feature = "grpc", feature = "http"))]
    #[test]
    fn two_headers_are_no_credential() {
        let read = |values: &[&[u8]]| {
            let mut headers = http::HeaderMap::new();
            for value in values {
                let value = http::HeaderValue::from_bytes(value).unwrap();
                headers.append("authorization", value);
            }
            Credential::from_headers(&headers)
        };
        assert_eq!(read(&[]), None);
        assert_eq!(read(&[b"Bearer a"]), Some(Credential::bearer("a")));
        for refused in [&[&b"Bearer a"[..], b"Bearer a"][..], &[b"Bearer \xe9"]] {
            assert_eq!(read(refused), Some(Credential::unreadable()));
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
