mod attempt;
mod config;
mod counters;
mod discovery;
mod exchange;
mod frame;
mod mux;
mod pool;
mod remote_agent;
mod retry;
mod stream;
mod target;
mod turns;

pub use self::{
    config::{CallOptions, RemoteAgentBuilder},
    counters::ClientStats,
    discovery::Balance,
    remote_agent::RemoteAgent,
    retry::RetryPolicy,
    stream::MessageStream,
};
