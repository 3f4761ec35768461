//! The observers of one server or client.

use std::{fmt, sync::Arc, time::Duration};

use agentwire_registry::Event;

use super::{
    ConnectionEvent, InstanceEvent, LayerEvent, Observer, Outcome, Refusal, RequestEvent, Side,
};

/// The observers of one server or client. There are usually none.
#[derive(Clone, Default)]
pub(crate) struct Observers(Option<Arc<dyn Observer>>);

impl Observers {
    /// Adds an observer.
    pub(crate) fn add(&mut self, observer: Arc<dyn Observer>) {
        self.0 = Some(match self.0.take() {
            Some(first) => Arc::new(Both(first, observer)),
            None => observer,
        });
    }

    /// Returns the observer to which all events are reported, if there is one.
    pub(crate) fn get(&self) -> Option<&Arc<dyn Observer>> {
        self.0.as_ref()
    }

    /// Reports what a layer did.
    pub(crate) fn layer_acted(&self, layer: &'static str, action: &'static str, name: &str) {
        self.report(|observer| {
            observer.layer_acted(&LayerEvent {
                layer,
                action,
                name,
            });
        });
    }

    /// Reports an event.
    pub(crate) fn report(&self, event: impl FnOnce(&dyn Observer)) {
        if let Some(observer) = &self.0 {
            event(&**observer);
        }
    }
}

impl fmt::Debug for Observers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = if self.0.is_some() { "set" } else { "none" };
        f.write_str(state)
    }
}

/// Two observers, which learn of the same events.
struct Both(Arc<dyn Observer>, Arc<dyn Observer>);

macro_rules! forward_to_both {
    ($($method:ident($($argument:ident: $type:ty),*);)*) => {
        impl Observer for Both {
            $(fn $method(&self, $($argument: $type),*) {
                self.0.$method($($argument),*);
                self.1.$method($($argument),*);
            })*
        }
    };
}

forward_to_both! {
    request_started(request: &RequestEvent<'_>);
    request_ended(request: &RequestEvent<'_>, outcome: Outcome<'_>, duration: Duration);
    refused(refusal: &Refusal);
    bytes_received(side: Side, bytes: u64);
    bytes_sent(side: Side, bytes: u64);
    connection_opened(connection: &ConnectionEvent<'_>);
    connection_closed(connection: &ConnectionEvent<'_>, reason: &'static str);
    call_queued(wait: Duration);
    call_retried(agent: &str);
    instance_ejected(instance: &InstanceEvent<'_>);
    instance_recovered(instance: &InstanceEvent<'_>);
    watch_resynced(agent: &str);
    registry_changed(event: &Event);
    registrations_changed(change: i64);
    layer_acted(event: &LayerEvent<'_>);
    memory_changed(change: i64);
}
