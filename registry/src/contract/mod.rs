//! The test suite that every backend must pass.
//!
//! A [`Backend`] starts a registry with a given [`RegistryConfig`](crate::RegistryConfig) and
//! returns handles to the registry. The macro [`registry_contract!`](crate::registry_contract)
//! generates a test for each function in this module:
//!
//! ```
//! use agentwire_registry::{
//!     LocalRegistry, RegistryConfig, contract::Backend, registry_contract,
//! };
//!
//! struct Local(LocalRegistry);
//!
//! impl Backend for Local {
//!     type Registry = LocalRegistry;
//!
//!     async fn start(_test: &str, config: RegistryConfig) -> Self {
//!         Self(LocalRegistry::with_config(config).expect("config"))
//!     }
//!
//!     async fn registry(&self) -> LocalRegistry {
//!         self.0.clone()
//!     }
//! }
//!
//! registry_contract! { local: Local }
//! ```

#![allow(
    clippy::expect_used,
    clippy::missing_panics_doc,
    missing_docs,
    reason = "these are tests, whose names are sentences"
)]

mod authority;
mod backend;
mod finding;
mod leases;
mod limits;
mod registering;
mod watch_view;
mod watching;

pub use self::{
    authority::*, backend::Backend, finding::*, leases::*, limits::*, registering::*, watching::*,
};

/// Generates a module of tests for each backend. A backend is specified as `name: Type`, where the
/// type implements [`Backend`](crate::contract::Backend). The calling crate must depend on tokio
/// with the feature `macros`.
#[macro_export]
macro_rules! registry_contract {
    ($($module:ident: $Backend:ty),* $(,)?) => {$(
        $crate::__registry_contract! { $module: $Backend =>
            a_registration_is_returned_complete
            an_unknown_name_has_no_instances
            the_owner_replaces_its_registration
            a_registration_without_an_owner_is_replaced_by_anyone
            a_stranger_changes_no_registration
            an_owner_without_heartbeats_is_replaced_before_its_lease_expires
            several_endpoints_of_one_name_are_its_instances
            endpoints_are_distinguished_by_their_text
            an_invalid_name_is_refused_by_every_operation
            port_zero_is_refused
            unregistering_removes_an_agent_and_is_idempotent
            unregistering_without_an_endpoint_needs_a_single_instance
            the_registry_sets_the_times
            a_predecessor_does_not_unregister_its_successor
            lists_are_ordered
            a_list_can_be_read_page_by_page
            a_query_returns_its_matches
            an_expired_registration_is_never_returned
            heartbeats_keep_a_registration_alive
            a_heartbeat_of_an_unknown_agent_fails_until_it_registers
            a_heartbeat_without_an_endpoint_needs_a_single_instance
            a_heartbeat_of_a_predecessor_reports_its_replacement
            an_instance_id_without_an_endpoint_matches_no_other_instance
            a_heartbeat_updates_the_last_heartbeat
            registering_returns_the_lease
            a_second_endpoint_is_refused_if_duplicates_are
            a_name_is_free_once_its_owner_has_expired
            the_limit_of_instances_is_enforced
            the_limit_of_registrations_is_enforced
            registrations_that_are_too_large_or_too_deep_are_refused
            a_watch_begins_with_a_snapshot
            a_watch_reports_changes_in_order
            a_watch_of_one_name_reports_no_other
            a_watch_of_an_invalid_name_fails
            a_watch_reports_expiries
            heartbeats_and_repeated_registrations_are_not_events
            watches_are_independent
            a_slow_watch_catches_up_through_a_resync
            concurrent_registrations_all_succeed
        }
    )*};
}

#[doc(hidden)]
#[macro_export]
macro_rules! __registry_contract {
    ($module:ident: $Backend:ty => $($test:ident)*) => {
        mod $module {
            #[allow(unused_imports, reason = "the type may be in scope at the call, or given by its path")]
            use super::*;

            $(
                #[tokio::test]
                async fn $test() {
                    $crate::contract::$test::<$Backend>().await;
                }
            )*
        }
    };
}
