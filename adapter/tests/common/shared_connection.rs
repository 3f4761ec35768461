//! What holds for a connection that calls share, over HTTP/2 and over gRPC.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use agentwire::{CallOptions, LocalAgent, Message, RemoteAgent, stream_fn};
use futures_util::{StreamExt, stream};

use crate::common::{until, within};

/// Streams whose callers do not read them leave the connection to other calls.
pub(crate) async fn unread_streams_do_not_stop_other_calls(endpoint: &str) {
    let sent = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&sent);
    let endless = stream_fn("endless", move |_: Message| {
        let count = Arc::clone(&count);
        stream::repeat_with(move || {
            count.fetch_add(1, SeqCst);
            Ok(Message::agent("x".repeat(100_000)))
        })
    });
    let server = within(LocalAgent::builder(endless).endpoint(endpoint).serve());
    let server = server.await.unwrap();
    let builder = RemoteAgent::builder(server.endpoint()).max_connections(1);
    let remote = builder.build().unwrap();
    let mut held = Vec::new();
    for _ in 0..8 {
        let mut chunks = Box::pin(remote.stream(Message::user("x")));
        within(chunks.next()).await.unwrap().unwrap();
        held.push(chunks);
    }
    // Each stream has a window of 1 MiB, which is more than ten chunks.
    until("the windows are full", || sent.load(SeqCst) >= 8 * 10).await;
    within(remote.ping()).await.unwrap();
    assert_eq!(remote.stats().open, 1);
}

/// Calls a server that answers only the first request of each connection.
pub(crate) async fn silent_connections_serve_no_further_calls(remote: &RemoteAgent) {
    let short = CallOptions::new().timeout(Duration::from_millis(50));
    for _ in 0..3 {
        within(remote.process(Message::user("x"))).await.unwrap();
        let call = remote.process_with(Message::user("x"), &short);
        let error = within(call).await.unwrap_err();
        assert!(error.is_timeout(), "{error}");
    }
}
