//! The task that receives published changes: [`Listener`].

use std::{convert::Infallible, future::Future, sync::Arc, time::Duration};

use agentwire_transport::internal::LogLimit;
use redis::{AsyncConnectionConfig, Client, PushInfo, PushKind, Value, aio::MultiplexedConnection};
use tokio::{
    select,
    sync::{Notify, broadcast, watch},
    time::{Instant, sleep, timeout},
};

use super::{
    change::Change,
    fault::Fault,
    heard::Heard,
    retry::{self, RefusalCount},
    status::{Status, record_disconnect, record_refusal, record_subscription},
};

/// A listener that receives changes and passes them to the watches. The listener has its own
/// connection, and replaces a lost connection.
#[derive(Debug, Clone)]
pub(super) struct Listener {
    /// The address of the registry, for logs.
    pub(super) registry: String,
    pub(super) client: Client,
    pub(super) channel: String,
    pub(super) timeout: Duration,
    pub(super) changes: broadcast::Sender<Change>,
    pub(super) status: Arc<watch::Sender<Status>>,
    /// Notified when the Redis server is found to have become a replica.
    pub(super) demoted: Arc<Notify>,
    /// The position of the last change that was received.
    pub(super) heard: Arc<Heard>,
}

impl Listener {
    /// Listens until the task is aborted.
    pub(super) async fn run(self) {
        let registry = &*self.registry;
        let (mut backoff, mut refusals) = (retry::backoff(), RefusalCount::default());
        loop {
            let lost = Arc::new(Notify::new());
            match self.subscribe(&lost).await {
                Ok(connection) => {
                    refusals.reset();
                    let since = Instant::now();
                    self.until_lost(connection, &lost).await;
                    self.heard.forget();
                    record_disconnect(&self.status);
                    tracing::warn!(registry, "subscription to changes lost; reconnecting");
                    // If connections are lost repeatedly, the backoff continues to grow.
                    if since.elapsed() >= PING_INTERVAL {
                        backoff.reset();
                    }
                }
                Err(fault) => {
                    tracing::debug!(registry, error = %fault, "cannot subscribe to changes; retrying");
                    if !fault.is_refusal() {
                        refusals.reset();
                    } else if refusals.should_give_up(fault.is_permanent()) {
                        self.refuse(fault);
                    }
                }
            }
            sleep(backoff.next_delay()).await;
        }
    }

    /// Checks that Redis permits publishing and subscribing to changes.
    ///
    /// # Errors
    ///
    /// Returns a [`Fault`] if Redis refuses a command or cannot be reached.
    pub(super) async fn check_permissions(&self) -> Result<(), Fault> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(None)
            .set_response_timeout(None);
        self.within_timeout(async {
            let connection = self
                .client
                .get_multiplexed_async_connection_with_config(&config);
            let mut connection = connection.await?;
            connection.subscribe(&*self.channel).await?;
            let mut publish = redis::cmd("PUBLISH");
            publish.arg(&*self.channel).arg(TEST_MESSAGE);
            publish.exec_async(&mut connection).await
        })
        .await
    }

    async fn subscribe(&self, lost: &Arc<Notify>) -> Result<MultiplexedConnection, Fault> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(None)
            .set_response_timeout(None)
            .set_push_sender(self.push_handler(Arc::clone(lost)));
        self.within_timeout(async {
            let connection = self
                .client
                .get_multiplexed_async_connection_with_config(&config);
            let mut connection = connection.await?;
            connection.subscribe(&*self.channel).await?;
            Ok(connection)
        })
        .await
    }

    /// Returns the handler of push messages. The handler runs in the task that reads from the
    /// connection. The handler never blocks, because a full buffer drops the oldest changes.
    fn push_handler(
        &self,
        lost: Arc<Notify>,
    ) -> impl Fn(PushInfo) -> Result<(), Infallible> + Send + Sync + 'static {
        let (changes, status) = (self.changes.clone(), Arc::clone(&self.status));
        let (heard, registry) = (Arc::clone(&self.heard), self.registry.clone());
        move |push| {
            match push.kind {
                PushKind::Subscribe => {
                    heard.begin();
                    record_subscription(&status);
                }
                PushKind::Disconnection => lost.notify_one(),
                PushKind::Message if is_test_message(&push.data) => {}
                PushKind::Message => match decode(&push.data) {
                    Some(change) => {
                        heard.record(&change.position);
                        // Sending fails only if there is no watch.
                        let _ = changes.send(change);
                    }
                    None => {
                        if let Some(count) = MALFORMED.record(Instant::now()) {
                            tracing::warn!(registry, count, "ignoring malformed change message");
                        }
                    }
                },
                _ => {}
            }
            Ok(())
        }
    }

    async fn until_lost(&self, mut connection: MultiplexedConnection, lost: &Notify) {
        loop {
            select! {
                // `Notify` stores a notification until it is awaited, so cancelling a branch loses
                // no notification.
                () = lost.notified() => return,
                () = self.demoted.notified() => return,
                () = sleep(PING_INTERVAL) => {}
            }
            let ping = redis::cmd("PING");
            let ping = ping.exec_async(&mut connection);
            if !matches!(timeout(self.timeout, ping).await, Ok(Ok(()))) {
                return;
            }
        }
    }

    fn refuse(&self, fault: Fault) {
        if self.status.borrow().refusal.is_none() {
            let registry = &*self.registry;
            tracing::warn!(registry, error = %fault, "subscription to changes refused; watches end");
        }
        record_refusal(&self.status, fault);
    }

    async fn within_timeout<T>(
        &self,
        work: impl Future<Output = redis::RedisResult<T>>,
    ) -> Result<T, Fault> {
        match timeout(self.timeout, work).await {
            Ok(result) => result.map_err(Fault::from),
            Err(_) => Err(Fault::TimedOut(self.timeout)),
        }
    }
}

fn is_test_message(data: &[Value]) -> bool {
    matches!(data, [_, Value::BulkString(message)] if *message == TEST_MESSAGE.as_bytes())
}

/// Decodes a push message, which consists of the channel and the published message.
fn decode(data: &[Value]) -> Option<Change> {
    match data {
        [_, Value::BulkString(message)] => Change::decode(message),
        _ => None,
    }
}

/// The interval at which the connection is pinged to detect a silent loss.
const PING_INTERVAL: Duration = Duration::from_secs(10);

/// The message that is published to check the permission to publish.
const TEST_MESSAGE: &str = "";

static MALFORMED: LogLimit = LogLimit::new();
