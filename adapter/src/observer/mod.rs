//! Observers, which learn what servers and clients do: [`Observer`].
//!
//! Servers and clients report to observers only through `Observers`. Without an observer, an
//! event costs one comparison: the clock is not read and nothing is allocated.

mod connection;
mod event;
#[cfg(feature = "metrics")]
mod metrics;
mod observers;
mod request;

use std::time::Duration;

use agentwire_registry::Event;

pub use self::event::{
    ConnectionEvent, InstanceEvent, LayerEvent, Outcome, Refusal, RequestEvent, Side,
};
#[cfg(feature = "metrics")]
pub use self::metrics::MetricsObserver;
pub(crate) use self::{
    connection::ConnectionGuard,
    observers::Observers,
    request::{RequestGuard, RequestReporter, Subject, error_code},
};

/// A type that learns what a server or a client does, for example to count requests.
///
/// Pass an observer to the builder of a server or a client. One observer may serve any number of
/// servers and clients, and a server or a client may have several observers. All methods have an
/// empty default, so that an observer implements only the methods that it needs.
///
/// The methods are called while a request is processed, so they must return quickly and must not
/// block. Events never contain the contents of messages, metadata or credentials.
///
/// ```
/// use std::{
///     sync::{
///         Arc,
///         atomic::{AtomicU64, Ordering::Relaxed},
///     },
///     time::Duration,
/// };
///
/// use agentwire::{
///     LocalAgent, Message, RemoteAgent, agent_fn,
///     observer::{Observer, Outcome, RequestEvent},
/// };
///
/// #[derive(Default)]
/// struct Requests(AtomicU64);
///
/// impl Observer for Requests {
///     fn request_ended(&self, request: &RequestEvent<'_>, outcome: Outcome<'_>, _: Duration) {
///         println!("{} of {:?}: {}", request.method, request.name, outcome.code());
///         self.0.fetch_add(1, Relaxed);
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), agentwire::Error> {
/// let requests = Arc::new(Requests::default());
/// let echo = agent_fn("echo", |message: Message| async move { Ok(message) });
/// let server = LocalAgent::builder(echo)
///     .observer(requests.clone())
///     .endpoint("memory://observer-page")
///     .serve()
///     .await?;
/// RemoteAgent::new(server.endpoint())?.process(Message::user("hello")).await?;
/// assert_eq!(requests.0.load(Relaxed), 1);
/// # Ok(())
/// # }
/// ```
#[expect(
    unused_variables,
    reason = "the names of arguments are part of the documentation"
)]
pub trait Observer: Send + Sync + 'static {
    /// A server started a request, or a client started a call.
    fn request_started(&self, request: &RequestEvent<'_>) {}

    /// A request or a call ended, in the case of a stream after its last chunk. `duration` is the
    /// time since the client started the call, or since the request arrived at the server. Requests
    /// that arrive together on one connection wait for each other, and this time counts.
    fn request_ended(&self, request: &RequestEvent<'_>, outcome: Outcome<'_>, duration: Duration) {}

    /// A server refused a connection or a request without starting a request.
    fn refused(&self, refusal: &Refusal) {}

    /// Bytes of frames were received, with their headers. Over HTTP, these are the bytes of bodies,
    /// and over gRPC those of messages with their prefixes.
    fn bytes_received(&self, side: Side, bytes: u64) {}

    /// Bytes of frames, bodies or messages were queued for sending.
    fn bytes_sent(&self, side: Side, bytes: u64) {}

    /// A server accepted a connection, or a client opened a connection.
    fn connection_opened(&self, connection: &ConnectionEvent<'_>) {}

    /// A connection was closed. `reason` is one of a small set of words, such as `peer_closed` or
    /// `idle`.
    fn connection_closed(&self, connection: &ConnectionEvent<'_>, reason: &'static str) {}

    /// A call of a client waited for a permit to use a connection.
    fn call_queued(&self, wait: Duration) {}

    /// A client sent a request again, or tried to connect again.
    fn call_retried(&self, agent: &str) {}

    /// A client stopped sending calls to an instance, because the instance failed.
    fn instance_ejected(&self, instance: &InstanceEvent<'_>) {}

    /// A client sends calls to an ejected instance again.
    fn instance_recovered(&self, instance: &InstanceEvent<'_>) {}

    /// A client received all instances of an agent again, because its watch had lost events.
    fn watch_resynced(&self, agent: &str) {}

    /// The contents of a registry changed. A server of a registry reports its changes.
    fn registry_changed(&self, event: &Event) {}

    /// A served registry has so many registrations more, or fewer if `change` is negative. The
    /// changes of all servers add up to their registrations: a server begins with all that there
    /// are, and takes them back when it stops.
    fn registrations_changed(&self, change: i64) {}

    /// A layer answered a request by itself, or repeated it.
    ///
    /// Layers report to the observers of the [`RequestContext`](crate::RequestContext). A server
    /// adds its observers to the context of each request.
    fn layer_acted(&self, event: &LayerEvent<'_>) {}

    /// The large requests and answers of a server use so many bytes more of its memory budget, or
    /// fewer if `change` is negative. The changes of all servers add up to the bytes in use.
    fn memory_changed(&self, change: i64) {}
}
