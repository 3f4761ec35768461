use std::{path::absolute, time::Duration};

use agentwire_codec::Map;
use agentwire_registry::{
    Registration, RegistrationHandle, RegistryError, SharedRegistry, Version,
    backend::RegistrationExt,
};
use agentwire_transport::{Endpoint, Error as TransportError};

use super::agents::Agents;
use crate::Error;

/// What a server tells a registry of its agents.
#[derive(Debug)]
pub(super) struct Advertisement {
    /// Nothing is told if there is none.
    pub(super) registry: Option<SharedRegistry>,
    /// Where others call the server, if that is not where it listens.
    pub(super) endpoint: Option<Result<Endpoint, TransportError>>,
    pub(super) version: Option<Version>,
    pub(super) metadata: Map,
    /// How long to serve on when the registry has been told of the end.
    pub(super) notice: Duration,
}

/// As long as a message takes to those who watch, on machines that have other things to do.
const NOTICE: Duration = Duration::from_millis(250);

impl Default for Advertisement {
    fn default() -> Self {
        Self {
            registry: None,
            endpoint: None,
            version: None,
            metadata: Map::new(),
            notice: NOTICE,
        }
    }
}

/// Registrations that are kept up from when they are started.
pub(super) struct Registrations(Vec<(SharedRegistry, Registration)>);

impl Advertisement {
    /// What to register of agents that are served at `bound`.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidEndpoint`], [`Error::InvalidSetting`] for an endpoint that others could not call, and
    /// [`Error::Register`] for agents that no registry takes.
    pub(super) fn registrations(
        self,
        agents: &Agents,
        bound: &Endpoint,
    ) -> Result<Registrations, Error> {
        let Some(registry) = self.registry else {
            return Ok(Registrations(Vec::new()));
        };
        let endpoint = match self.endpoint.transpose().map_err(Error::InvalidEndpoint)? {
            Some(told) => with_port_of(told, bound)?,
            None => callable(bound)?,
        };
        let mut registrations = Vec::new();
        for (name, capabilities) in agents.offers() {
            let mut registration =
                Registration::new(name, endpoint.clone()).with_capabilities(capabilities);
            registration.version = self.version.clone();
            registration.metadata = self.metadata.clone();
            registration.check(usize::MAX).map_err(refused)?;
            registrations.push((registry.clone(), registration));
        }
        Ok(Registrations(registrations))
    }
}

impl Registrations {
    /// Keeps them up from now on.
    ///
    /// # Errors
    ///
    /// [`Error::Register`].
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime, if there are any.
    pub(super) fn start(self) -> Result<Vec<RegistrationHandle>, Error> {
        let registrations = self.0.into_iter();
        registrations
            .map(|(registry, registration)| RegistrationHandle::start(registry, registration))
            .collect::<Result<_, _>>()
            .map_err(refused)
    }
}

fn refused(error: RegistryError) -> Error {
    Error::Register(error)
}

/// An advertised endpoint with port 0 has the port that the system chose.
fn with_port_of(told: Endpoint, bound: &Endpoint) -> Result<Endpoint, Error> {
    match (&told, bound) {
        (Endpoint::Tcp { host, port: 0, .. }, Endpoint::Tcp { port, .. }) => {
            Endpoint::tcp(host, *port).map_err(Error::InvalidEndpoint)
        }
        _ => Ok(told),
    }
}

/// Where others call what listens there.
fn callable(bound: &Endpoint) -> Result<Endpoint, Error> {
    let problem = match bound {
        // Another process may have another working directory.
        Endpoint::Unix { path, .. } => match absolute(path).map(Endpoint::unix) {
            Ok(Ok(endpoint)) => return Ok(endpoint),
            _ => "must be set, for the socket's path is relative and cannot be made absolute",
        },
        Endpoint::Tcp { host, .. } if is_unspecified(host) => {
            "must be set, for nobody can call the unspecified address"
        }
        Endpoint::Tcp { .. } | Endpoint::Memory { .. } => return Ok(bound.clone()),
        _ => "must be set, for only this process knows how to reach the listener",
    };
    let setting = "advertise";
    Err(Error::InvalidSetting { setting, problem })
}

fn is_unspecified(host: &str) -> bool {
    host.parse()
        .is_ok_and(|address: std::net::IpAddr| address.is_unspecified())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(text: &str) -> Endpoint {
        text.parse().unwrap()
    }

    #[test]
    fn what_others_can_call_is_told_as_it_is() {
        for text in [
            "tcp://10.0.0.7:80",
            "tcp://[::1]:80",
            "memory://a",
            "unix:///run/a",
        ] {
            assert_eq!(callable(&endpoint(text)).unwrap(), endpoint(text));
        }
    }

    #[test]
    fn a_relative_path_is_made_absolute() {
        let Endpoint::Unix { path, .. } = callable(&endpoint("unix://./a.sock")).unwrap() else {
            panic!("another carrier");
        };
        assert!(path.is_absolute() && path.ends_with("a.sock"), "{path:?}");
    }

    #[test]
    fn what_others_cannot_call_must_be_told_otherwise() {
        for bound in [
            endpoint("tcp://0.0.0.0:80"),
            endpoint("tcp://[::]:80"),
            Endpoint::custom("a line"),
        ] {
            let error = callable(&bound).unwrap_err();
            assert!(
                matches!(
                    error,
                    Error::InvalidSetting {
                        setting: "advertise",
                        ..
                    }
                ),
                "{error}"
            );
        }
    }

    #[test]
    fn port_zero_stands_for_the_port_that_the_system_chose() {
        let bound = endpoint("tcp://0.0.0.0:4711");
        for (told, expected) in [
            ("tcp://host:0", "tcp://host:4711"),
            ("tcp://host:80", "tcp://host:80"),
            ("unix:///run/a", "unix:///run/a"),
        ] {
            let found = with_port_of(endpoint(told), &bound).unwrap();
            assert_eq!(found, endpoint(expected));
        }
    }
}
