//! What users hand from task to task can be handed.

use agentwire::{
    Agent, AgentError, BoxAgent, Error, LocalAgent, Map, Message, MessageStream, RemoteAgent,
};

fn send<T: Send + 'static>(_: T) {}
fn is_send_and_sync<T: Send + Sync + 'static>() {}

#[test]
fn public_types_are_send_and_sync() {
    is_send_and_sync::<LocalAgent>();
    is_send_and_sync::<RemoteAgent>();
    is_send_and_sync::<BoxAgent>();
    is_send_and_sync::<Message>();
    is_send_and_sync::<Error>();
    is_send_and_sync::<AgentError>();
}

#[test]
fn public_futures_and_streams_are_send() {
    // They are only made, never polled.
    fn check(remote: &'static RemoteAgent, server: &'static LocalAgent, boxed: &'static BoxAgent) {
        send(remote.process(Message::user("")));
        send(remote.stream(Message::user("")));
        send(Agent::process(remote, Message::user("")));
        send(Agent::stream(remote, Message::user("")));
        send(boxed.process(Message::user("")));
        send(boxed.stream(Message::user("")));
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
