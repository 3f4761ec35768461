use std::{
    io,
    sync::{Arc, Weak},
    time::Duration,
};

use agentwire_transport::{BoxFuture, Connection, Connector, Endpoint, Error};
use tokio::time::{Instant, timeout};

use super::{
    health::{Record, Since},
    member::Member,
    shared::Shared,
};

/// Connects to one instance, for so long and no longer, and tells how it went, even if nobody waits for it to the end.
#[derive(Debug)]
pub(super) struct InstanceConnector {
    endpoint: Endpoint,
    member: u64,
    record: Arc<Record>,
    limit: Duration,
    shared: Weak<Shared>,
}

impl InstanceConnector {
    pub(super) fn new(member: &Member, record: Arc<Record>, shared: &Arc<Shared>) -> Self {
        Self {
            endpoint: member.endpoint.clone(),
            member: member.id,
            record,
            limit: shared.connect_timeout,
            shared: Arc::downgrade(shared),
        }
    }

    async fn connect_in_time(&self) -> Result<Connection, Error> {
        match timeout(self.limit, self.endpoint.connect()).await {
            Ok(connected) => connected,
            Err(_) => Err(timed_out(&self.endpoint)),
        }
    }
}

impl Connector for InstanceConnector {
    fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    fn connect(&self) -> BoxFuture<'_, Result<Connection, Error>> {
        Box::pin(async {
            let attempt = Attempt {
                to: self,
                since: self.record.now(),
                began: Instant::now(),
                is_over: false,
            };
            let connected = self.connect_in_time().await;
            attempt.end(connected.is_ok());
            connected
        })
    }
}

/// One attempt to connect.
struct Attempt<'a> {
    to: &'a InstanceConnector,
    since: Since,
    began: Instant,
    is_over: bool,
}

impl Attempt<'_> {
    fn end(mut self, is_connected: bool) {
        self.is_over = true;
        if let Some(shared) = self.to.shared.upgrade() {
            match is_connected {
                true => shared.reached(self.to.member),
                false => shared.failed(self.to.member, self.since),
            }
        }
    }
}

/// Whoever waited is gone: its time was up, say.
impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        if let Some(shared) = self.to.shared.upgrade() {
            match self.began.elapsed() >= IN_VAIN {
                true => shared.failed(self.to.member, self.since),
                false => shared.give_up(self.to.member, self.since),
            }
        }
    }
}

/// Connecting took longer than it may.
pub(super) fn timed_out(endpoint: &Endpoint) -> Error {
    Error::Connect {
        endpoint: endpoint.clone(),
        source: io::ErrorKind::TimedOut.into(),
    }
}

/// Who has waited for so long to be connected has waited in vain: most connections are made in much less.
const IN_VAIN: Duration = Duration::from_millis(100);
