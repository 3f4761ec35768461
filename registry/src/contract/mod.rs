//! What every backend must do, as a suite of tests to run against it.
//!
//! A backend is whatever can be started with a [`RegistryConfig`](crate::RegistryConfig) and gives out handles of one registry. The macro
//! [`registry_contract!`](crate::registry_contract) makes a test of each function here:
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

mod backend;
mod entering;
mod finding;
mod leases;
mod limits;
mod picture;
mod watching;

pub use self::{backend::Backend, entering::*, finding::*, leases::*, limits::*, watching::*};

/// Makes a module of tests for each backend, which are given as `name: Type`, with the type implementing
/// [`Backend`](crate::contract::Backend). The crate that uses it needs tokio with its macros.
#[macro_export]
macro_rules! registry_contract {
    ($($module:ident: $Backend:ty),* $(,)?) => {$(
        $crate::__registry_contract! { $module: $Backend =>
            what_is_registered_is_found_with_all_that_it_said
            an_unknown_name_is_found_nowhere_and_is_no_error
            the_same_name_and_endpoint_replaces
            several_endpoints_of_one_name_are_instances_of_it
            endpoints_are_told_apart_by_their_text
            a_name_that_is_none_is_refused_everywhere
            a_port_that_cannot_be_called_is_refused
            unregistering_takes_out_and_may_be_repeated
            unregistering_without_an_endpoint_needs_a_single_instance
            the_registry_says_when_somebody_registered
            a_predecessor_does_not_take_out_its_successor
            lists_are_ordered_and_stable
            a_list_may_be_read_in_parts
            a_query_finds_what_it_says
            nothing_is_given_out_once_its_lease_is_over
            heartbeats_keep_a_registration_alive
            a_heartbeat_of_the_unknown_is_an_error_and_registering_mends_it
            a_heartbeat_without_an_endpoint_needs_a_single_instance
            a_predecessor_is_told_that_it_was_replaced
            an_instance_that_names_no_endpoint_is_replaced_by_nobody_elsewhere
            a_heartbeat_moves_the_last_heartbeat
            whoever_registers_is_told_the_lease
            a_second_endpoint_is_refused_where_duplicates_are
            a_name_is_free_again_when_its_owner_is_gone
            there_are_no_more_instances_than_allowed
            there_are_no_more_registrations_than_allowed
            what_is_too_large_or_too_deep_is_refused
            a_watch_begins_with_what_is_there
            a_watch_tells_what_happens_in_order
            a_watch_of_one_name_tells_of_no_other
            a_watch_of_no_name_ends_in_an_error
            a_watch_tells_what_expires
            a_heartbeat_and_the_same_registration_again_are_no_events
            watches_do_not_disturb_each_other
            a_slow_reader_ends_up_with_the_present
            many_who_register_at_once_all_get_in
        }
    )*};
}

#[doc(hidden)]
#[macro_export]
macro_rules! __registry_contract {
    ($module:ident: $Backend:ty => $($test:ident)*) => {
        mod $module {
            #[allow(unused_imports, reason = "a type may stand where the macro is, or be given by its path")]
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
