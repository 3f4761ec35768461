use std::{
    io,
    sync::{Arc, Weak},
    time::Duration,
};

use agentwire_transport::{BoxFuture, Connection, Connector, Endpoint, Error};
use tokio::time::timeout;

use super::{member::Member, shared::Shared};

/// Connects to one instance, for so long and no longer, and tells how it went: that is what its health is judged by.
#[derive(Debug)]
pub(super) struct InstanceConnector {
    endpoint: Endpoint,
    member: u64,
    limit: Duration,
    shared: Weak<Shared>,
}

impl InstanceConnector {
    pub(super) fn new(member: &Member, shared: &Arc<Shared>) -> Self {
        Self {
            endpoint: member.endpoint.clone(),
            member: member.id,
            limit: shared.connect_timeout,
            shared: Arc::downgrade(shared),
        }
    }

    async fn connect_in_time(&self) -> Result<Connection, Error> {
        match timeout(self.limit, self.endpoint.connect()).await {
            Ok(connected) => connected,
            Err(_) => Err(Error::Connect {
                endpoint: self.endpoint.clone(),
                source: io::ErrorKind::TimedOut.into(),
            }),
        }
    }
}

impl Connector for InstanceConnector {
    fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    fn connect(&self) -> BoxFuture<'_, Result<Connection, Error>> {
        Box::pin(async {
            let connected = self.connect_in_time().await;
            if let Some(shared) = self.shared.upgrade() {
                match &connected {
                    Ok(_) => shared.proved(self.member),
                    Err(_) => shared.failed(self.member),
                }
            }
            connected
        })
    }
}
