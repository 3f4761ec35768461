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
//! A layer uses only the layers below it and the modules that all layers share: `shared` (the
//! settings, counters and closing state of one client), `config`, `retry_policy`, `permits` and
//! `stats`. Results are returned to the layer above. A `Failure` of a channel becomes a `Verdict`
//! of the router and an [`Error`](crate::Error) of the call. No two files import each other,
//! directly or indirectly. The test `tests/layers` checks both rules.

mod builder;
mod call;
mod channel;
mod config;
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
    remote_agent::RemoteAgent,
    retry_policy::RetryPolicy,
    router::Balance,
    stats::ClientStats,
    stream::MessageStream,
};
