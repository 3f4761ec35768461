//! Equality, ordering and hashing of endpoints.

use std::{
    cmp::Ordering,
    hash::{Hash, Hasher},
};

use super::Endpoint;

impl Endpoint {
    /// Returns the parts of the text of the endpoint, by which endpoints are compared.
    ///
    /// The comparison of `PathBuf` is unsuitable because it considers `/run//a` equal to `/run/a`.
    /// Other languages and the backends of registries compare the text.
    fn identity(&self) -> (u8, &[u8], u16, &str) {
        match self {
            Self::Unix { path } => (0, path.as_os_str().as_encoded_bytes(), 0, ""),
            Self::Tcp {
                host,
                port,
                bracketed,
            } => {
                let form = if *bracketed { "" } else { ":" };
                (1, host.as_bytes(), *port, form)
            }
            Self::Memory { name } => (2, name.as_bytes(), 0, ""),
            Self::Custom { text } => (3, text.as_bytes(), 0, ""),
            Self::Url(url) => (
                5 + url.scheme as u8,
                url.host.as_bytes(),
                url.port,
                &url.path,
            ),
            Self::Tls { host, port } => (4, host.as_bytes(), *port, ""),
        }
    }
}

impl PartialEq for Endpoint {
    fn eq(&self, other: &Self) -> bool {
        self.identity() == other.identity()
    }
}

impl Eq for Endpoint {}

impl Hash for Endpoint {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.identity().hash(state);
    }
}

impl PartialOrd for Endpoint {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Endpoint {
    fn cmp(&self, other: &Self) -> Ordering {
        self.identity().cmp(&other.identity())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeSet, HashSet};

    use super::*;

    #[test]
    fn endpoints_are_equal_if_their_texts_are() {
        let texts = [
            "unix:///run/a",
            "unix:///run//a",
            "unix:///run/./a",
            "unix:///run/a/",
            "unix://./a",
            "tcp://a:9",
            "tcp://a:10",
            "tcp://b:1",
            "tcp://[::1]:1",
            "tcp://::1:1",
            "tls://a:9",
            "memory://a",
            "ws://a:9",
            "ws://a:9/b",
            "http://a:9/b",
            "https://a:9/b",
        ];
        let parse = |text: &str| text.parse::<Endpoint>().expect(text);
        for one in texts {
            for other in texts {
                assert_eq!(parse(one) == parse(other), one == other, "{one} {other}");
            }
        }
        let twice = || texts.iter().chain(&texts).map(|text| parse(text));
        assert_eq!(twice().collect::<HashSet<_>>().len(), texts.len());
        assert_eq!(twice().collect::<BTreeSet<_>>().len(), texts.len());
        assert_eq!(parse("tcp://a:0080"), parse("tcp://a:80"));
        assert!(parse("tcp://a:9") < parse("tcp://a:10"));
    }
}
