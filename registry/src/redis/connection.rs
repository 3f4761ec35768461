use std::{fmt, future::Future, sync::Arc, time::Duration};

use agentwire_transport::internal::Mutex;
use redis::{
    AsyncConnectionConfig, Client, FromRedisValue, ScriptInvocation, aio::MultiplexedConnection,
};
use tokio::{
    sync::{Notify, OnceCell},
    time::{Instant, timeout_at},
};

use super::{address::Address, fault::Fault};

/// A connection that all share, and that is made again when it is lost.
pub(super) struct Connection {
    client: Client,
    timeout: Duration,
    current: Mutex<Slot>,
    /// Told when this Redis turns out to follow another one.
    moved: Arc<Notify>,
}

/// One connection, made by whoever needs it first.
type Slot = Arc<OnceCell<MultiplexedConnection>>;

/// How many commands wait for their answer at a time; others wait for their turn.
const MAX_IN_FLIGHT: usize = 256;

impl Connection {
    /// Does not connect yet.
    pub(super) fn new(address: &Address, timeout: Duration) -> redis::RedisResult<Self> {
        Ok(Self {
            client: address.client()?,
            timeout,
            current: Mutex::default(),
            moved: Arc::default(),
        })
    }

    /// Runs a script; what it may do twice is done twice if a connection is lost meanwhile.
    ///
    /// # Cancel safety
    ///
    /// The script may have run or not.
    pub(super) async fn run<T: FromRedisValue>(
        &self,
        script: &ScriptInvocation<'_>,
    ) -> Result<T, Fault> {
        let deadline = Instant::now() + self.timeout;
        let slot = self.slot();
        // One that has been idle may have died unnoticed, which says nothing of Redis.
        let worn = slot.initialized();
        let result = self.attempt(&slot, script, deadline).await;
        match result {
            Err(Fault::Redis(_)) if worn && !self.is_current(&slot) => {
                self.attempt(&self.slot(), script, deadline).await
            }
            result => result,
        }
    }

    /// What is told when this Redis turns out to follow another one, so that other connections are made again, too.
    pub(super) fn moved(&self) -> Arc<Notify> {
        Arc::clone(&self.moved)
    }

    async fn attempt<T: FromRedisValue>(
        &self,
        slot: &Slot,
        script: &ScriptInvocation<'_>,
        deadline: Instant,
    ) -> Result<T, Fault> {
        let result = self
            .until(deadline, async {
                let connection = slot.get_or_try_init(|| self.connect()).await?;
                script.invoke_async(&mut connection.clone()).await
            })
            .await;
        if let Err(fault) = &result {
            if fault.ends_connection() {
                self.discard(slot);
            }
            if fault.is_demotion() {
                self.moved.notify_one();
            }
        }
        result
    }

    async fn until<T>(
        &self,
        deadline: Instant,
        work: impl Future<Output = redis::RedisResult<T>>,
    ) -> Result<T, Fault> {
        match timeout_at(deadline, work).await {
            Ok(result) => result.map_err(Fault::from),
            Err(_) => Err(Fault::TimedOut(self.timeout)),
        }
    }

    async fn connect(&self) -> redis::RedisResult<MultiplexedConnection> {
        // The limit is that of the whole operation.
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(None)
            .set_response_timeout(None)
            .set_concurrency_limit(MAX_IN_FLIGHT);
        self.client
            .get_multiplexed_async_connection_with_config(&config)
            .await
    }

    fn slot(&self) -> Slot {
        Arc::clone(&self.locked())
    }

    fn is_current(&self, slot: &Slot) -> bool {
        Arc::ptr_eq(&self.locked(), slot)
    }

    /// Lets the next operation connect again, unless somebody has seen to it.
    fn discard(&self, slot: &Slot) {
        let mut current = self.locked();
        if Arc::ptr_eq(&current, slot) {
            *current = Slot::default();
        }
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, Slot> {
        self.current.lock()
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").finish_non_exhaustive()
    }
}
