use std::{convert::Infallible, sync::Arc, time::Duration};

use agentwire_transport::internal::Backoff;
use redis::{AsyncConnectionConfig, Client, PushInfo, PushKind, Value, aio::MultiplexedConnection};
use tokio::{
    select,
    sync::{Notify, broadcast, watch},
    time::{Instant, sleep, timeout},
};

use super::{
    FIRST_WAIT, LONGEST_WAIT,
    change::Change,
    fault::Fault,
    refusals::Refusals,
    status::{Status, refused, subscribed, unsubscribed},
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
    /// Told when this Redis turns out to follow another one.
    pub(super) moved: Arc<Notify>,
}

/// How long a connection may say nothing before it is asked whether it is alive.
const SILENCE: Duration = Duration::from_secs(10);

impl Listener {
    /// Does not end by itself.
    pub(super) async fn listen(self) {
        let registry = &*self.registry;
        let (mut backoff, mut refusals) =
            (Backoff::new(FIRST_WAIT, LONGEST_WAIT), Refusals::default());
        loop {
            let lost = Arc::new(Notify::new());
            match self.subscribe(&lost).await {
                Ok(connection) => {
                    refusals = Refusals::default();
                    let since = Instant::now();
                    self.until_lost(connection, &lost).await;
                    unsubscribed(&self.status);
                    tracing::warn!(registry, "lost the connection that changes come over");
                    // One that is lost again and again is not asked for again and again.
                    if since.elapsed() >= SILENCE {
                        backoff.reset();
                    }
                }
                Err(fault) => {
                    tracing::debug!(registry, error = %fault, "cannot listen for changes");
                    match fault.is_refusal() {
                        true if refusals.is_enough(fault.is_forbidden()) => self.refused(fault),
                        true => {}
                        false => refusals = Refusals::default(),
                    }
                }
            }
            sleep(backoff.next_delay()).await;
        }
    }

    fn refused(&self, fault: Fault) {
        if self.status.borrow().refusal.is_none() {
            let registry = &*self.registry;
            tracing::warn!(registry, error = %fault, "not allowed to listen for changes; watches end");
        }
        refused(&self.status, fault);
    }

    /// Finds out whether changes may be published and listened to here.
    ///
    /// # Errors
    ///
    /// Why not, or why it cannot be found out.
    pub(super) async fn check_rights(&self) -> Result<(), Fault> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(None)
            .set_response_timeout(None);
        self.within_limit(async {
            let made = self
                .client
                .get_multiplexed_async_connection_with_config(&config);
            let mut connection = made.await?;
            connection.subscribe(&*self.channel).await?;
            let mut publish = redis::cmd("PUBLISH");
            publish.arg(&*self.channel).arg(TEST);
            publish.exec_async(&mut connection).await
        })
        .await
    }

    async fn within_limit<T>(
        &self,
        work: impl Future<Output = redis::RedisResult<T>>,
    ) -> Result<T, Fault> {
        match timeout(self.timeout, work).await {
            Ok(result) => result.map_err(Fault::from),
            Err(_) => Err(Fault::TimedOut(self.timeout)),
        }
    }

    async fn subscribe(&self, lost: &Arc<Notify>) -> Result<MultiplexedConnection, Fault> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(None)
            .set_response_timeout(None)
            .set_push_sender(self.receiver(Arc::clone(lost)));
        self.within_limit(async {
            let client = &self.client;
            let made = client.get_multiplexed_async_connection_with_config(&config);
            let mut connection = made.await?;
            connection.subscribe(&*self.channel).await?;
            Ok(connection)
        })
        .await
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
                PushKind::Message if is_test(&push.data) => {}
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
            select! {
                // Both are remembered, and a ping that is dropped does no harm.
                () = lost.notified() => return,
                () = self.moved.notified() => return,
                () = sleep(SILENCE) => {}
            }
            let ping = redis::cmd("PING");
            let ping = ping.exec_async(&mut connection);
            if !matches!(timeout(self.timeout, ping).await, Ok(Ok(()))) {
                return;
            }
        }
    }
}

/// What is published to find out whether it may be.
const TEST: &str = "";

fn is_test(data: &[Value]) -> bool {
    matches!(data, [_, Value::BulkString(message)] if *message == TEST.as_bytes())
}

/// Reads the channel and what was published there.
fn read(data: &[Value]) -> Option<Change> {
    match data {
        [_, Value::BulkString(message)] => Change::read(message),
        _ => None,
    }
}
