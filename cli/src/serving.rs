//! Serving from the start of a server until a signal stops it.

use agentwire::Endpoint;

use crate::{admin::RunningAdmin, output, signals::StopSignals};

/// Announces the endpoints of a server and waits for a signal. Then shuts the server down with
/// `stop`, or with `abort` if another signal is received.
pub(crate) async fn until_stopped(
    mut signals: StopSignals,
    admin: Option<RunningAdmin>,
    endpoints: &[Endpoint],
    stop: impl Future<Output = ()>,
    abort: impl Future<Output = ()>,
) {
    if let Some(admin) = &admin {
        admin.serving(|| true);
    }
    for endpoint in endpoints {
        tracing::info!(%endpoint, "listening");
        output::announce(format_args!("listening on {endpoint}"));
    }
    signals.next().await;
    if let Some(admin) = &admin {
        admin.stopping();
    }
    signals.stop(stop, abort).await;
}
