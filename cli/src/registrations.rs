//! Reports the state of registrations that the program keeps.

use std::{future::pending, time::Duration};

use agentwire::{
    registry::{Registration, RegistrationHandle},
    transport::internal::Chain,
};
use futures_util::future::join_all;
use tokio::time::timeout;

use crate::{
    exit::{CliError, Exit},
    output,
};

/// Prints a line when an agent has been registered, and a warning if the registration takes a long
/// time.
///
/// Returns only if an agent cannot be registered.
pub(crate) async fn report_registrations(handles: &[RegistrationHandle]) -> CliError {
    for handle in handles {
        let name = &handle.registration().name;
        if timeout(WARN_AFTER, handle.registered()).await.is_err() {
            let reason = handle.last_error().map(|error| Chain(&error).to_string());
            let reason = reason.unwrap_or_else(|| "no answer from the registry".to_owned());
            output::warn(format_args!(
                "{name} is not registered yet; retrying: {reason}"
            ));
        }
        if let Err(error) = handle.registered().await {
            return CliError::from_error(Exit::of(&error), &error);
        }
        let endpoint = &handle.registration().endpoint;
        output::announce(format_args!("registered {name} at {endpoint}"));
    }
    join_all(handles.iter().map(report_losses)).await;
    pending().await
}

/// Prints a warning whenever the agent has fallen out of the registry, and when it is back.
async fn report_losses(handle: &RegistrationHandle) {
    let Registration { name, endpoint, .. } = handle.registration();
    loop {
        let reason = handle.lost().await;
        if handle.is_ended() {
            return;
        }
        let reason = reason.map_or_else(
            || "its lease expired".to_owned(),
            |error| Chain(&error).to_string(),
        );
        output::warn(format_args!(
            "{name} at {endpoint} is no longer registered; trying again: {reason}"
        ));
        if handle.registered().await.is_err() {
            return;
        }
        output::warn(format_args!("{name} at {endpoint} is registered again"));
    }
}

/// The time to wait for a registration before a warning is printed.
const WARN_AFTER: Duration = Duration::from_secs(2);
