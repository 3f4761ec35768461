//! The registrations of a server: one for each agent at each callable endpoint.

use std::{path::absolute, time::Duration};

use agentwire_codec::Map;
use agentwire_registry::{
    Registration, RegistrationHandle, RegistryError, SharedRegistry, Version,
    backend::RegistrationExt,
};
use agentwire_transport::{Endpoint, Error as TransportError};

use super::agents::Agents;
use crate::Error;

/// The settings of a server's registrations.
#[derive(Debug)]
pub(super) struct Advertisement {
    /// The registry, or `None` if the agents are not registered.
    pub(super) registry: Option<SharedRegistry>,
    /// The endpoints to register. If the list is empty, the endpoints on which the server listens
    /// are registered.
    pub(super) endpoints: Vec<Result<Endpoint, TransportError>>,
    pub(super) version: Option<Version>,
    pub(super) metadata: Map,
    /// The time for which the server continues to serve after it has unregistered its agents.
    pub(super) deregistration_delay: Duration,
}

impl Default for Advertisement {
    fn default() -> Self {
        Self {
            registry: None,
            endpoints: Vec::new(),
            version: None,
            metadata: Map::new(),
            deregistration_delay: DEREGISTRATION_DELAY,
        }
    }
}

/// Registrations that have been checked but not started.
pub(super) struct Registrations(Vec<(SharedRegistry, Registration)>);

impl Advertisement {
    /// Returns a registration for each agent at each endpoint that other processes can call.
    ///
    /// # Errors
    ///
    /// Returns [`Error::InvalidEndpoint`] if an advertised endpoint is not valid, and
    /// [`Error::InvalidSetting`] if other processes cannot call any of the endpoints. Returns
    /// [`Error::Register`] if the registration of an agent is not valid.
    pub(super) fn registrations(
        self,
        agents: &Agents,
        bound: &[&Endpoint],
    ) -> Result<Registrations, Error> {
        let Some(registry) = self.registry else {
            return Ok(Registrations(Vec::new()));
        };
        let endpoints = if self.endpoints.is_empty() {
            callable(bound)?
        } else {
            let advertised = self.endpoints.into_iter();
            advertised
                .map(|endpoint| with_port_of(endpoint.map_err(Error::InvalidEndpoint)?, bound))
                .collect::<Result<_, _>>()?
        };
        let mut registrations = Vec::new();
        for (name, capabilities) in agents.offers() {
            for endpoint in &endpoints {
                let mut registration = Registration::new(name, endpoint.clone())
                    .with_capabilities(capabilities.clone());
                registration.version = self.version.clone();
                registration.metadata = self.metadata.clone();
                registration.check(usize::MAX).map_err(refused)?;
                registrations.push((registry.clone(), registration));
            }
        }
        Ok(Registrations(registrations))
    }
}

