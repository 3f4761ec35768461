//! Records changes of the server itself: [`Changes`].

use std::sync::Arc;

#[cfg(feature = "tls")]
use crate::auth::AuditKind;
use futures_util::FutureExt;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio_util::task::TaskTracker;

use crate::{
    auth::{AuditEvent, DynAudit, Security},
    server::shutdown::Shutdown,
};

/// The changes that are to be recorded. A task records them, so that the threads that notice
/// changes never wait for the sink.
#[derive(Debug, Clone, Default)]
pub(crate) struct Changes(Option<Sender<AuditEvent>>);

impl Changes {
    /// Starts the task, if the server has a sink.
    pub(in crate::server) fn start(
        security: &Security,
        shutdown: &Shutdown,
        tasks: &TaskTracker,
    ) -> Self {
        let Some(audit) = security.audit.clone() else {
            return Self(None);
        };
        let (sender, receiver) = channel(MAX_WAITING);
        let changes = Self(Some(sender));
        if let Some(file) = &security.file {
            file.record_changes(changes.clone());
        }
        tasks.spawn(run(receiver, audit, shutdown.clone()));
        changes
    }

    /// Queues an event about changed certificates, or about the reason why they cannot be used.
    #[cfg(feature = "tls")]
    pub(crate) fn certificates(&self, result: Result<(), String>) {
        let event = AuditEvent::new(AuditKind::CertificateChange, result.is_ok());
        self.send(match result {
            Ok(()) => event,
            Err(error) => event.with_reason(error),
        });
    }

    /// Queues an event. Returns false if the server has stopped.
    pub(crate) fn send(&self, event: AuditEvent) -> bool {
        let Some(sender) = &self.0 else {
            return false;
        };
        if sender.is_closed() {
            return false;
        }
        if let Err(error) = sender.try_send(event) {
            let event = error.into_inner();
            tracing::warn!(event = %event.kind, reason = event.reason, "change not recorded");
        }
        true
    }
}

async fn run(mut changes: Receiver<AuditEvent>, audit: Arc<dyn DynAudit>, shutdown: Shutdown) {
    let record = async {
        while let Some(event) = changes.recv().await {
            warn_if_lost(audit.record(event).await.is_ok());
        }
    };
    tokio::select! {
        biased;
        () = shutdown.started() => {}
        () = record => return,
    }
    changes.close();
    while let Ok(event) = changes.try_recv() {
        warn_if_lost(matches!(audit.record(event).now_or_never(), Some(Ok(()))));
    }
}

fn warn_if_lost(is_recorded: bool) {
    if !is_recorded {
        tracing::warn!("a change of the policy or of the certificates is not recorded");
    }
}

/// The maximum number of changes that wait for the sink. Files are checked for changes once in one
/// or two seconds.
const MAX_WAITING: usize = 64;
