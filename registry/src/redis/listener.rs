use std::{convert::Infallible, sync::Arc, time::Duration};

use redis::{AsyncConnectionConfig, Client, PushInfo, PushKind, Value, aio::MultiplexedConnection};
use tokio::{
    sync::{Notify, broadcast, watch},
    time::{sleep, timeout},
};

use super::{
    backoff::Backoff,
    change::Change,
    fault::Fault,
    status::{Status, subscribed},
};

/// Hears what happens and passes it on, over a connection of its own that it makes again when it is lost.
#[derive(Debug, Clone)]
pub(super) struct Listener {
    /// For people.
    pub(super) registry: String,
    pub(super) client: Client,
    pub(super) channel: String,
    pub(super) timeout: Duration,
    pub(super) changes: broadcast::Sender<Change>,
    pub(super) status: Arc<watch::Sender<Status>>,
}

/// How long a connection may say nothing before it is asked whether it is alive.
const SILENCE: Duration = Duration::from_secs(10);

impl Listener {
    /// Does not end by itself.
    pub(super) async fn listen(self) {
        let registry = &*self.registry;
        let mut backoff = Backoff::new();
        loop {
            let lost = Arc::new(Notify::new());
            match self.subscribe(&lost).await {
                Ok(connection) => {
                    backoff = Backoff::new();
                    self.until_lost(connection, &lost).await;
                    tracing::warn!(registry, "lost the connection that changes come over");
                }
                Err(error) => {
                    tracing::debug!(registry, %error, "cannot listen for changes");
                }
            }
            sleep(backoff.wait()).await;
        }
    }

    async fn subscribe(&self, lost: &Arc<Notify>) -> Result<MultiplexedConnection, Fault> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(None)
            .set_response_timeout(None)
            .set_push_sender(self.receiver(Arc::clone(lost)));
        let work = async {
            let client = &self.client;
            let made = client.get_multiplexed_async_connection_with_config(&config);
            let mut connection = made.await?;
            connection.subscribe(&*self.channel).await?;
            Ok(connection)
        };
        match timeout(self.timeout, work).await {
            Ok(result) => result.map_err(Fault::Redis),
            Err(_) => Err(Fault::TimedOut(self.timeout)),
        }
    }

    /// Takes what comes in, where it is read: into a buffer that drops the oldest, so that nobody holds up the
    /// connection.
    fn receiver(
        &self,
        lost: Arc<Notify>,
    ) -> impl Fn(PushInfo) -> Result<(), Infallible> + Send + Sync + 'static {
        let (changes, status) = (self.changes.clone(), Arc::clone(&self.status));
        move |push| {
            match push.kind {
                PushKind::Subscribe => subscribed(&status),
                PushKind::Disconnection => lost.notify_one(),
                PushKind::Message => match read(&push.data) {
                    Some(change) => {
                        // Nobody may be there to hear it.
                        let _ = changes.send(change);
                    }
                    None => tracing::warn!("somebody published what is no change"),
                },
                _ => {}
            }
            Ok(())
        }
    }

    async fn until_lost(&self, mut connection: MultiplexedConnection, lost: &Notify) {
        loop {
            // Whether it is lost is remembered, and a ping that is dropped does no harm.
            if timeout(SILENCE, lost.notified()).await.is_ok() {
                return;
            }
            let ping = redis::cmd("PING");
            let ping = ping.exec_async(&mut connection);
            if !matches!(timeout(self.timeout, ping).await, Ok(Ok(()))) {
                return;
            }
        }
    }
}

/// Reads the channel and what was published there.
fn read(data: &[Value]) -> Option<Change> {
    match data {
        [_, Value::BulkString(message)] => Change::read(message),
        _ => None,
    }
}
