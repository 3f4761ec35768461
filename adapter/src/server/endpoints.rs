//! The endpoints and listeners of a server that has not been started.

use agentwire_transport::{Endpoint, Error as TransportError, Listener};

use super::{carrier::Bound, config::ServerConfig};
use crate::Error;

/// The unbound endpoints and the bound listeners of a server, in the order in which they were
/// added.
#[derive(Debug, Default)]
pub(crate) struct Endpoints {
    sources: Vec<Source>,
    /// The first error of a setter. [`bind`](Self::bind) returns this error.
    error: Option<Error>,
}

#[derive(Debug)]
enum Source {
    Endpoint(Endpoint),
    Listener(Box<Listener>),
}

#[cfg(feature = "tls")]
impl Source {
    fn is_tls(&self) -> bool {
        let endpoint = match self {
            Self::Endpoint(endpoint) => endpoint,
            Self::Listener(listener) => listener.endpoint(),
        };
        endpoint.is_secure()
    }
}

impl Endpoints {
    pub(crate) fn push<E>(&mut self, endpoint: E)
    where
        E: TryInto<Endpoint>,
        TransportError: From<E::Error>,
    {
        match endpoint.try_into() {
            Ok(endpoint) => self.sources.push(Source::Endpoint(endpoint)),
            Err(error) => {
                self.error
                    .get_or_insert(Error::InvalidEndpoint(error.into()));
            }
        }
    }

    pub(crate) fn push_listener<L>(&mut self, listener: L)
    where
        L: TryInto<Listener>,
        TransportError: From<L::Error>,
    {
        match listener.try_into() {
            Ok(listener) => self.sources.push(Source::Listener(Box::new(listener))),
            Err(error) => {
                self.error.get_or_insert(Error::Listen(error.into()));
            }
        }
    }

    /// Binds all endpoints. If an endpoint is not valid, no endpoint is bound. If an endpoint
    /// cannot be bound, all other endpoints are released.
    ///
    /// # Errors
    ///
    /// Returns [`Error::InvalidEndpoint`] if an endpoint is not valid, [`Error::Listen`] if an
    /// endpoint cannot be bound, and [`Error::InvalidSetting`] if there is no endpoint.
    pub(crate) async fn bind(self, config: &ServerConfig) -> Result<Vec<Bound>, Error> {
        if let Some(error) = self.error {
            return Err(error);
        }
        if self.sources.is_empty() {
            return Err(Error::InvalidSetting {
                setting: "endpoint",
                problem: "a server needs at least one endpoint or listener",
            });
        }
        #[cfg(feature = "tls")]
        if config.tls.is_some() && !self.sources.iter().any(Source::is_tls) {
            return Err(Error::InvalidSetting {
                setting: "tls",
                problem: "needs an endpoint with TLS, such as `tls://`; other endpoints are not encrypted",
            });
        }
        let mut bound = Vec::with_capacity(self.sources.len());
        for source in self.sources {
            bound.push(match source {
                Source::Endpoint(endpoint) => Bound::bind(&endpoint, config).await?,
                Source::Listener(listener) => Bound::from(*listener),
            });
        }
        Ok(bound)
    }
}