impl Registrations {
    /// Registers the agents and keeps them registered.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Register`] if a registration is not valid.
    ///
    /// # Panics
    ///
    /// Panics if called outside a tokio runtime, unless there are no registrations.
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

/// Replaces port 0 of an advertised endpoint with the port of the first bound endpoint of the same
/// carrier.
fn with_port_of(advertised: Endpoint, bound: &[&Endpoint]) -> Result<Endpoint, Error> {
    let Some((_, 0)) = advertised.host_and_port() else {
        return Ok(advertised);
    };
    let is_same_carrier = |bound: &Endpoint| match (&advertised, bound) {
        (Endpoint::Url(url), Endpoint::Url(other)) => url.scheme == other.scheme,
        _ => std::mem::discriminant(&advertised) == std::mem::discriminant(bound),
    };
    let bound = bound.iter().find(|bound| is_same_carrier(bound));
    match bound.and_then(|bound| bound.host_and_port()) {
        Some((_, port)) => Ok(advertised.with_port(port)),
        None => Ok(advertised),
    }
}

fn callable(bound: &[&Endpoint]) -> Result<Vec<Endpoint>, Error> {
    let mut endpoints = Vec::new();
    let mut problem = None;
    for bound in bound {
        match callable_form(bound) {
            Ok(endpoint) => endpoints.push(endpoint),
            Err(reason) => {
                tracing::debug!(endpoint = %bound, reason, "endpoint not registered");
                problem = problem.or(Some(reason));
            }
        }
    }
    match problem {
        Some(problem) if endpoints.is_empty() => Err(Error::InvalidSetting {
            setting: "advertised_endpoint",
            problem,
        }),
        _ => Ok(endpoints),
    }
}

/// Returns the form of an endpoint that other processes can call, or the reason why there is no
/// such form.
fn callable_form(bound: &Endpoint) -> Result<Endpoint, &'static str> {
    match bound {
        // Other processes may have a different working directory, so the path must be absolute.
        Endpoint::Unix { path, .. } => match absolute(path).map(Endpoint::unix) {
            Ok(Ok(endpoint)) => Ok(endpoint),
            _ => Err("must be set: the relative path of the socket cannot be made absolute"),
        },
        _ if matches!(bound.host_and_port(), Some((host, _)) if is_unspecified(host)) => {
            Err("must be set: callers cannot connect to an unspecified address")
        }
        Endpoint::Tcp { .. }
        | Endpoint::Tls { .. }
        | Endpoint::Url(_)
        | Endpoint::Memory { .. } => Ok(bound.clone()),
        _ => Err("must be set: only this process can reach a custom listener"),
    }
}

fn is_unspecified(host: &str) -> bool {
    host.parse()
        .is_ok_and(|address: std::net::IpAddr| address.is_unspecified())
}

/// The default deregistration delay. On a busy machine, a registry may need this much time to
/// notify all watching clients.
const DEREGISTRATION_DELAY: Duration = Duration::from_millis(250);

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(text: &str) -> Endpoint {
        text.parse().unwrap()
    }

    #[test]
    fn an_endpoint_that_others_can_call_is_registered_unchanged() {
        for text in [
            "tcp://10.0.0.7:80",
            "tcp://[::1]:80",
            "tcp://::1:80",
            "memory://a",
            "unix:///run/a",
        ] {
            assert_eq!(callable_form(&endpoint(text)), Ok(endpoint(text)));
        }
    }

    #[test]
    fn a_relative_path_is_made_absolute() {
        let Ok(Endpoint::Unix { path, .. }) = callable_form(&endpoint("unix://./a.sock")) else {
            panic!("another carrier");
        };
        assert!(path.is_absolute() && path.ends_with("a.sock"), "{path:?}");
    }

    #[test]
    fn an_endpoint_that_others_cannot_call_is_left_out_or_an_error_if_it_is_the_only_one() {
        let local = endpoint("unix:///run/a");
        for bound in [
            endpoint("tcp://0.0.0.0:80"),
            endpoint("tcp://[::]:80"),
            endpoint("tls://[::]:80"),
            Endpoint::custom("a line"),
        ] {
            assert_eq!(
                callable(&[&bound, &local]).unwrap(),
                std::slice::from_ref(&local)
            );
            let error = callable(&[&bound]).unwrap_err();
            assert!(
                matches!(
                    error,
                    Error::InvalidSetting {
                        setting: "advertised_endpoint",
                        ..
                    }
                ),
                "{error}"
            );
        }
    }

    #[test]
    fn port_zero_stands_for_the_port_that_the_system_chose() {
        let bound = [
            &endpoint("unix:///run/b"),
            &endpoint("tcp://0.0.0.0:4711"),
            &endpoint("tls://0.0.0.0:4712"),
        ];
        for (advertised, expected) in [
            ("tcp://host:0", "tcp://host:4711"),
            ("tls://host:0", "tls://host:4712"),
            ("tcp://fd00::7:0", "tcp://fd00::7:4711"),
            ("tcp://[fd00::7]:0", "tcp://[fd00::7]:4711"),
            ("tcp://host:80", "tcp://host:80"),
            ("unix:///run/a", "unix:///run/a"),
        ] {
            let found = with_port_of(endpoint(advertised), &bound).unwrap();
            assert_eq!(found, endpoint(expected));
        }
    }
}
