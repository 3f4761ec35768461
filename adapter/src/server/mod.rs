//! The server, which receives requests, runs agents and tools, and sends answers.
//!
//! The table lists the layers from top to bottom. A layer may use only the layers below it.
//!
//! | layer | what it does |
//! |---|---|
//! | `local_agent`, `builder` | the public handle and its builder |
//! | `agents` > `invocation` | find the agent or tool that a request is for, and run it |
//! | `advertisement` | says what to register, and at which endpoints |
//! | `tasks` > `endpoints` | bind the endpoints of a server, run their tasks, stop them |
//! | `carrier` | moves requests and answers between peers and a [`Service`]; a folder for each |
//! | `running` | a request from its start to its last answer, reported to observers |
//! | `outcomes` > `owner` | answer repeated requests; whose keys they have |
//! | `service` | the seam: what a server does with a request, whichever carrier brought it |
//! | `gatekeeper`, `scope` | who may do what, with the feature `auth` |
//! | `guard`, `config`, `shutdown` | panics and time limits; settings; the two ways to stop |
//! | `readiness` | whether load balancers should send calls, with the feature `http` |
//! | `tls` | reads certificates again when their files change |
//! | `budget`, `peer_key` | the memory of a server; what counts as one peer |
//!
//! `RegistryServer` uses the layers from `tasks` down, with its own implementation of `Service`.

mod advertisement;
mod agents;
mod budget;
mod builder;
mod carrier;
mod config;
mod endpoints;
#[cfg(feature = "auth")]
pub(crate) mod gatekeeper;
mod guard;
mod invocation;
mod local_agent;
mod outcomes;
mod owner;
mod peer_key;
#[cfg(feature = "http")]
mod readiness;
mod running;
mod scope;
mod service;
mod shutdown;
mod tasks;
#[cfg(feature = "tls")]
mod tls;

#[cfg(feature = "http")]
pub use self::carrier::{HttpOptions, HttpService, ReplyBody, service as http_service};
pub use self::{builder::LocalAgentBuilder, local_agent::LocalAgent};
pub(crate) use self::{
    config::{ServerConfig, server_settings},
    endpoints::Endpoints,
    guard::Guard,
    owner::Owner,
    peer_key::PeerKey,
    scope::{Scope, show, stored},
    service::{Caller, ConnectionId, Heartbeats, Service, Work, unknown_method},
    tasks::ServerTasks,
};
