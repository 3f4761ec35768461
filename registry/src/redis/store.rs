use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use agentwire_codec::RequestId;
use bytes::Bytes;
use redis::{Script, ScriptInvocation};
use tokio::sync::Notify;

use super::{
    address::Address,
    connection::Connection,
    entry,
    fault::Fault,
    id::{Range, endpoint_of, id, id_of},
    position::Position,
    script,
};
use crate::{InstanceRef, LimitKind, Registration, RegistryConfig, RegistryError, check_name};

/// What stands in Redis, as operations on it. Each is one script, so that nobody sees it half done.
#[derive(Debug)]
pub(super) struct Store {
    registry: String,
    prefix: String,
    /// What changes are published on.
    channel: String,
    connection: Connection,
    /// True once it has been said that changes cannot be published.
    has_warned: AtomicBool,
}

/// Some of the entries.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) position: Position,
    pub(super) entries: Vec<Arc<Registration>>,
    /// What to read next; `None` if this was all.
    pub(super) next: Option<Range>,
}

/// Who reads a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reader {
    /// Somebody who wants to know the present.
    Once,
    /// Somebody who wants to know what happens after it, too.
    Watch,
}

/// How much a page holds: Redis does nothing else while it is read.
const PAGE_ENTRIES: usize = 256;
const PAGE_BYTES: usize = 1024 * 1024;

impl Store {
    pub(super) fn new(
        address: &Address,
        prefix: String,
        channel: String,
        timeout: Duration,
    ) -> Result<Self, RegistryError> {
        let registry = address.shown.clone();
        let connection = Connection::new(address, timeout);
        Ok(Self {
            connection: connection.map_err(|error| Fault::from(error).at(&registry))?,
            registry,
            prefix,
            channel,
            has_warned: AtomicBool::new(false),
        })
    }

    /// For people.
    pub(super) fn registry(&self) -> &str {
        &self.registry
    }

    /// Told when this Redis turns out to follow another one.
    pub(super) fn moved(&self) -> Arc<Notify> {
        self.connection.moved()
    }

    /// Puts an agent in whose registration was checked by itself.
    pub(super) async fn register(
        &self,
        registration: &Registration,
        config: &RegistryConfig,
    ) -> Result<(), RegistryError> {
        let name = &registration.name;
        let offer = entry::write(registration)?;
        let range = Range::name(name);
        let lease = config.lease.timeout().as_millis();
        let mut call = self.call(&script::REGISTER);
        call.arg(id_of(registration))
            .arg(range.first)
            .arg(range.last)
            .arg(&*registration.instance)
            .arg(offer)
            .arg(lease.to_string())
            .arg(config.max_instances)
            .arg(config.max_registrations)
            .arg(config.refuses_duplicates());
        let answer: Vec<String> = self.run(&call).await?;
        let mut words = answer.iter().map(String::as_str);
        match (words.next(), words.next()) {
            (Some("ok"), why) => {
                self.is_told(why);
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
                endpoint: endpoint_of(id).ok_or_else(|| self.nonsense())?,
            }),
            _ => Err(self.nonsense()),
        }
    }

    pub(super) async fn unregister(&self, which: &InstanceRef) -> Result<(), RegistryError> {
        self.speak_for(which, &script::UNREGISTER).await
    }

    pub(super) async fn heartbeat(&self, which: &InstanceRef) -> Result<(), RegistryError> {
        self.speak_for(which, &script::HEARTBEAT).await
    }

    async fn speak_for(&self, which: &InstanceRef, script: &Script) -> Result<(), RegistryError> {
        check_name(&which.name)?;
        let name = which.name.clone();
        let endpoint = which.endpoint.as_ref();
        let instance = which.instance.as_ref();
        let range = Range::name(&name);
        let mut call = self.call(script);
        call.arg(endpoint.map_or_else(String::new, |endpoint| id(&name, endpoint)))
            .arg(range.first)
            .arg(range.last)
            .arg(instance.map_or_else(String::new, |instance| format!("={instance}")));
        let answer: Vec<String> = self.run(&call).await?;
        let mut words = answer.iter().map(String::as_str);
        match (words.next(), words.next()) {
            (Some("ok"), why) => {
                self.is_told(why);
                Ok(())
            }
            (Some("unknown"), None) => Err(RegistryError::NotRegistered {
                name,
                endpoint: which.endpoint.clone(),
            }),
            (Some("replaced"), Some(id)) => Err(RegistryError::Replaced {
                name,
                endpoint: endpoint_of(id).ok_or_else(|| self.nonsense())?,
            }),
            (Some("ambiguous"), Some(instances)) => Err(RegistryError::Ambiguous {
                name,
                instances: instances.parse().map_err(|_| self.nonsense())?,
            }),
            _ => Err(self.nonsense()),
        }
    }

    /// Reads a page of what is alive, in the order of ids.
    pub(super) async fn page(&self, range: Range, reader: Reader) -> Result<Page, RegistryError> {
        let mut call = self.call(&script::PAGE);
        call.arg(&range.first)
            .arg(&range.last)
            .arg(PAGE_ENTRIES)
            .arg(PAGE_BYTES)
            .arg(reader == Reader::Watch);
        let answer: (Bytes, Bytes, Bytes, Vec<Vec<Bytes>>) = self.run(&call).await?;
        let (epoch, revision, after, rows) = answer;
        let read = |row: Vec<Bytes>| match &*row {
            [id, registered, heard, offer] => {
                let entry = entry::read_as(id, offer, registered, heard);
                if entry.is_none() {
                    let id = String::from_utf8_lossy(id);
                    tracing::warn!(registry = self.registry, ?id, "an entry makes no sense");
                }
                entry
            }
            _ => None,
        };
        Ok(Page {
            position: Position::read(&epoch, &revision).ok_or_else(|| self.nonsense())?,
            entries: rows.into_iter().filter_map(read).collect(),
            next: (!after.is_empty()).then(|| range.after(&after)),
        })
    }

    /// Removes up to `limit` of what is over. Tells the epoch, and whether there may be more.
    pub(super) async fn sweep(&self, limit: usize) -> Result<(Arc<str>, bool), RegistryError> {
        let mut call = self.call(&script::SWEEP);
        call.arg(limit);
        let (epoch, looked, untold): (String, usize, String) = self.run(&call).await?;
        self.is_told(Some(&*untold).filter(|why| !why.is_empty()));
        Ok((epoch.into(), looked >= limit))
    }

    /// Says once, to people, why those who watch are not told what happens, if they are not.
    fn is_told(&self, untold: Option<&str>) {
        if let Some(why) = untold {
            if !self.has_warned.swap(true, Relaxed) {
                let registry = &*self.registry;
                tracing::warn!(
                    registry,
                    why,
                    "not allowed to publish changes; watches miss them"
                );
            }
        }
    }

    fn call<'a>(&self, script: &'a Script) -> ScriptInvocation<'a> {
        let mut call = script.key(&*self.prefix);
        call.key(&*self.channel);
        // The epoch to begin, should there be none: another one each time Redis has been emptied.
        call.arg(RequestId::random().to_string());
        call
    }

    async fn run<T: redis::FromRedisValue>(
        &self,
        call: &ScriptInvocation<'_>,
    ) -> Result<T, RegistryError> {
        let result = self.connection.run(call).await;
        result.map_err(|fault| fault.at(&self.registry))
    }

    fn nonsense(&self) -> RegistryError {
        Fault::Nonsense("it is none of those that the scripts give").at(&self.registry)
    }
}
