//! Outcomes of requests that several servers share: [`RedisOutcomes`].

use std::{fmt, sync::LazyLock, time::Duration};

use redis::{Script, ScriptInvocation};

use super::{address::Address, connection::Connection, fault::Fault, url::Url};
use crate::RegistryError;

/// The outcomes of requests with idempotency keys, which several servers share through Redis.
///
/// A server claims the key of a request before it processes the request, and stores the outcome
/// afterwards. Another server that receives the same request finds the claim or the outcome. Each
/// operation runs one script, so it is atomic.
///
/// ```no_run
/// # mod agentwire { pub extern crate agentwire_registry as registry; }
/// # fn main() -> Result<(), agentwire::registry::RegistryError> {
/// use agentwire::registry::RedisOutcomes;
///
/// let outcomes = RedisOutcomes::new("redis://localhost?namespace=blue:")?;
/// # Ok(())
/// # }
/// ```
///
/// The keys begin with the namespace of the URL, which is `agentwire:` by default, and `outcome:`.
pub struct RedisOutcomes {
    connection: Connection,
    prefix: String,
    /// The address without credentials, for errors.
    address: String,
}

/// What a server learns when it claims the key of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum OutcomeClaim {
    /// No server has processed the request. The caller must process it.
    First,
    /// A server is processing the request.
    Running,
    /// The request has been processed, with this outcome.
    Done(Vec<u8>),
    /// The key belongs to a different request.
    Conflict,
}

impl RedisOutcomes {
    /// Creates a handle that connects on its first use.
    ///
    /// # Errors
    ///
    /// Returns [`RegistryError::InvalidSetting`] if the URL is not valid. The URL has the form that
    /// [`RedisRegistry`](crate::RedisRegistry) accepts.
    pub fn new(url: &str) -> Result<Self, RegistryError> {
        let Url { url, namespace, .. } = Url::parse(url)?;
        let namespace = namespace.unwrap_or_else(|| "agentwire:".to_owned());
        let address = Address::parse(&url)?;
        let connection = Connection::new(&address, TIMEOUT);
        let connection = connection.map_err(|error| {
            let fault = Fault::from(error);
            fault.into_error(&address.display)
        })?;
        Ok(Self {
            connection,
            prefix: namespace + "outcome:",
            address: address.display,
        })
    }

    /// Claims the key of a request for the time of `lease`. `token` identifies the claim, and
    /// `fingerprint` tells a repeated request from a different one with the same key.
    ///
    /// # Errors
    ///
    /// Returns an error if Redis cannot be reached or refuses the operation.
    pub async fn claim(
        &self,
        key: &str,
        token: &str,
        fingerprint: u64,
        lease: Duration,
    ) -> Result<OutcomeClaim, RegistryError> {
        let mut script = self.invocation(&CLAIM, key, token);
        script.arg(fingerprint.to_string()).arg(millis(lease));
        let (word, outcome): (String, Vec<u8>) = self.run(&script).await?;
        match word.as_str() {
            "first" => Ok(OutcomeClaim::First),
            "running" => Ok(OutcomeClaim::Running),
            "done" => Ok(OutcomeClaim::Done(outcome)),
            "conflict" => Ok(OutcomeClaim::Conflict),
            _ => Err(Fault::UnexpectedReply.into_error(&self.address)),
        }
    }

    /// Renews a claim for the time of `lease`. Returns whether the claim is still valid.
    ///
    /// # Errors
    ///
    /// Returns an error if Redis cannot be reached or refuses the operation.
    pub async fn renew(
        &self,
        key: &str,
        token: &str,
        lease: Duration,
    ) -> Result<bool, RegistryError> {
        let mut script = self.invocation(&RENEW, key, token);
        script.arg(millis(lease));
        self.run(&script).await
    }

    /// Stores the outcome of a claimed request for the time of `window`. Returns whether the claim
    /// was still valid.
    ///
    /// # Errors
    ///
    /// Returns an error if Redis cannot be reached or refuses the operation.
    pub async fn finish(
        &self,
        key: &str,
        token: &str,
        outcome: &[u8],
        window: Duration,
    ) -> Result<bool, RegistryError> {
        let mut script = self.invocation(&FINISH, key, token);
        script.arg(millis(window)).arg(outcome);
        self.run(&script).await
    }

    /// Gives a claim up, so that the request may be processed again.
    ///
    /// # Errors
    ///
    /// Returns an error if Redis cannot be reached or refuses the operation.
    pub async fn release(&self, key: &str, token: &str) -> Result<(), RegistryError> {
        let script = self.invocation(&RELEASE, key, token);
        self.run::<bool>(&script).await.map(drop)
    }

    fn invocation<'a>(&self, script: &'a Script, key: &str, token: &str) -> ScriptInvocation<'a> {
        let mut invocation = script.prepare_invoke();
        invocation.key(format!("{}{key}", self.prefix)).arg(token);
        invocation
    }

    async fn run<T: redis::FromRedisValue>(
        &self,
        script: &ScriptInvocation<'_>,
    ) -> Result<T, RegistryError> {
        let result = self.connection.run(script).await;
        result.map_err(|fault| fault.into_error(&self.address))
    }
}

impl fmt::Debug for RedisOutcomes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisOutcomes")
            .field("address", &self.address)
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

/// Redis requires at least one millisecond.
fn millis(duration: Duration) -> String {
    duration.as_millis().clamp(1, MAX_MILLIS).to_string()
}

const TIMEOUT: Duration = Duration::from_secs(5);
/// About a hundred years.
const MAX_MILLIS: u128 = 3_155_760_000_000;

/// A script may run twice if its connection is lost, so a claim finds itself.
static CLAIM: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
        local found = redis.call('HMGET', KEYS[1], 'fingerprint', 'outcome', 'token')
        if not found[1] then
            redis.call('HSET', KEYS[1], 'fingerprint', ARGV[2], 'token', ARGV[1])
            redis.call('PEXPIRE', KEYS[1], ARGV[3])
            return {'first', ''}
        elseif found[1] ~= ARGV[2] then
            return {'conflict', ''}
        elseif found[2] then
            return {'done', found[2]}
        elseif found[3] == ARGV[1] then
            return {'first', ''}
        end
        return {'running', ''}
        ",
    )
});

static RENEW: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
        if redis.call('HGET', KEYS[1], 'token') == ARGV[1] then
            return redis.call('PEXPIRE', KEYS[1], ARGV[2])
        end
        return 0
        ",
    )
});

static FINISH: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
        if redis.call('HGET', KEYS[1], 'token') == ARGV[1] then
            redis.call('HSET', KEYS[1], 'outcome', ARGV[3])
            return redis.call('PEXPIRE', KEYS[1], ARGV[2])
        end
        return 0
        ",
    )
});

static RELEASE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
        if redis.call('HGET', KEYS[1], 'token') == ARGV[1] then
            return redis.call('DEL', KEYS[1])
        end
        return 0
        ",
    )
});
