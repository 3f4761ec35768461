//! Public types, futures and streams can move between threads.

use agentwire::{
    Agent, AgentError, Error, LocalAgent, Map, Message, MessageStream, RemoteAgent, RequestContext,
    SharedAgent,
    registry::{
        InstanceRef, LocalRegistry, Query, Registration, RegistrationHandle, Registry,
        RegistryError, RegistryServer, RemoteRegistry, SharedRegistry, Watch, WatchScope,
    },
};

fn send<T: Send + 'static>(_: T) {}
fn is_send_and_sync<T: Send + Sync + 'static>() {}

#[test]
fn public_types_are_send_and_sync() {
    is_send_and_sync::<LocalAgent>();
    is_send_and_sync::<RemoteAgent>();
    is_send_and_sync::<SharedAgent>();
    is_send_and_sync::<Message>();
    is_send_and_sync::<Error>();
    is_send_and_sync::<AgentError>();
    is_send_and_sync::<LocalRegistry>();
    is_send_and_sync::<RemoteRegistry>();
    is_send_and_sync::<SharedRegistry>();
    is_send_and_sync::<RegistryServer>();
    is_send_and_sync::<RegistrationHandle>();
    is_send_and_sync::<Registration>();
    is_send_and_sync::<RegistryError>();
}

#[test]
fn public_futures_and_streams_are_send() {
    // The futures are only created, never polled.
    fn check(
        remote: &'static RemoteAgent,
        server: &'static LocalAgent,
        boxed: &'static SharedAgent,
    ) {
        send(remote.process(Message::user("")));
        send(remote.stream(Message::user("")));
        send(Agent::process(
            remote,
            Message::user(""),
            RequestContext::new(),
        ));
        send(Agent::stream(
            remote,
            Message::user(""),
            RequestContext::new(),
        ));
        send(boxed.process(Message::user(""), RequestContext::new()));
        send(boxed.stream(Message::user(""), RequestContext::new()));
        send(remote.execute("", Map::new()));
        send(remote.ping());
        send(remote.close());
        send(server.stop());
        send(server.abort());
        send(LocalAgent::serve(boxed.clone(), "memory://x"));
    }
    let _ = check;
    fn next(stream: &'static mut MessageStream) {
        send(stream.next());
    }
    let _ = next;
}

#[test]
fn the_futures_of_registries_are_send() {
    fn check<R: Registry>(
        registry: &'static R,
        which: &'static InstanceRef,
        query: &'static Query,
        registration: Registration,
    ) {
        send(registry.register(registration));
        send(registry.unregister(which));
        send(registry.heartbeat(which));
        send(registry.lookup(""));
        send(registry.list());
        send(registry.find(query));
        send(registry.watch(WatchScope::All));
    }
    let _ = (
        check::<LocalRegistry>,
        check::<RemoteRegistry>,
        check::<SharedRegistry>,
    );
    fn others(
        server: &'static RegistryServer,
        registrant: &'static RegistrationHandle,
        watch: &'static mut Watch,
    ) {
        send(server.stop());
        send(registrant.registered());
        send(registrant.unregister());
        send(watch.next());
    }
    let _ = others;
}
