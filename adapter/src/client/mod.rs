mod attempt;
mod config;
mod counters;
mod exchange;
mod mux;
mod pool;
mod remote_agent;
mod retry;
mod stream;
mod target;

pub use self::{
    config::{CallOptions, RemoteAgentBuilder},
    counters::ClientStats,
    remote_agent::RemoteAgent,
    retry::RetryPolicy,
    stream::MessageStream,
};
