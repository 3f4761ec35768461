//! The carrier HTTP: its settings, and agents in a server of another program.
//!
//! A server with an endpoint `http://`, `h2c://` or `https://` needs nothing from this module. Each
//! of these endpoints speaks HTTP/1.1 and HTTP/2; the schemes `http` and `h2c` mean the same for a
//! server. For `https`, set the certificates with
//! [`LocalAgentBuilder::tls`](crate::LocalAgentBuilder::tls).
//!
//! | path | method | answer |
//! |---|---|---|
//! | `/process` | POST | the answer of an agent |
//! | `/stream` | POST | the answers of an agent, as server-sent events |
//! | `/execute` | POST | the result of a tool |
//! | `/describe` | GET | the agents and tools, as [`RemoteAgent::describe`](crate::RemoteAgent::describe) reads them |
//! | `/.well-known/agent-card.json` | GET | the name, version and capabilities of the first agent, and the tools |
//! | `/health`, `/live` | GET, HEAD | 200 while the server runs |
//! | `/ready` | GET, HEAD | 200 while the server wants calls: its agents are registered, and it is not about to stop |
//!
//! With [`HttpOptions::invoke_routes`], a server also has `POST /invoke`, `POST /invoke/stream` and
//! `GET /auth`, whose bodies are bare messages. With the feature `websocket`, an endpoint accepts a
//! WebSocket on every path, so that one port serves clients of both carriers.
//!
//! The bodies are envelopes ([PROTOCOL 15.2]). A person with curl can leave out all but the
//! payload:
//!
//! ```text
//! curl -d '{"payload": {"message": {"role": "user", "content": "hello"}}}' http://localhost:8080/process
//! ```
//!
//! [PROTOCOL 15.2]: https://github.com/agentwire/agentwire/blob/main/PROTOCOL.md#15-other-carriers

pub use crate::server::{HttpOptions, HttpService, ReplyBody, http_service as service};
