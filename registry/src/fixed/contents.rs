//! The contents of a registry that cannot be changed by agents.

use std::sync::Arc;

use agentwire_transport::Endpoint;

use crate::{
    Query, Registration, RegistryError, WatchScope, backend::QueryExt, registration::sort,
};

/// The agents that a read-only registry knows.
#[derive(Debug, Clone)]
pub(crate) enum Contents {
    /// Agents with names.
    Agents(Vec<Arc<Registration>>),
    /// Endpoints that serve agents of unknown names.
    Endpoints {
        /// The name under which the endpoints are listed.
        label: String,
        endpoints: Vec<Endpoint>,
    },
}

impl Contents {
    /// Returns the registrations in a scope, in listing order.
    pub(crate) fn of(&self, scope: &WatchScope) -> Vec<Arc<Registration>> {
        let mut found = match (self, scope) {
            (Self::Agents(agents), scope) => {
                let agents = agents.iter().filter(|agent| scope.contains(agent));
                agents.cloned().collect()
            }
            (Self::Endpoints { endpoints, .. }, WatchScope::Name(name)) => {
                instances(name, endpoints)
            }
            (Self::Endpoints { label, endpoints }, WatchScope::All) => instances(label, endpoints),
        };
        sort(&mut found);
        found
    }

    /// Returns the registrations that match a query, in listing order.
    pub(crate) fn find(&self, query: &Query) -> Vec<Arc<Registration>> {
        let scope = match query.required_name() {
            Some(name) => WatchScope::name(name),
            None => WatchScope::All,
        };
        let mut found = self.of(&scope);
        found.retain(|registration| query.matches(registration));
        found
    }
}

fn instances(name: &str, endpoints: &[Endpoint]) -> Vec<Arc<Registration>> {
    let mut endpoints: Vec<_> = endpoints.iter().collect();
    endpoints.sort();
    endpoints.dedup();
    let of = |endpoint: &Endpoint| {
        // An instance id would differ between two lookups.
        Arc::new(Registration::new(name, endpoint.clone()).with_instance(""))
    };
    endpoints.into_iter().map(of).collect()
}

/// Returns the error of an agent that tries to register.
pub(crate) fn read_only(registry: &str) -> RegistryError {
    RegistryError::ReadOnly {
        registry: registry.to_owned(),
    }
}
