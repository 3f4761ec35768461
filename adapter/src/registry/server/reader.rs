//! The registrations that a peer of a registry server can use (PROTOCOL 12.14).

use std::sync::Arc;

use agentwire_codec::{Map, Value};
use agentwire_registry::{
    Registration, RegistrationProblem, RegistryError,
    backend::{FieldError, RegistrationExt, this_machine},
};
use agentwire_transport::{Peer, PeerAddr};

use crate::{registry::wire::text, server::Scope};

/// A peer that requests registrations.
pub(super) struct Reader {
    /// The machine in the request, and the machine that the address of the peer implies.
    machines: [Option<String>; 2],
    /// Whether the peer also requests the local endpoints of other machines.
    wants_all: bool,
    /// The namespace and the names that the peer may see, or `None` for everything.
    scope: Option<Arc<Scope>>,
}

impl Reader {
    pub(super) fn new(peer: &Peer, payload: &Map) -> Result<Self, FieldError> {
        let stated = Some(text(payload, "machine")?).filter(|machine| !machine.is_empty());
        let wants_all = match payload.get("remote_local") {
            None | Some(Value::Null) => false,
            Some(Value::Bool(wants_all)) => *wants_all,
            Some(_) => return Err(FieldError::new("remote_local", "a bool")),
        };
        Ok(Self {
            machines: [stated, machine_of(peer)],
            wants_all,
            scope: None,
        })
    }

    /// Restricts the reader to a scope.
    pub(super) fn within(mut self, scope: Option<Arc<Scope>>) -> Self {
        self.scope = scope;
        self
    }

    pub(super) fn scope(&self) -> Option<&Scope> {
        self.scope.as_deref()
    }

    /// Returns whether the registration is visible to the peer. The peer must be able to call the
    /// endpoint, unless the peer requests all endpoints.
    pub(super) fn sees(&self, registration: &Registration) -> bool {
        let scope = self.scope.as_ref();
        if scope.is_some_and(|scope| scope.shown(&registration.name).is_none()) {
            return false;
        }
        if self.wants_all || !registration.is_local() {
            return true;
        }
        let mut machines = self.machines.iter().flatten();
        registration.machine.is_none() || machines.any(|here| registration.is_callable_from(here))
    }
}

/// Sets the machine of a local endpoint, and refuses endpoints that callers cannot reach.
///
/// # Errors
///
/// Returns [`RegistryError::InvalidRegistration`] if a peer in another process registers an
/// endpoint that exists only inside a process.
pub(super) fn place(
    peer: &Peer,
    mut registration: Registration,
) -> Result<Registration, RegistryError> {
    if registration.is_in_process() && !is_in_process(peer) {
        return Err(RegistryError::InvalidRegistration {
            name: registration.name,
            problem: RegistrationProblem::Endpoint {
                problem: "a memory endpoint exists only inside the process that listens on it",
            },
        });
    }
    if registration.is_local() {
        registration.machine = registration.machine.or_else(|| machine_of(peer));
    } else {
        registration.machine = None;
    }
    Ok(registration)
}

/// Returns the machine that the address of a peer implies. For a local peer, the result is this
/// machine. For any other peer, the result is the IP address.
fn machine_of(peer: &Peer) -> Option<String> {
    match peer.address() {
        PeerAddr::Tcp(address) if !address.ip().to_canonical().is_loopback() => {
            Some(address.ip().to_canonical().to_string())
        }
        PeerAddr::Unknown => None,
        _ => this_machine().map(str::to_owned),
    }
}

fn is_in_process(peer: &Peer) -> bool {
    matches!(peer.address(), PeerAddr::Memory(_) | PeerAddr::Custom(_))
}

#[cfg(test)]
mod tests {
    use agentwire_codec::map;

    use super::*;

    fn peer(address: &str) -> Peer {
        let address: std::net::SocketAddr = address.parse().unwrap();
        Peer::from(address)
    }

    fn registered(by: &Peer, endpoint: &str) -> Registration {
        let mut registration = Registration::new("payroll", endpoint.parse().unwrap());
        registration.machine = None;
        place(by, registration).unwrap()
    }

    fn sees(reader: &Peer, payload: Map, registration: &Registration) -> bool {
        Reader::new(reader, &payload).unwrap().sees(registration)
    }

    #[test]
    fn a_local_endpoint_is_shown_to_readers_on_its_machine_and_to_those_that_ask_for_it() {
        let (a, b) = (peer("10.0.0.1:4000"), peer("10.0.0.2:4000"));
        let loopback = registered(&b, "tcp://127.0.0.1:5555");
        assert!(sees(&b, Map::new(), &loopback));
        assert!(!sees(&a, Map::new(), &loopback));
        assert!(!sees(&peer("127.0.0.1:1"), Map::new(), &loopback));
        assert!(sees(&a, map! {"remote_local": true}, &loopback));
        let everywhere = registered(&b, "tcp://10.0.0.2:5555");
        assert!(sees(&a, Map::new(), &everywhere) && everywhere.machine.is_none());
        let mut stated = registered(&b, "unix:///run/payroll.sock");
        stated.machine = Some("boot net:1".to_owned());
        assert!(sees(&a, map! {"machine": "boot net:2"}, &stated));
        assert!(!sees(&a, map! {"machine": "other net:1"}, &stated));
        assert!(Reader::new(&a, &map! {"remote_local": 1}).is_err());
    }

    #[test]
    fn only_this_process_registers_memory_endpoints() {
        let memory = Registration::new("a", "memory://a".parse().unwrap());
        assert!(place(&peer("127.0.0.1:1"), memory.clone()).is_err());
        let inside = Peer::from("a carrier in this process");
        assert!(place(&inside, memory).is_ok());
    }
}
