mod accept;
mod advertisement;
mod agents;
mod config;
mod dispatch;
mod in_flight;
mod job;
mod local_agent;
mod panic;
mod service;
mod serving;
mod session;
mod stop;

pub(crate) use self::{
    config::Config,
    panic::panic_text,
    service::{Service, Work, unknown_method},
    serving::Serving,
};
pub use self::{config::LocalAgentBuilder, local_agent::LocalAgent};
