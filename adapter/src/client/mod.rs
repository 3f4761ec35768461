mod config;
mod exchange;
mod pool;
mod remote_agent;
mod stream;

pub use self::{
    config::{CallOptions, RemoteAgentBuilder},
    remote_agent::RemoteAgent,
    stream::MessageStream,
};
