//! The carrier that sends one envelope per frame over any byte stream.
//!
//! The layers are `acceptor` > `session` > `dispatch` > `in_flight`. Each listener has a task that
//! accepts connections. Each connection has a task that reads requests, starts them, and writes
//! each reply as soon as it is ready.

mod acceptor;
mod account;
mod close_reason;
mod dispatch;
mod foreign_protocol;
mod in_flight;
mod reply;
mod session;
mod slot;
mod timeouts;
mod turn;

pub(super) use self::acceptor::Acceptor;
