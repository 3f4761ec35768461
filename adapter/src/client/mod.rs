//! The client: [`RemoteAgent`] and the layers below it.
//!
//! ```text
//! remote_agent  the handle of a client, with `builder` and `stream`; a proxy uses `forward` instead
//!   call        one request with all of its attempts: retries, deadlines, errors
//!     router    chooses the channel of each attempt: a fixed one, or a discovered instance
//!       channel the connections to one endpoint: pools, sharing, a folder for each carrier
//!         crate::connection   one byte stream that carries envelopes
//! ```
//!
//! A layer uses only lower layers and the modules that all layers share: `shared`, `config`,
//! `connect`, `retry_policy`, `permits` and `stats`. The module `shared` contains the settings, the
//! counters and the closing state of a client. Each layer returns its results to the layer above.
//! The router converts the `Failure` of a channel into a `Verdict`, and the call converts the
//! failure into an [`Error`](crate::Error). Files never import each other in a cycle. The test
//! `tests/layers` checks the order of the layers and the absence of cycles.

mod builder;
mod call;
mod channel;
mod config;
mod connect;
mod credentials;
mod forward;
mod permits;
mod remote_agent;
mod retry_policy;
mod router;
mod shared;
mod stats;
mod stream;

pub(crate) use self::forward::Forwarder;
pub use self::{
    builder::{Discovered, FixedEndpoint, RemoteAgentBuilder},
    config::CallOptions,
    credentials::{ApiKey, Bearer, Credentials, PlaintextCredentials},
    remote_agent::RemoteAgent,
    retry_policy::RetryPolicy,
    router::Balance,
    stats::ClientStats,
    stream::MessageStream,
};
