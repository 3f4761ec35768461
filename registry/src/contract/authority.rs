//! A test for the backends that know the authority of an administrator.

use agentwire_transport::Endpoint;

use super::backend::within;
use crate::{InstanceRef, Registration, Registry, backend::InstanceRefExt};

/// Checks that only an administrator removes the registration of another owner. The
/// registry must be empty. A registry in another process does not know the authority.
pub async fn an_administrator_removes_any_registration(registry: &impl Registry) {
    let endpoint: Endpoint = "tcp://10.0.0.7:8080".parse().expect("endpoint");
    for owner in ["", "secret"] {
        let weather = Registration::new("weather", endpoint.clone()).with_owner(owner);
        within(registry.register(weather)).await.expect("register");
        let named = InstanceRef::new("weather");
        within(registry.unregister(&named))
            .await
            .expect_err("a stranger");
        let beat = named.clone().with_authority();
        within(registry.unregister(&beat))
            .await
            .expect("an administrator");
        assert!(
            within(registry.lookup("weather"))
                .await
                .expect("lookup")
                .is_empty()
        );
    }
}
