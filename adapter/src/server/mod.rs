mod accept;
mod config;
mod dispatch;
mod job;
mod local_agent;
mod service;
mod session;

pub use self::{config::LocalAgentBuilder, local_agent::LocalAgent};
