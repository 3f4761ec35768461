//! Keeps the certificates of a server up to date.

use std::time::Duration;

use agentwire_transport::{TlsServer, internal::Chain};
use tokio::{task::spawn_blocking, time::sleep};

use super::shutdown::Shutdown;

/// Reads the files of the certificates again when they change, until the server shuts down. Passes
/// to `on_change` each change, or why the changed files cannot be used.
///
/// Files are compared by their contents, because links to other files and clocks with a low
/// resolution hide changes from the time of the last modification.
pub(super) async fn watch(
    tls: TlsServer,
    shutdown: Shutdown,
    on_change: impl Fn(Result<(), String>) + Send,
) {
    tokio::select! {
        biased;
        () = shutdown.started() => {}
        () = watch_forever(tls, on_change) => {}
    }
}

async fn watch_forever(tls: TlsServer, on_change: impl Fn(Result<(), String>) + Send) {
    loop {
        sleep(INTERVAL).await;
        let checked = tls.clone();
        match spawn_blocking(move || checked.reload_if_changed()).await {
            Ok(Ok(false)) => {}
            Ok(Ok(true)) => {
                tracing::info!("certificates reloaded; new connections use them");
                on_change(Ok(()));
            }
            Ok(Err(error)) => {
                let error = Chain(&error).to_string();
                tracing::warn!(
                    error,
                    "certificates changed, but cannot be used; keeping the old ones"
                );
                on_change(Err(error));
            }
            Err(_) => return,
        }
    }
}

/// The interval of the checks. Tools that renew certificates do so days before the old ones expire.
const INTERVAL: Duration = Duration::from_secs(2);
