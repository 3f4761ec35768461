//! The operations on Redis: [`Store`].

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use agentwire_codec::RequestId;
use agentwire_transport::internal::{LogLimit, Untrusted};
use bytes::Bytes;
use redis::{Script, ScriptInvocation};
use tokio::sync::Notify;

use super::{
    address::Address,
    connection::Connection,
    entry,
    fault::Fault,
    id::{Range, endpoint_of, id, id_of},
    keys::Keys,
    outage::Outage,
    position::Position,
    script,
};
use crate::{
    InstanceRef, LimitKind, Registration, RegistryConfig, RegistryError, check_name,
    owner::OwnerKey,
};

/// The entries in Redis. Each operation runs a single script, so each operation is atomic.
#[derive(Debug)]
pub(super) struct Store {
    /// The address without credentials, for logs and errors.
    registry: String,
    keys: Keys,
    /// The lease that the registry grants.
    lease: Duration,
    outage: Outage,
    /// The channel on which changes are published.
    channel: String,
    connection: Connection,
    /// Whether the warning about unpublished changes has been logged. Relaxed accesses are
    /// sufficient, because a race would only repeat the warning.
    has_warned: AtomicBool,
}

/// A page of entries.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) position: Position,
    pub(super) entries: Vec<Arc<Registration>>,
    /// The range of the next page, or `None` for the last page.
    pub(super) next: Option<Range>,
}

/// The purpose of reading a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ReadMode {
    /// A lookup. Expired entries are only skipped.
    Lookup,
    /// The snapshot of a watch. Expired entries are removed first, because the watch receives later
    /// changes.
    Watch,
}

impl Store {
    pub(super) fn new(
        address: &Address,
        keys: Keys,
        channel: String,
        lease: Duration,
        timeout: Duration,
    ) -> Result<Self, RegistryError> {
        let registry = address.display.clone();
        let connection = Connection::new(address, timeout);
        Ok(Self {
            connection: connection.map_err(|error| Fault::from(error).into_error(&registry))?,
            registry,
            keys,
            channel,
            lease,
            outage: Outage::new(),
            has_warned: AtomicBool::new(false),
        })
    }

    /// Returns the address without credentials.
    pub(super) fn registry(&self) -> &str {
        &self.registry
    }

    /// Returns the notification that the Redis server has become a replica.
    pub(super) fn demoted(&self) -> Arc<Notify> {
        self.connection.demoted()
    }

    /// Registers an agent. The caller must have checked the registration.
    pub(super) async fn register(
        &self,
        registration: &Registration,
        config: &RegistryConfig,
    ) -> Result<(), RegistryError> {
        let name = &registration.name;
        let offer = entry::encode(registration)?;
        let range = Range::name(name);
        let lease = config.lease.timeout().as_millis();
        let mut invocation = self.invocation(&script::REGISTER);
        invocation
            .arg(id_of(registration))
            .arg(range.first)
            .arg(range.last)
            .arg(&*registration.instance)
            .arg(offer)
            .arg(lease.to_string())
            .arg(config.max_instances)
            .arg(config.max_registrations)
            .arg(config.refuses_duplicates())
            .arg(registration.owner.as_ref().map_or("", OwnerKey::as_str));
        let reply: Vec<String> = self.run(&invocation).await?;
        let mut words = reply.iter().map(String::as_str);
        match (words.next(), words.next()) {
            (Some("ok"), publish_error) => {
                self.warn_if_unpublished(publish_error);
                Ok(())
            }
            (Some("instances"), None) => Err(RegistryError::TooManyInstances {
                name: name.clone(),
                max: config.max_instances,
            }),
            (Some("full"), None) => Err(RegistryError::Full {
                of: LimitKind::Registrations,
                max: config.max_registrations,
            }),
            (Some("duplicate"), Some(id)) => Err(RegistryError::Duplicate {
                name: name.clone(),
                endpoint: endpoint_of(id).ok_or_else(|| self.unexpected_reply())?,
            }),
            (Some("owned"), Some(id)) => Err(self.owned(name, id, words.next())),
            _ => Err(self.unexpected_reply()),
        }
    }

    /// Converts the reply of a script about an entry that belongs to another instance.
    fn owned(&self, name: &str, id: &str, protected_for: Option<&str>) -> RegistryError {
        let millis = protected_for.and_then(|millis| millis.parse().ok());
        match (endpoint_of(id), millis) {
            (Some(endpoint), Some(millis)) => RegistryError::Owned {
                name: name.to_owned(),
                endpoint,
                retry_after: Duration::from_millis(millis),
            },
            _ => self.unexpected_reply(),
        }
    }

    pub(super) async fn unregister(&self, which: &InstanceRef) -> Result<(), RegistryError> {
        self.run_instance_script(which, &script::UNREGISTER).await
    }

    pub(super) async fn heartbeat(&self, which: &InstanceRef) -> Result<(), RegistryError> {
        self.run_instance_script(which, &script::HEARTBEAT).await
    }

