//! Remembers the open connections and the last events, for people who debug a server.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc, RwLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use agentwire::{
    Value,
    observer::{ConnectionEvent, InstanceEvent, Observer, Outcome, Refusal, RequestEvent, Side},
    registry::Event,
    transport::internal::{Mutex, Untrusted},
    value,
};

/// An observer that remembers the open connections and the last events.
#[derive(Default)]
pub(crate) struct Activity {
    connections: RwLock<HashMap<(Side, u64), Arc<Connection>>>,
    events: Mutex<VecDeque<Value>>,
}

struct Connection {
    endpoint: String,
    peer: Option<String>,
    since: Instant,
    requests: AtomicU64,
    ended: AtomicU64,
    failed: AtomicU64,
}

impl Activity {
    /// Returns the open connections, oldest first, and their number. The list is cut.
    pub(crate) fn connections(&self) -> Value {
        let open = self
            .connections
            .read()
            .unwrap_or_else(|error| error.into_inner());
        let mut all: Vec<_> = open.iter().collect();
        all.sort_by_key(|((side, id), _)| (side.as_str(), *id));
        let total = all.len();
        let shown = all
            .into_iter()
            .take(MAX_SHOWN)
            .map(|((side, id), connection)| {
                let (requests, ended) = (
                    connection.requests.load(Relaxed),
                    connection.ended.load(Relaxed),
                );
                value!({
                    "side": (side.as_str()),
                    "id": (*id),
                    "endpoint": (connection.endpoint.as_str()),
                    "peer": (connection.peer.clone()),
                    "age_seconds": (connection.since.elapsed().as_secs_f64()),
                    "requests": requests,
                    "in_flight": (requests.saturating_sub(ended)),
                    "failed": (connection.failed.load(Relaxed)),
                })
            });
        let connections: Value = shown.collect();
        value!({"total": total, "connections": connections})
    }

    /// Returns the last events, newest first.
    pub(crate) fn events(&self) -> Value {
        self.events.lock().iter().rev().cloned().collect()
    }

    fn remember(&self, kind: &str, text: String) {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let mut events = self.events.lock();
        if events.len() >= MAX_EVENTS {
            events.pop_front();
        }
        events.push_back(value!({"time": (now.as_secs_f64()), "kind": kind, "text": text}));
    }

    fn with_connection(&self, request: &RequestEvent<'_>, count: impl FnOnce(&Connection)) {
        let Some(id) = request.connection else {
            return;
        };
        let open = self
            .connections
            .read()
            .unwrap_or_else(|error| error.into_inner());
        if let Some(connection) = open.get(&(request.side, id)) {
            count(connection);
        }
    }
}

impl Observer for Activity {
    fn request_started(&self, request: &RequestEvent<'_>) {
        self.with_connection(request, |connection| {
            connection.requests.fetch_add(1, Relaxed);
        });
    }

    fn request_ended(&self, request: &RequestEvent<'_>, outcome: Outcome<'_>, _: Duration) {
        self.with_connection(request, |connection| {
            connection.ended.fetch_add(1, Relaxed);
            if outcome != Outcome::Ok {
                connection.failed.fetch_add(1, Relaxed);
            }
        });
    }

    fn connection_opened(&self, connection: &ConnectionEvent<'_>) {
        let key = (connection.side, connection.id);
        let entry = Connection {
            endpoint: Untrusted(connection.endpoint).to_string(),
            peer: connection.peer.map(|peer| Untrusted(peer).to_string()),
            since: Instant::now(),
            requests: AtomicU64::new(0),
            ended: AtomicU64::new(0),
            failed: AtomicU64::new(0),
        };
        let mut open = self
            .connections
            .write()
            .unwrap_or_else(|error| error.into_inner());
        open.insert(key, Arc::new(entry));
    }

    fn connection_closed(&self, connection: &ConnectionEvent<'_>, _: &'static str) {
        let mut open = self
            .connections
            .write()
            .unwrap_or_else(|error| error.into_inner());
        open.remove(&(connection.side, connection.id));
    }

    fn refused(&self, refusal: &Refusal) {
        self.remember("refused", refusal.reason.to_owned());
    }

    fn instance_ejected(&self, instance: &InstanceEvent<'_>) {
        self.remember("ejected", instance_text(instance));
    }

    fn instance_recovered(&self, instance: &InstanceEvent<'_>) {
        self.remember("recovered", instance_text(instance));
    }

    fn watch_resynced(&self, agent: &str) {
        self.remember("resynced", Untrusted(agent).to_string());
    }

    fn registry_changed(&self, event: &Event) {
        if let Some(changed) = event.registration() {
            let (name, endpoint) = (Untrusted(&changed.name), Untrusted(&changed.endpoint));
            self.remember(event.name(), format!("{name} at {endpoint}"));
        }
    }
}

fn instance_text(instance: &InstanceEvent<'_>) -> String {
    let (agent, endpoint) = (Untrusted(instance.agent), Untrusted(instance.endpoint));
    format!("{agent} at {endpoint}")
}

/// The maximum number of connections in an answer.
const MAX_SHOWN: usize = 1000;

/// The number of events that are kept.
const MAX_EVENTS: usize = 100;
