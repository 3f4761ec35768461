//! Keeps the certificates of a server up to date.

use std::time::Duration;

use agentwire_transport::{Error as TransportError, TlsServer, internal::Chain};
use tokio::{task::spawn_blocking, time::sleep};

use super::shutdown::Shutdown;

/// Reads the files of the certificates again when they change, until the server shuts down.
///
/// Files are compared by their contents, because links to other files and clocks with a low
/// resolution hide changes from the time of the last modification.
pub(super) async fn watch(tls: TlsServer, shutdown: Shutdown) {
    tokio::select! {
        biased;
        () = shutdown.started() => {}
        () = watch_forever(tls) => {}
    }
}

async fn watch_forever(tls: TlsServer) {
    loop {
        sleep(INTERVAL).await;
        let checked = tls.clone();
        let Ok(result) = spawn_blocking(move || checked.reload_if_changed()).await else {
            return;
        };
        log(&result);
    }
}

fn log(result: &Result<bool, TransportError>) {
    match result {
        Ok(false) => {}
        Ok(true) => tracing::info!("certificates reloaded; new connections use them"),
        Err(error) => {
            let error = Chain(error);
            tracing::warn!(%error, "certificates changed, but cannot be used; keeping the old ones");
        }
    }
}

/// The interval of the checks. Tools that renew certificates do so days before the old ones expire.
const INTERVAL: Duration = Duration::from_secs(2);
