//! The shared connection for commands: [`Connection`].

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

/// A connection that all operations share. A lost connection is replaced.
pub(super) struct Connection {
    client: Client,
    timeout: Duration,
    current: Mutex<SharedConnection>,
    /// Notified when the Redis server is found to have become a replica.
    demoted: Arc<Notify>,
}

/// A connection that the first operation opens and later operations reuse.
type SharedConnection = Arc<OnceCell<MultiplexedConnection>>;

impl Connection {
    /// Creates a connection that is opened by the first operation.
    pub(super) fn new(address: &Address, timeout: Duration) -> redis::RedisResult<Self> {
        Ok(Self {
            client: address.client()?,
            timeout,
            current: Mutex::default(),
            demoted: Arc::default(),
        })
    }

    /// Runs a script. If a reused connection has been lost, runs the script again on a new
    /// connection, so the script must be idempotent.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, Redis may still run the script.
    pub(super) async fn run<T: FromRedisValue>(
        &self,
        script: &ScriptInvocation<'_>,
    ) -> Result<T, Fault> {
        let deadline = Instant::now() + self.timeout;
        let connection = self.current();
        // An idle connection may have been lost without notice, which does not mean that Redis is
        // down.
        let was_connected = connection.initialized();
        let result = self.attempt(&connection, script, deadline).await;
        match result {
            Err(Fault::Redis(_)) if was_connected && !self.is_current(&connection) => {
                self.attempt(&self.current(), script, deadline).await
            }
            result => result,
        }
    }

    /// Returns the notification that the Redis server has become a replica. All connections to a
    /// replica must be replaced.
    pub(super) fn demoted(&self) -> Arc<Notify> {
        Arc::clone(&self.demoted)
    }

    async fn attempt<T: FromRedisValue>(
        &self,
        connection: &SharedConnection,
        script: &ScriptInvocation<'_>,
        deadline: Instant,
    ) -> Result<T, Fault> {
        let result = self
            .until(deadline, async {
                let connection = connection.get_or_try_init(|| self.connect()).await?;
                script.invoke_async(&mut connection.clone()).await
            })
            .await;
        if let Err(fault) = &result {
            if fault.ends_connection() {
                self.discard(connection);
            }
            if fault.is_demotion() {
                self.demoted.notify_one();
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
        // The deadline of the operation applies, so no other timeouts are needed.
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(None)
            .set_response_timeout(None)
            .set_concurrency_limit(MAX_IN_FLIGHT);
        let connecting = self
            .client
            .get_multiplexed_async_connection_with_config(&config);
        let mut connection = connecting.await?;
        // Some servers refuse a script without naming the reason, and a `PING` with it: a Redis
        // that requires a password refuses long commands as a protocol error.
        redis::cmd("PING").exec_async(&mut connection).await?;
        Ok(connection)
    }

    /// Makes the next operation connect again, and the subscription, too.
    pub(super) fn reconnect(&self) {
        *self.current.lock() = SharedConnection::default();
        self.demoted.notify_one();
    }

    fn current(&self) -> SharedConnection {
        Arc::clone(&self.current.lock())
    }

    fn is_current(&self, connection: &SharedConnection) -> bool {
        Arc::ptr_eq(&self.current.lock(), connection)
    }

    /// Makes the next operation open a new connection, unless the connection has already been
    /// replaced.
    fn discard(&self, connection: &SharedConnection) {
        let mut current = self.current.lock();
        if Arc::ptr_eq(&current, connection) {
            *current = SharedConnection::default();
        }
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").finish_non_exhaustive()
    }
}

/// The maximum number of commands in flight. Further commands are queued.
const MAX_IN_FLIGHT: usize = 256;
