//! The carrier that sends one envelope in each frame, over any byte stream.
//!
//! The layers are `acceptor` > `session` > `dispatch` > `in_flight`. One task accepts the
//! connections of a listener. Each connection has a task that reads and starts requests, and writes
//! each reply as soon as it is ready.

mod acceptor;
mod close_reason;
mod dispatch;
mod foreign_protocol;
mod in_flight;
mod reply;
mod session;
mod timeouts;
mod turn;

pub(super) use self::acceptor::Acceptor;