    /// Runs a script that unregisters an instance or records a heartbeat.
    async fn run_instance_script(
        &self,
        which: &InstanceRef,
        script: &Script,
    ) -> Result<(), RegistryError> {
        check_name(&which.name)?;
        let name = which.name.clone();
        let endpoint = which.endpoint.as_ref();
        let instance = which.instance.as_ref();
        let range = Range::name(&name);
        let mut invocation = self.invocation(script);
        invocation
            .arg(endpoint.map_or_else(String::new, |endpoint| id(&name, endpoint)))
            .arg(range.first)
            .arg(range.last)
            .arg(instance.map_or_else(String::new, |instance| format!("={instance}")))
            .arg(which.owner.as_ref().map_or("", OwnerKey::as_str))
            .arg(u8::from(which.has_authority));
        let reply: Vec<String> = self.run(&invocation).await?;
        let mut words = reply.iter().map(String::as_str);
        match (words.next(), words.next()) {
            (Some("ok"), publish_error) => {
                self.warn_if_unpublished(publish_error);
                Ok(())
            }
            (Some("unknown"), None) => Err(RegistryError::NotRegistered {
                name,
                endpoint: which.endpoint.clone(),
            }),
            (Some("replaced"), Some(id)) => Err(RegistryError::Replaced {
                name,
                endpoint: endpoint_of(id).ok_or_else(|| self.unexpected_reply())?,
            }),
            (Some("owned"), Some(id)) => Err(self.owned(&name, id, words.next())),
            (Some("ambiguous"), Some(instances)) => Err(RegistryError::Ambiguous {
                name,
                instances: instances.parse().map_err(|_| self.unexpected_reply())?,
            }),
            _ => Err(self.unexpected_reply()),
        }
    }

    /// Reads a page of live entries, ordered by id.
    pub(super) async fn page(&self, range: Range, mode: ReadMode) -> Result<Page, RegistryError> {
        let mut invocation = self.invocation(&script::PAGE);
        invocation
            .arg(&range.first)
            .arg(&range.last)
            .arg(PAGE_ENTRIES)
            .arg(PAGE_BYTES)
            .arg(mode == ReadMode::Watch);
        let reply: (Bytes, Bytes, Bytes, Vec<Vec<Bytes>>) = self.run(&invocation).await?;
        let (epoch, revision, after, rows) = reply;
        let decode = |row: Vec<Bytes>| match &*row {
            [id, registered, last_heartbeat, offer] => {
                let entry = entry::decode_with_id(id, offer, registered, last_heartbeat);
                if entry.is_none() {
                    if let Some(count) = MALFORMED.record(Instant::now()) {
                        let (registry, id) = (&*self.registry, String::from_utf8_lossy(id));
                        let id = Untrusted(id);
                        tracing::warn!(registry, ?id, count, "ignoring malformed entry");
                    }
                }
                entry
            }
            _ => None,
        };
        Ok(Page {
            position: Position::parse(&epoch, &revision).ok_or_else(|| self.unexpected_reply())?,
            entries: rows.into_iter().filter_map(decode).collect(),
            next: (!after.is_empty()).then(|| range.after_id(&after)),
        })
    }

    /// Checks up to `limit` due entries and removes expired entries. Returns the position, and
    /// whether more entries may be due.
    ///
    /// Scripts that run after a failed sweep do not believe the leases that have expired since the
    /// last successful one, because no heartbeat may have reached Redis.
    pub(super) async fn sweep(&self, limit: usize) -> Result<(Position, bool), RegistryError> {
        let started = Instant::now();
        let result = self.run_sweep(limit, true).await;
        match &result {
            Ok(_) => self.outage.end(started),
            Err(_) => self.outage.begin(),
        }
        result
    }

    /// Checks that Redis can run scripts, and returns the position.
    pub(super) async fn check(&self) -> Result<Position, RegistryError> {
        Ok(self.run_sweep(1, false).await?.0)
    }

    /// Removes expired entries. With `probe`, the sweep fails if Redis refuses writes, even if no
    /// entry has expired.
    async fn run_sweep(
        &self,
        limit: usize,
        probe: bool,
    ) -> Result<(Position, bool), RegistryError> {
        let mut invocation = self.invocation(&script::SWEEP);
        invocation.arg(limit).arg(probe);
        let (epoch, revision, checked, publish_error): (Bytes, Bytes, usize, String) =
            self.run(&invocation).await?;
        self.warn_if_unpublished(Some(&*publish_error).filter(|error| !error.is_empty()));
        let position = Position::parse(&epoch, &revision);
        let position = position.ok_or_else(|| self.unexpected_reply())?;
        Ok((position, checked >= limit))
    }

    /// Replaces the connections for commands and for changes, because they lead to different
    /// servers.
    pub(super) fn reconnect(&self) {
        self.connection.reconnect();
    }

    /// Logs a warning if a change could not be published. The warning is logged only once.
    fn warn_if_unpublished(&self, publish_error: Option<&str>) {
        if let Some(error) = publish_error {
            if !self.has_warned.swap(true, Relaxed) {
                let registry = &*self.registry;
                tracing::warn!(
                    registry,
                    error,
                    "redis refused to publish a change; watches miss it"
                );
            }
        }
    }

    fn invocation<'a>(&self, script: &'a Script) -> ScriptInvocation<'a> {
        let mut invocation = script.prepare_invoke();
        for key in &self.keys.0 {
            invocation.key(&**key);
        }
        invocation
            // A new epoch, which is used only if Redis contains no epoch because its data was lost.
            .arg(RequestId::random().to_string())
            .arg(&*self.channel)
            .arg(self.outage.duration().as_millis().to_string())
            .arg(self.lease.as_millis().to_string());
        invocation
    }

    async fn run<T: redis::FromRedisValue>(
        &self,
        invocation: &ScriptInvocation<'_>,
    ) -> Result<T, RegistryError> {
        let result = self.connection.run(invocation).await;
        result.map_err(|fault| fault.into_error(&self.registry))
    }

    fn unexpected_reply(&self) -> RegistryError {
        Fault::UnexpectedReply.into_error(&self.registry)
    }
}

/// The limits of a page. The limits are small because Redis processes no other commands while it
/// reads a page.
const PAGE_ENTRIES: usize = 256;
const PAGE_BYTES: usize = 1024 * 1024;

static MALFORMED: LogLimit = LogLimit::new();
